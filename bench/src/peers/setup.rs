//! The proxies and the origin: their configurations, their processes, their ports on loopback.
//!
//! Owns: a folder with all files, made and removed here. nginx and HAProxy are set up as their manuals advise for a fast
//! reverse proxy: one worker, keep-alive to the origin, no access log.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::load::{LOAD_CORE, PROXY_CORE};
use crate::{cpu, interrupt, node, tool};

/// Ports on loopback: the origin has the first, each proxy two.
const PORT_BASE: u16 = 28_080;
/// Every server here starts within a fraction of a second; a loaded machine gets more.
const START_SECONDS_MAX: u64 = 10;
/// Bytes of the page.
const PAGE_BYTES: usize = 1_000;

/// A proxy under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Peer {
    /// nginx as a reverse proxy
    Nginx,
    /// HAProxy
    Haproxy,
    /// SecBeat in `l7` mode on kernel sockets
    Secbeat,
}

impl Peer {
    pub(super) const ALL: [Self; 3] = [Self::Nginx, Self::Haproxy, Self::Secbeat];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Secbeat => "SecBeat",
        }
    }

    pub(super) fn port(self, scheme: Scheme) -> u16 {
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
}

impl Rig {
    /// Starts the origin and `peers`.
    ///
    /// # Errors
    /// With the name of a missing program, or the log of one that does not start.
    pub(super) fn up(peers: &[Peer]) -> Result<Self> {
        require_programs(peers)?;
        let folder = std::env::temp_dir().join(format!("secbeat-peers-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        make_certificate(&folder)?;
        let origin = start_origin(&folder)?;
        let mut rig = Self { proxies: Vec::new(), _origin: origin, folder };
        for peer in peers {
            let process = rig.start(*peer).with_context(|| peer.name())?;
            rig.proxies.push((*peer, process));
        }
        Ok(rig)
    }

    /// Where the proxy answers.
    pub(super) fn url(&self, peer: Peer, scheme: Scheme) -> String {
        format!("{}://127.0.0.1:{}/1k.html", scheme.name(), peer.port(scheme))
    }

    /// Where the origin answers.
    pub(super) fn origin_url(&self) -> String {
        format!("http://127.0.0.1:{PORT_BASE}/1k.html")
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
            Peer::Nginx => ("nginx".into(), nginx_proxy(&self.folder)),
            Peer::Haproxy => ("haproxy".into(), haproxy(&self.folder)),
            Peer::Secbeat => (node::binary()?, secbeat(&self.folder)),
        };
        let config = self.folder.join(format!("{}.conf", peer.name()));
        fs::write(&config, text)?;
        let mut command = pinned(PROXY_CORE);
        command.arg(program);
        match peer {
            Peer::Nginx => command.arg("-c").arg(&config).arg("-e").arg(self.folder.join("nginx.err")),
            Peer::Haproxy => command.arg("-f").arg(&config),
            Peer::Secbeat => command.arg("--config").arg(&config),
        };
        let ports = Scheme::ALL.map(|scheme| peer.port(scheme));
        start(command, &self.folder.join(format!("{}.log", peer.name())), &ports)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.proxies.clear();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn require_programs(peers: &[Peer]) -> Result<()> {
    let proxies = peers.contains(&Peer::Haproxy).then_some("haproxy");
    let all = ["nginx", "wrk", "h2load", "openssl", "taskset"].into_iter().chain(proxies);
    let missing: Vec<&str> = all.filter(|name| tool::find(name).is_none()).collect();
    if !missing.is_empty() {
        bail!("missing programs: {}; scripts/setup.sh installs them", missing.join(", "));
    }
    Ok(())
}

fn pinned(core: usize) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]);
    command
}

/// Starts a server and waits until it listens on `ports`.
fn start(mut command: Command, log: &Path, ports: &[u16]) -> Result<tool::Process> {
    let file = fs::File::create(log)?;
    command.stdout(file.try_clone()?).stderr(file);
    let mut process = tool::Process::start(&mut command, None)?;
    let end = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
    let listens = |port: &u16| TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], *port))).is_ok();
    while !ports.iter().all(listens) {
        if !process.is_running() || Instant::now() > end || interrupt::requested() {
            bail!("it did not start: {}", fs::read_to_string(log).unwrap_or_default().trim());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(process)
}

fn start_origin(folder: &Path) -> Result<tool::Process> {
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
  server {{ listen 127.0.0.1:{PORT_BASE} backlog=4096; root {name}; }} }}\n",
            temporary = nginx_folders(folder, "origin"),
        ),
    )?;
    let mut command = pinned(LOAD_CORE);
    command.arg("nginx").arg("-c").arg(&config).arg("-e").arg(folder.join("origin.err"));
    start(command, &folder.join("origin.log"), &[PORT_BASE]).context("origin")
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

fn nginx_proxy(folder: &Path) -> String {
    let name = folder.display();
    format!(
        "daemon off; worker_processes 1; pid {name}/nginx.pid; error_log {name}/nginx.err;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000;
  {temporary}
  upstream origin {{ server 127.0.0.1:{PORT_BASE}; keepalive 128; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{http} backlog=4096; listen 127.0.0.1:{https} ssl backlog=4096;
    ssl_certificate {name}/cert.pem; ssl_certificate_key {name}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;
    location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme; }}
  }} }}\n",
        temporary = nginx_folders(folder, "proxy"),
        http = Peer::Nginx.port(Scheme::Http),
        https = Peer::Nginx.port(Scheme::Https),
    )
}

fn haproxy(folder: &Path) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 4000\n  ssl-default-bind-options ssl-min-ver TLSv1.2\n
defaults\n  mode http\n  timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n  http-reuse always
  option forwardfor\n
frontend web\n  bind 127.0.0.1:{http}\n  bind 127.0.0.1:{https} ssl crt {folder}/both.pem
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]\n  default_backend origin\n
backend origin\n  server one 127.0.0.1:{PORT_BASE}\n",
        http = Peer::Haproxy.port(Scheme::Http),
        https = Peer::Haproxy.port(Scheme::Https),
        folder = folder.display(),
    )
}

fn secbeat(folder: &Path) -> String {
    format!(
        "[server]\nmode = \"l7\"\nworker_threads = 1\nmax_connections = 20000\nstate_dir = \"{folder}/state\"\n
[io]\ndriver = \"socket\"\n
[tls]\ncert_path = \"{folder}/cert.pem\"\nkey_path = \"{folder}/key.pem\"\n\
source_handshake_rate = 0\nworker_handshake_rate = 0\n
[limits]\nsource_rate = 0\nsource_connections = 0\n
[waf]\nrate_limit_rps = 0\n
[http]\nmax_requests = 0\n
[access_log]\npath = \"off\"\n
[metrics]\nbind_address = \"127.0.0.1:{api}\"\n
[logging]\nformat = \"pretty\"\n
[[listeners]]\nname = \"http\"\nbind_address = \"127.0.0.1:{http}\"\ntls = false\n
[[listeners]]\nname = \"https\"\nbind_address = \"127.0.0.1:{https}\"\ntls = true\n
[[backends]]\nname = \"origin\"\naddress = \"127.0.0.1:{PORT_BASE}\"\n",
        http = Peer::Secbeat.port(Scheme::Http),
        https = Peer::Secbeat.port(Scheme::Https),
        api = PORT_BASE + 9,
        folder = folder.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_servers_share_a_port() {
        let mut ports = vec![PORT_BASE, PORT_BASE + 9];
        for peer in Peer::ALL {
            ports.extend(Scheme::ALL.map(|scheme| peer.port(scheme)));
        }
        let count = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), count);
    }
}
