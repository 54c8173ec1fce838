//! `fleet`: what one orchestrator carries: a real one, and hundreds of agents without data planes in this process.
//!
//! Owns: five measurements, each over real gRPC on loopback: a large rule set to every node until each has
//! acknowledged it; one changed rule, in bytes on one node's connection; bans until every node holds them; events
//! until they are stored; memory of the orchestrator after all of it. Cannot: say anything about packets.
//!
//! Two cores: the orchestrator has one to itself, the agents have the other, so that figures per core are figures.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use secbeat_node::agent::simulated::SimulatedHost;
use secbeat_node::agent::{Agent, Host, Link, Settings};
use secbeat_node::api::SecurityEvent;
use secbeat_node::api::events::{Class, Level};
use secbeat_proto::v1;
use secbeat_proto::v1::ban_service_client::BanServiceClient;
use secbeat_proto::v1::fleet_service_client::FleetServiceClient;
use secbeat_proto::v1::policy_service_client::PolicyServiceClient;
use serde::Serialize;
use tonic::transport::Channel;

use crate::stats::Spread;
use crate::{cpu, interrupt, tool};

/// How long anything may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long after the last event the orchestrator's memory is looked at.
const SETTLE: Duration = Duration::from_secs(10);

/// Events that wait in one agent.
const EVENTS_QUEUED: usize = 4_096;

/// Bytes of one answer or request.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Options of `fleet`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Agents
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=2000))]
    nodes: u16,
    /// Filter rules pushed
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    rules: u32,
    /// Bans, one after another
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    bans: u32,
    /// Events
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    events: u64,
    /// Changes of a single rule
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    changes: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Fail when a figure is beyond what one orchestrator must carry
    #[arg(long)]
    check: bool,
}

/// What one orchestrator must carry, whatever else the machine does: with the numbers that are the defaults.
const PUSH_MS_MAX: u64 = 5_000;
const CHANGE_BYTES_MAX: u64 = 2_048;
const BAN_P99_US_MAX: u64 = 1_000_000;
const EVENTS_PER_CPU_SECOND_MIN: f64 = 50_000.0;
const RESIDENT_KIB_MAX: u64 = 200 * 1024;

/// What was measured.
#[derive(Debug, Default, Serialize)]
struct Report {
    nodes: u16,
    rules: u32,
    /// From the request until the last node has acknowledged the set.
    push_ms: u64,
    /// Bytes towards one node for a change of one rule, acknowledgement of TCP not counted: the largest.
    change_bytes_max: u64,
    /// The same change until the last node has acknowledged it.
    change_ms_max: u64,
    bans: u32,
    /// From the request until one node holds the ban, over all bans and nodes.
    ban: Spread,
    events: u64,
    /// Stored per second of time.
    events_per_second: f64,
    /// Stored per second of the orchestrator's CPU time.
    events_per_cpu_second: f64,
    events_lost: u64,
    /// Resident memory of the orchestrator: with connected nodes, and after all events.
    resident_idle_kib: u64,
    resident_kib: u64,
    resident_peak_kib: u64,
}

/// Runs the `fleet` subcommand.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let orchestrator = Orchestrator::start()?;
    if cpu::count() > 1 {
        cpu::pin(0, cpu::ATTACK_CORE)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let report = runtime.block_on(measure(options, &orchestrator));
    runtime.shutdown_background();
    let report = report?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        show(&report);
    }
    let missed = report.missed();
    if options.check && !missed.is_empty() {
        bail!("beyond its bar: {}", missed.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

impl Report {
    /// Figures beyond their bar.
    fn missed(&self) -> Vec<&'static str> {
        let bars = [
            ("push", self.push_ms > PUSH_MS_MAX),
            ("bytes of a change", self.change_bytes_max > CHANGE_BYTES_MAX),
            ("bans", self.ban.p99_us > BAN_P99_US_MAX),
            ("events", self.events_per_cpu_second < EVENTS_PER_CPU_SECOND_MIN),
            ("memory", self.resident_kib > RESIDENT_KIB_MAX),
        ];
        bars.into_iter().filter(|(_, is_missed)| *is_missed).map(|(name, _)| name).collect()
    }
}

fn show(report: &Report) {
    println!(
        "{} agents, {} filter rules: acknowledged after {} ms",
        report.nodes, report.rules, report.push_ms
    );
    println!(
        "one rule changed: at most {} bytes to a node, acknowledged by all within {} ms",
        report.change_bytes_max, report.change_ms_max
    );
    println!(
        "{} bans: on a node after p50 {}, p99 {}, at most {}",
        report.bans,
        crate::stats::show_us(report.ban.p50_us),
        crate::stats::show_us(report.ban.p99_us),
        crate::stats::show_us(report.ban.max_us)
    );
    println!(
        "{} events: {:.0}/s stored, {:.0} per second of CPU time, {} lost",
        report.events, report.events_per_second, report.events_per_cpu_second, report.events_lost
    );
    println!(
        "memory of the orchestrator: {} KiB with nodes, {} KiB after all, {} KiB at most",
        report.resident_idle_kib, report.resident_kib, report.resident_peak_kib
    );
}

/// A real orchestrator on loopback, its state in a folder that goes with it.
struct Orchestrator {
    process: tool::Process,
    folder: PathBuf,
    grpc: SocketAddr,
}

impl Orchestrator {
    fn start() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("secbeat-bench-fleet-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let [grpc, rest, metrics] = [free_port()?, free_port()?, free_port()?];
        let config = folder.join("orchestrator.toml");
        fs::write(
            &config,
            format!(
                "[server]\nbind_address = \"{rest}\"\ngrpc_address = \"{grpc}\"\nstate_dir = {:?}\n\n\
                 [access]\nloopback_open = true\n\n[metrics]\nbind_address = \"{metrics}\"\n\n[logging]\nlevel = \"warn\"\n",
                folder.join("state")
            ),
        )?;
        let log = fs::File::create(folder.join("log"))?;
        let mut command = Command::new("taskset");
        command
            .args(["-c", &cpu::defence_core().to_string()])
            .arg(tool::ours("secbeat-orchestrator")?)
            .arg("--config")
            .arg(&config)
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = tool::Process::start(&mut command, None)?;
        Ok(Self { process, folder, grpc })
    }

    /// A connection, as soon as it answers.
    async fn connect(&self) -> Result<Channel> {
        let endpoint = Channel::from_shared(format!("http://{}", self.grpc))?;
        let begun = Instant::now();
        loop {
            match endpoint.connect().await {
                Ok(channel) => return Ok(channel),
                Err(_) if begun.elapsed() < Duration::from_secs(15) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => {
                    let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                    bail!("the orchestrator does not answer: {error}; {log}");
                }
            }
        }
    }
}

impl Drop for Orchestrator {
    fn drop(&mut self) {
        self.process.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The agents and what they speak through.
struct Fleet {
    hosts: Vec<Arc<SimulatedHost>>,
    /// Bytes towards the first agent.
    counted: Arc<AtomicU64>,
    policy: PolicyServiceClient<Channel>,
    bans: BanServiceClient<Channel>,
    fleet: FleetServiceClient<Channel>,
}

async fn measure(options: &Options, orchestrator: &Orchestrator) -> Result<Report> {
    let channel = orchestrator.connect().await?;
    let counted = Arc::new(AtomicU64::new(0));
    let relay = relay(orchestrator.grpc, Arc::clone(&counted)).await?;
    let mut hosts = Vec::new();
    for number in 0..options.nodes {
        let node_id = uuid(number);
        let host =
            SimulatedHost::new(format!("sim-{number}"), node_id.parse()?).with_link(Link::new(EVENTS_QUEUED));
        let host = Arc::new(host);
        let at = if number == 0 { relay } else { orchestrator.grpc };
        let settings = Settings::new(format!("http://{at}"), node_id.parse()?);
        tokio::spawn(Agent::run(settings, Arc::<SimulatedHost>::clone(&host)));
        hosts.push(host);
    }
    let mut fleet = Fleet {
        hosts,
        counted,
        policy: PolicyServiceClient::new(channel.clone())
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
            .max_decoding_message_size(MESSAGE_BYTES_MAX),
        bans: BanServiceClient::new(channel.clone()),
        fleet: FleetServiceClient::new(channel),
    };
    let mut report =
        Report { nodes: options.nodes, rules: options.rules, bans: options.bans, ..Report::default() };
    fleet.wait("every agent is connected", |stats, nodes| stats.nodes_connected == nodes).await?;
    let pid = orchestrator.process.pid();
    report.resident_idle_kib = cpu::resident_kib(pid).unwrap_or(0);
    report.push_ms = fleet.push(options.rules).await?;
    for change in 0..options.changes {
        let (bytes, ms) = fleet.change(change).await?;
        report.change_bytes_max = report.change_bytes_max.max(bytes);
        report.change_ms_max = report.change_ms_max.max(ms);
    }
    report.ban = fleet.ban(options.bans).await?;
    fleet.events(options.events, pid, &mut report).await?;
    // Memory of a burst goes back within seconds.
    tokio::time::sleep(SETTLE).await;
    report.resident_kib = cpu::resident_kib(pid).unwrap_or(0);
    report.resident_peak_kib = peak_kib(pid);
    Ok(report)
}

impl Fleet {
    async fn stats(&mut self) -> Result<v1::FleetStats> {
        Ok(self.fleet.get_fleet_stats(v1::GetFleetStatsRequest {}).await?.into_inner())
    }

    async fn wait(&mut self, what: &str, is_so: impl Fn(&v1::FleetStats, u32) -> bool) -> Result<()> {
        let nodes = self.hosts.len() as u32;
        let begun = Instant::now();
        loop {
            let stats = self.stats().await?;
            if is_so(&stats, nodes) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE || interrupt::requested() {
                bail!("not so: {what}; the orchestrator says {stats:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A large rule set, until every node has acknowledged it.
    async fn push(&mut self, rules: u32) -> Result<u64> {
        let rules: Vec<Vec<u8>> = (0..rules).map(|number| rule(number, "drop")).collect();
        let begun = Instant::now();
        self.change_rules(rules).await?;
        self.wait("every agent holds the rules", |stats, nodes| stats.nodes_in_sync == nodes).await?;
        Ok(begun.elapsed().as_millis() as u64)
    }

    async fn change_rules(&mut self, upserts: Vec<Vec<u8>>) -> Result<()> {
        let key = v1::ResourceKey { kind: v1::ResourceKind::FilterSet.into(), name: "edge".into() };
        let request = v1::ChangeRulesRequest { set: Some(key), upserts, ..Default::default() };
        self.policy.change_rules(request).await.context("the rules are refused")?;
        Ok(())
    }

    /// One rule changed: bytes towards one node, and how long until all have acknowledged.
    async fn change(&mut self, number: u32) -> Result<(u64, u64)> {
        // What goes to the node without any change: answers to its reports.
        let quiet = Duration::from_millis(1_500);
        tokio::time::sleep(quiet).await;
        let before = self.counted.load(Ordering::Relaxed);
        tokio::time::sleep(quiet).await;
        let idle = self.counted.load(Ordering::Relaxed) - before;
        let before = self.counted.load(Ordering::Relaxed);
        let action = if number.is_multiple_of(2) { "pass" } else { "drop" };
        let begun = Instant::now();
        self.change_rules(vec![rule(7, action)]).await?;
        self.wait("every agent holds the change", |stats, nodes| stats.nodes_in_sync == nodes).await?;
        let ms = begun.elapsed().as_millis() as u64;
        tokio::time::sleep(quiet.saturating_sub(begun.elapsed())).await;
        let bytes = self.counted.load(Ordering::Relaxed) - before;
        Ok((bytes.saturating_sub(idle), ms))
    }

    /// Bans, each until every node holds it.
    async fn ban(&mut self, count: u32) -> Result<Spread> {
        let mut samples = Vec::new();
        for number in 0..count {
            let prefix = format!("198.18.{}.{}/32", number >> 8 & 255, number & 255);
            let ban = v1::NewBan {
                prefix: prefix.clone(),
                duration_ms: 3_600_000,
                reason: "measured".into(),
                ..Default::default()
            };
            let begun = Instant::now();
            self.bans.add_ban(v1::AddBanRequest { ban: Some(ban), ..Default::default() }).await?;
            let prefix = prefix.parse()?;
            let mut waiting: Vec<_> = self.hosts.iter().collect();
            while !waiting.is_empty() {
                waiting.retain(|host| {
                    let holds = host.is_banned(&prefix);
                    if holds {
                        samples.push(begun.elapsed());
                    }
                    !holds
                });
                if begun.elapsed() > PATIENCE {
                    bail!("{} agents do not hold the ban of {prefix}", waiting.len());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Ok(Spread::of(&samples))
    }

    /// Events from every agent, as fast as they are taken, until they are stored.
    async fn events(&mut self, count: u64, pid: u32, report: &mut Report) -> Result<()> {
        let stored_before = self.stats().await?.events_stored;
        let used_before = cpu::time_used(pid);
        let begun = Instant::now();
        let mut pushed = 0;
        while pushed < count {
            for host in &self.hosts {
                let link = host.link();
                // Not more than the agent's queue holds: what is measured is the orchestrator, not losses here.
                let room = EVENTS_QUEUED.saturating_sub(link.events_waiting()) as u64;
                for number in 0..room.min(count - pushed).min(500) {
                    link.push_event(event(pushed + number));
                }
                pushed += room.min(count - pushed).min(500);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            if begun.elapsed() > PATIENCE || interrupt::requested() {
                bail!("{pushed} of {count} events were taken");
            }
        }
        let lost = |stats: &v1::FleetStats| stats.events_lost;
        self.wait("every event is stored", |stats, _| {
            stats.events_stored + lost(stats) >= stored_before + count
        })
        .await?;
        let took = begun.elapsed();
        let used = cpu::time_used(pid) - used_before;
        let stats = self.stats().await?;
        report.events = count;
        report.events_lost = stats.events_lost;
        report.events_per_second = count as f64 / took.as_secs_f64();
        report.events_per_cpu_second = count as f64 / used.as_secs_f64();
        Ok(())
    }
}

/// A rule like those that people write: an address, a port, a protocol.
fn rule(number: u32, action: &str) -> Vec<u8> {
    let rule = serde_json::json!({
        "id": format!("r{number:05}"),
        "action": action,
        "protocol": "tcp",
        "sources": [format!("10.{}.{}.0/24", number >> 8 & 255, number & 255)],
        "destination_ports": [format!("{}", 1 + number % 65_535)],
    });
    rule.to_string().into_bytes()
}

/// An event like those of refused requests.
fn event(number: u64) -> SecurityEvent {
    let mut event = SecurityEvent::new(Class::Request, Level::Warn, "worker-0", "request_refused")
        .with("listener", "web")
        .with("method", "GET")
        .with("target", format!("/index.php?id={number}%27%20or%201=1"))
        .with("status", 403u16);
    event.attack_type = Some("sql_injection");
    event.client_ip = Some(Ipv4Addr::from(0xc612_0000 | (number % 5_000) as u32).into());
    event.user_agent = Some("Mozilla/5.0 (X11; Linux x86_64)".into());
    event.rule_id = Some("942100".into());
    event.blocked = true;
    event
}

fn uuid(number: u16) -> String {
    format!("5ec0bea7-0000-4000-8000-{number:012x}")
}

/// A relay towards the orchestrator that counts what it sends back.
async fn relay(to: SocketAddr, counted: Arc<AtomicU64>) -> Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let Ok(far) = tokio::net::TcpStream::connect(to).await else { return };
                let (mut near_read, mut near_write) = near.into_split();
                let (far_read, mut far_write) = far.into_split();
                let up = tokio::spawn(async move { tokio::io::copy(&mut near_read, &mut far_write).await });
                let mut buffer = vec![0; 64 * 1024];
                loop {
                    let ready = far_read.readable().await;
                    let count = match ready.and_then(|()| far_read.try_read(&mut buffer)) {
                        Ok(0) => break,
                        Ok(count) => count,
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                        Err(_) => break,
                    };
                    counted.fetch_add(count as u64, Ordering::Relaxed);
                    use tokio::io::AsyncWriteExt as _;
                    if near_write.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
                up.abort();
            });
        }
    });
    Ok(address)
}

/// The most memory that a process had resident, in KiB.
fn peak_kib(pid: u32) -> u64 {
    let status: BTreeMap<String, String> = fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        })
        .collect();
    status
        .get("VmHWM")
        .and_then(|value| value.split(' ').next())
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0)
}
