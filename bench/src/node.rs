//! The node under test: its configuration for the lab, its process in the edge, and what it says about itself.
//!
//! Owns: starting `secbeat-node`, waiting until it answers `/health`, reading `/metrics`, ending it.

mod metrics;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::lab::{EDGE_ATTACK, EDGE_CLIENT, EDGE_ORIGIN, Lab, ORIGIN, VIP4, VIP6};
use crate::{cpu, interrupt, netns, tool};
pub(crate) use metrics::Metrics;

/// A node must protect within two seconds; a loaded machine gets some more before the run is given up.
const START_SECONDS_MAX: u64 = 15;
/// The kernel takes a program off its interface some milliseconds after its link has gone.
const UNPIN_WAIT: Duration = Duration::from_millis(50);
/// Answers of the management API are short.
const API_TIMEOUT: Duration = Duration::from_secs(2);
/// `/metrics` of many workers; longer is cut.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// How the node is configured.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// `syn`, `tcp` or `l7`.
    pub(crate) mode: String,
    /// `xdp`, `socket` or `auto`.
    pub(crate) driver: String,
    /// `auto`, `always` or `never`.
    pub(crate) syn_cookies: String,
    /// `auto`, `xdp` or `worker`. On a veth `auto` is `worker`: see [`Lab::let_xdp_answer`].
    pub(crate) syn_cookies_at: String,
    /// Where the XDP program runs: `native`, `generic` or `auto`.
    pub(crate) attach: String,
    /// Prefixes that are always dropped.
    pub(crate) block: Vec<String>,
    /// Further sections, as they stand in the file.
    pub(crate) extra: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: "syn".to_owned(),
            driver: "xdp".to_owned(),
            syn_cookies: "always".to_owned(),
            syn_cookies_at: "auto".to_owned(),
            // A veth has it. With `auto` a program that has just left an interface, and is still there for some
            // milliseconds, would turn the measurement into one of the slower mode.
            attach: "native".to_owned(),
            block: Vec::new(),
            extra: String::new(),
        }
    }
}

/// TCP ports of the VIP: web, web with PROXY protocol, iperf3, web again for scans.
const TCP_PORTS: [u16; 4] = [80, 81, 5201, 8080];
/// UDP ports of the VIP.
const UDP_PORTS: [u16; 1] = [5201];

impl Settings {
    /// The configuration file: the VIP of both families in front of the lab's origin.
    pub(crate) fn render(&self, lab: &Lab) -> String {
        let files = lab.state.files();
        let block: Vec<String> = self.block.iter().map(|prefix| format!("{prefix:?}")).collect();
        let mut text = format!(
            "[server]
mode = {mode:?}
max_connections = 100000
state_dir = {state:?}
worker_threads = 1

[io]
driver = {driver:?}
interfaces = [{EDGE_ATTACK:?}, {EDGE_CLIENT:?}, {EDGE_ORIGIN:?}]
attach = {attach:?}
cores = [{core}]
snat_ports = \"10000-32767\"
pin_dir = {pins:?}

[syn_proxy]
syn_cookies = {cookies:?}
syn_cookies_at = {cookies_at:?}

# One honest client makes all connections here.
[limits]
source_rate = 0
source_connections = 0
udp_rate = 0

[lists]
block = [{block}]
auto_ban = false

[logging]
format = \"pretty\"

{extra}
",
            mode = self.mode,
            driver = self.driver,
            attach = self.attach,
            cookies = self.syn_cookies,
            cookies_at = self.syn_cookies_at,
            state = files.join("node-state"),
            pins = lab.state.bpf().join("secbeat"),
            core = cpu::defence_core(),
            block = block.join(", "),
            extra = self.extra,
        );
        if self.mode == "l7" {
            if !self.extra.contains("[waf]") {
                text.push_str("[waf]\nrate_limit_rps = 0\n\n");
            }
            text.push_str(&l7_listeners(lab));
            return text;
        }
        for (protocol, ports) in [("tcp", TCP_PORTS.as_slice()), ("udp", UDP_PORTS.as_slice())] {
            for port in ports {
                let proxy = if *port == 81 { "proxy_protocol = \"v2\"\n" } else { "" };
                for (family, vip, origin) in [
                    (4, SocketAddr::from((VIP4, *port)), SocketAddr::from((ORIGIN.far4(), *port))),
                    (6, SocketAddr::from((VIP6, *port)), SocketAddr::from((ORIGIN.far6(), *port))),
                ] {
                    let name = format!("{protocol}{family}-{port}");
                    text.push_str(&format!(
                        "[[listeners]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\nbind_address = \"{vip}\"\n\
                         backends = [\"{name}\"]\n{proxy}\n[[backends]]\nname = \"{name}\"\naddress = \"{origin}\"\n\n"
                    ));
                }
            }
        }
        text
    }
}

/// HTTPS on the VIP of both families, HTTP as well, in front of the origin's port 80.
fn l7_listeners(lab: &Lab) -> String {
    let files = lab.state.files();
    let mut text = format!(
        "[tls]\ncert_path = {:?}\nkey_path = {:?}\nsource_handshake_rate = 0\nworker_handshake_rate = 0\n\n[access_log]\npath = \"off\"\n\n",
        files.join("cert.pem"),
        files.join("key.pem"),
    );
    for (family, vip, origin) in
        [(4, IpAddr::from(VIP4), IpAddr::from(ORIGIN.far4())), (6, VIP6.into(), ORIGIN.far6().into())]
    {
        for (name, port, tls) in [("https", 443, true), ("http", 80, false)] {
            let at = SocketAddr::new(vip, port);
            text.push_str(&format!(
                "[[listeners]]\nname = \"{name}{family}\"\nbind_address = \"{at}\"\ntls = {tls}\n\
                 backends = [\"origin{family}\"]\n\n"
            ));
        }
        let at = SocketAddr::new(origin, 80);
        text.push_str(&format!("[[backends]]\nname = \"origin{family}\"\naddress = \"{at}\"\n\n"));
    }
    text
}

/// A running node. When dropped, it is ended and its pinned programs are taken off the interfaces.
#[derive(Debug)]
pub(crate) struct Node {
    /// `None` when it was left running.
    process: Option<tool::Process>,
    edge: String,
    pid: u32,
    pins: PathBuf,
}

impl Node {
    /// Starts a node in the lab's edge and waits until it is healthy.
    ///
    /// # Errors
    /// When there is no binary, or it ends or stays silent; with the end of its log.
    pub(crate) fn start(lab: &Lab, settings: &Settings) -> Result<Self> {
        let binary = binary()?;
        let config = lab.state.files().join("node.toml");
        fs::write(&config, settings.render(lab))?;
        fs::create_dir_all(lab.state.files().join("node-state"))?;
        let log = lab.state.log("node")?;
        let edge = lab.topology.edge();
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &edge, "taskset", "-c", &cpu::defence_core().to_string()])
            .arg(&binary)
            .arg("--config")
            .arg(&config)
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = tool::Process::start(&mut command, Some(&lab.state.record("node")))?;
        // `ip netns exec` and `taskset` become the node: it has their process id.
        let pid = process.pid();
        let mut node = Self { process: Some(process), edge, pid, pins: lab.state.bpf().join("secbeat") };
        let end = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        while node.get("/health").is_err() {
            if !node.is_running() || Instant::now() > end || interrupt::requested() {
                let log = fs::read_to_string(lab.state.log_path("node")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(15)..].join("\n  ");
                bail!("the node did not start; the end of its log:\n  {tail}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(node)
    }

    /// Its memory in use, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        cpu::resident_kib(self.pid).unwrap_or(0)
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(tool::Process::is_running)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Leaves it running; `lab down` ends it.
    pub(crate) fn detach(mut self) {
        if let Some(process) = self.process.take() {
            process.detach();
        }
    }

    /// Ends it as a crash would (SIGKILL): nothing is cleaned up, its program stays attached.
    pub(crate) fn kill(&mut self) {
        if let Some(process) = &self.process {
            process.signal(Signal::SIGKILL);
        }
        while self.is_running() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// All its counters.
    pub(crate) fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics::parse(&self.get("/metrics")?))
    }

    /// The body of an answer of the management API with status 200.
    fn get(&self, path: &str) -> Result<String> {
        let answer = netns::inside(&self.edge, || {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9191));
            let mut stream = TcpStream::connect_timeout(&address, API_TIMEOUT)?;
            stream.set_read_timeout(Some(API_TIMEOUT))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut answer = Vec::new();
            stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        })?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a head")?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("{path}: {}", head.lines().next().unwrap_or_default());
        }
        Ok(body.to_owned())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop();
            // The links are pinned, so that a restart leaves no gap; here something else comes next.
            let _ = fs::remove_dir_all(&self.pins);
            std::thread::sleep(UNPIN_WAIT);
        }
    }
}

/// The node's program: beside this one, or in the search path.
pub(crate) fn binary() -> Result<PathBuf> {
    tool::ours("secbeat-node")
}
