//! The proxies and the origin: their configurations, their processes, their ports on loopback or in a lab.
//!
//! Owns: a folder with all files, made and removed here. nginx and HAProxy are set up as their manuals advise for a
//! fast reverse proxy: one worker, keep-alive to the origin, no access log.

mod config;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::load::{LOAD_CORE, PROXY_CORE};
use super::rules;
use crate::lab::{self, Lab, ORIGIN, VIP4};
use crate::{cpu, interrupt, netns, node, tool};

/// Ports: the origin has the first, each proxy two.
const PORT_BASE: u16 = 28_080;
/// Every server here starts within a fraction of a second; a loaded machine gets more.
const START_SECONDS_MAX: u64 = 10;
/// Bytes of the page.
const PAGE_BYTES: usize = 1_000;

/// How SecBeat takes its connections; the others always have the kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Front {
    /// Kernel sockets, everything on loopback
    #[default]
    Socket,
    /// AF_XDP and our own TCP, over the veth links of a lab
    Xdp,
}

impl Front {
    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Socket => "kernel sockets",
            Self::Xdp => "AF_XDP",
        }
    }
}

/// Where a process runs: here, or in a namespace of the lab.
#[derive(Clone, Debug, Default)]
pub(super) struct Place(Option<String>);

impl Place {
    /// A namespace of a lab.
    pub(super) fn netns(name: &str) -> Self {
        Self(Some(name.to_owned()))
    }

    /// A command line on one core of this place; the program is its first argument.
    pub(super) fn command(&self, core: usize) -> Command {
        let mut command = match &self.0 {
            Some(netns) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", netns, "taskset"]);
                command
            }
            None => Command::new("taskset"),
        };
        command.args(["-c", &core.to_string()]);
        command
    }

    /// Runs `work` where this is.
    pub(super) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        match &self.0 {
            Some(netns) => netns::inside(netns, work),
            None => work(),
        }
    }
}

/// A proxy under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Peer {
    /// nginx as a reverse proxy
    Nginx,
    /// HAProxy
    Haproxy,
    /// SecBeat in `l7` mode
    Secbeat,
    /// nginx with libmodsecurity and Debian's Core Rule Set
    Modsecurity,
    /// SecBeat in `l7` mode with the same rules
    SecbeatRules,
}

impl Peer {
    pub(super) const ALL: [Self; 5] =
        [Self::Nginx, Self::Haproxy, Self::Secbeat, Self::Modsecurity, Self::SecbeatRules];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Secbeat => "SecBeat l7",
            Self::Modsecurity => "nginx + ModSecurity + CRS",
            Self::SecbeatRules => "SecBeat l7 + CRS",
        }
    }

    /// Whether it inspects requests with a rule set.
    pub(super) fn has_rules(self) -> bool {
        matches!(self, Self::Modsecurity | Self::SecbeatRules)
    }

    /// What it is measured with: inspection costs the same with TLS around it.
    pub(super) fn schemes(self) -> &'static [Scheme] {
        if self.has_rules() { &[Scheme::Http] } else { &Scheme::ALL }
    }

    /// For the names of its files.
    fn word(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Secbeat => "secbeat",
            Self::Modsecurity => "modsecurity",
            Self::SecbeatRules => "secbeat-rules",
        }
    }

    /// Port of its management API, when it has one.
    fn api(self) -> u16 {
        PORT_BASE + 20 + self as u16
    }

    fn port(self, scheme: Scheme) -> u16 {
        PORT_BASE + 1 + self as u16 * 2 + scheme as u16
    }
}

/// What the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Scheme {
    /// HTTP/1.1 in the clear
    Http,
    /// HTTP/1.1 over TLS 1.3
    Https,
}

impl Scheme {
    pub(super) const ALL: [Self; 2] = [Self::Http, Self::Https];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Origin and proxies, running.
#[derive(Debug)]
pub(super) struct Rig {
    // Proxies before the origin: dropped in this order, nobody logs that its origin has gone.
    proxies: Vec<(Peer, tool::Process)>,
    _origin: tool::Process,
    folder: PathBuf,
    front: Front,
    /// Those that did not start, and why.
    pub(super) failed: Vec<(Peer, String)>,
    /// The lab, when there is one; removed last.
    lab: Option<Lab>,
}

impl Rig {
    /// Starts the origin and `peers`. A peer that does not start is in `failed`, unless it is the only one.
    ///
    /// # Errors
    /// With the name of a missing program, or the log of an origin that does not start.
    pub(super) fn up(peers: &[Peer], front: Front, prefix: &str) -> Result<Self> {
        require_programs()?;
        let lab = match front {
            Front::Socket => None,
            Front::Xdp => Some(lab_for_proxies(prefix)?),
        };
        let folder = std::env::temp_dir().join(format!("secbeat-peers-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        make_certificate(&folder)?;
        let origin = start_origin(&folder, lab.as_ref())?;
        let mut rig = Self { proxies: Vec::new(), _origin: origin, folder, front, failed: Vec::new(), lab };
        for &peer in peers {
            match rig.start(peer).with_context(|| peer.name()) {
                Ok(process) => rig.proxies.push((peer, process)),
                Err(error) if peers.len() == 1 || interrupt::requested() => return Err(error),
                Err(error) => rig.failed.push((peer, format!("{error:#}"))),
            }
        }
        Ok(rig)
    }

    /// Those that run.
    pub(super) fn running(&self) -> impl Iterator<Item = Peer> {
        self.proxies.iter().map(|(peer, _)| *peer)
    }

    /// How SecBeat takes its connections.
    pub(super) fn front(&self) -> Front {
        self.front
    }

    /// Where the proxy answers.
    pub(super) fn url(&self, peer: Peer, scheme: Scheme) -> String {
        format!("{}://{}/1k.html", scheme.name(), self.address(peer, scheme))
    }

    /// Where the proxy listens.
    pub(super) fn address(&self, peer: Peer, scheme: Scheme) -> SocketAddr {
        let at = if self.lab.is_some() { VIP4 } else { Ipv4Addr::LOCALHOST };
        SocketAddr::from((at, peer.port(scheme)))
    }

    /// Where clients are.
    pub(super) fn client(&self) -> Place {
        Place(self.lab.as_ref().map(|lab| lab.topology.client()))
    }

    fn edge(&self) -> Place {
        Place(self.lab.as_ref().map(|lab| lab.topology.edge()))
    }

    /// Where the origin answers.
    pub(super) fn origin_url(&self) -> String {
        format!("http://{}/1k.html", origin_address(self.lab.as_ref()))
    }

    /// A folder for files of a measurement.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The process of a proxy; its children count with it.
    pub(super) fn pid(&self, peer: Peer) -> Result<u32> {
        let found = self.proxies.iter().find(|(one, _)| *one == peer);
        Ok(found.with_context(|| format!("{} does not run", peer.name()))?.1.pid())
    }

    /// Memory of a proxy and its children.
    pub(super) fn resident_kib(&self, peer: Peer) -> u64 {
        let Ok(pid) = self.pid(peer) else { return 0 };
        cpu::family(pid).into_iter().filter_map(cpu::resident_kib).sum()
    }

    fn start(&self, peer: Peer) -> Result<tool::Process> {
        let (program, text) = match peer {
            Peer::Nginx => ("nginx".into(), self.nginx_proxy(peer, None)),
            Peer::Haproxy => ("haproxy".into(), self.haproxy()),
            Peer::Secbeat | Peer::SecbeatRules => (node::binary()?, self.secbeat(peer)),
            Peer::Modsecurity => {
                let rules = rules::write(&self.folder.join("modsecurity.rules"))?;
                ("nginx".into(), self.nginx_proxy(peer, Some(&rules)))
            }
        };
        let config = self.folder.join(format!("{}.conf", peer.word()));
        fs::write(&config, text)?;
        let edge = self.edge();
        let mut command = edge.command(PROXY_CORE);
        command.arg(program);
        match peer {
            Peer::Nginx | Peer::Modsecurity => {
                let errors = self.folder.join(format!("{}.err", peer.word()));
                command.arg("-c").arg(&config).arg("-e").arg(errors)
            }
            Peer::Haproxy => command.arg("-f").arg(&config),
            Peer::Secbeat | Peer::SecbeatRules => command.arg("--config").arg(&config),
        };
        let log = self.folder.join(format!("{}.log", peer.word()));
        // From where clients are: on AF_XDP nothing listens in the kernel.
        start(command, &log, &self.client(), &Scheme::ALL.map(|scheme| self.address(peer, scheme)))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.proxies.clear();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Those of the load and the origin; a peer that is not installed is an error of its own.
fn require_programs() -> Result<()> {
    let all = ["nginx", "wrk", "h2load", "openssl", "taskset"];
    let missing: Vec<&str> = all.into_iter().filter(|name| tool::find(name).is_none()).collect();
    if !missing.is_empty() {
        bail!("missing programs: {}; scripts/setup.sh installs them", missing.join(", "));
    }
    Ok(())
}

/// A lab whose edge hands nothing on in the kernel: proxies own the VIP there.
fn lab_for_proxies(prefix: &str) -> Result<Lab> {
    let lab = Lab::up(lab::Options { prefix: prefix.to_owned(), ..lab::Options::default() })?;
    tool::run(&format!("ip netns exec {} nft flush ruleset", lab.topology.edge()))?;
    Ok(lab)
}

fn origin_address(lab: Option<&Lab>) -> SocketAddr {
    let at = if lab.is_some() { ORIGIN.far4() } else { Ipv4Addr::LOCALHOST };
    SocketAddr::from((at, PORT_BASE))
}

/// Starts a server and waits until connections to `addresses` succeed from `client`.
fn start(
    mut command: Command,
    log: &Path,
    client: &Place,
    addresses: &[SocketAddr],
) -> Result<tool::Process> {
    let file = fs::File::create(log)?;
    command.stdout(file.try_clone()?).stderr(file);
    let mut process = tool::Process::start(&mut command, None)?;
    let end = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
    let listens = |address: &SocketAddr| {
        client.inside(|| Ok(TcpStream::connect_timeout(address, Duration::from_millis(500))?)).is_ok()
    };
    while !addresses.iter().all(listens) {
        if !process.is_running() || Instant::now() > end || interrupt::requested() {
            bail!("it did not start: {}", fs::read_to_string(log).unwrap_or_default().trim());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(process)
}

fn start_origin(folder: &Path, lab: Option<&Lab>) -> Result<tool::Process> {
    let address = origin_address(lab);
    let place = Place(lab.map(|lab| lab.topology.origin()));
    fs::write(folder.join("1k.html"), "x".repeat(PAGE_BYTES))?;
    let config = folder.join("origin.conf");
    let name = folder.display();
    fs::write(
        &config,
        format!(
            "daemon off; worker_processes 1; pid {name}/origin.pid; error_log {name}/origin.err;
events {{ worker_connections 4096; }}
http {{ access_log off; sendfile on; open_file_cache max=16; keepalive_requests 100000000; default_type text/html;
  {temporary}
  server {{ listen {address} backlog=4096; root {name}; }} }}\n",
            temporary = nginx_folders(folder, "origin"),
        ),
    )?;
    let mut command = place.command(LOAD_CORE);
    command.arg("nginx").arg("-c").arg(&config).arg("-e").arg(folder.join("origin.err"));
    start(command, &folder.join("origin.log"), &place, &[address]).context("origin")
}

/// nginx makes these at start, where it may not write without being told otherwise.
fn nginx_folders(folder: &Path, name: &str) -> String {
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    kinds.map(|kind| format!("{kind}_temp_path {}/{name}-{kind};", folder.display())).join(" ")
}

/// P-256, as most sites have; HAProxy wants both in one file.
fn make_certificate(folder: &Path) -> Result<()> {
    let name = folder.display();
    tool::run(&format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost \
         -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout {name}/key.pem -out {name}/cert.pem"
    ))?;
    let both = fs::read_to_string(folder.join("cert.pem"))? + &fs::read_to_string(folder.join("key.pem"))?;
    fs::write(folder.join("both.pem"), both)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_servers_share_a_port() {
        let mut ports = vec![PORT_BASE];
        for peer in Peer::ALL {
            ports.push(peer.api());
            ports.extend(Scheme::ALL.map(|scheme| peer.port(scheme)));
        }
        let count = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), count);
    }
}
