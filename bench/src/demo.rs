//! `demo`: a web server, a flood, and the node between them, told in one line per second.
//!
//! Owns: the order of events and the verdict. About 20 s: pages without a flood, pages during it, pages after
//! it, then the node is killed and the kernel's path takes over. Everything it made is removed at the end, on
//! failure and on Ctrl-C.

mod crowd;
mod fleet;
mod watch;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use crate::flood::{self, Kind, Progress, Rate};
use crate::handshake::{self, Outcome};
use crate::lab::{self, Lab, vip};
use crate::node::{self, Node, Settings};
use crate::stats::show_count;
use crate::{cpu, interrupt, netns, stats};
use crowd::Crowd;
use watch::{Phase, Told, Watch};

/// Time between two pages of the honest client, so that the client does not become a load test.
const BETWEEN_PAGES: Duration = Duration::from_millis(4);

/// What the demonstration of `l7` mode sets: a request head has three seconds, a source 500 requests a second.
const L7_LIMITS: &str = "[http]\nhead_timeout = 3\n\n[waf]\nrate_limit_rps = 500\n";
/// The rule set that Debian and Ubuntu have as a package.
const RULES: &str = "/usr/share/modsecurity-crs";
/// Files of ours that go before and after it: in the repository, and where `make install` puts them.
const OWN_RULES: [&str; 2] = ["config/crs", "/usr/local/share/doc/secbeat/crs"];

/// Options of `demo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// How the node works: syn, tcp or l7; fleet: three nodes and an orchestrator
    #[arg(long, default_value = "syn", value_parser = ["syn", "tcp", "l7", "fleet"])]
    pub(crate) mode: String,
    /// What the attacker sends
    #[arg(long, value_enum, default_value = "syn")]
    pub(crate) kind: Kind,
    /// How fast (default: 500k, and 200k in l7 mode, where slow clients and a request flood come on top)
    #[arg(long)]
    pub(crate) rate: Option<Rate>,
    /// 4 or 6
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(4..=6))]
    pub(crate) family: u8,
    /// Length of the flood in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub(crate) seconds: u64,
    /// Prefix of the lab, which is made and removed
    #[arg(long, default_value = "sbdemo")]
    pub(crate) prefix: String,
}

impl Options {
    fn is_l7(&self) -> bool {
        self.mode == "l7"
    }

    fn rate(&self) -> Rate {
        self.rate.unwrap_or(Rate::Fixed(if self.is_l7() { 200_000 } else { 500_000 }))
    }

    /// Where the honest client asks.
    fn page(&self) -> String {
        let (scheme, port) = if self.is_l7() { ("https", 443) } else { ("http", 80) };
        format!("{scheme}://{}{}", SocketAddr::new(vip(self.family), port), lab::SMALL_PATH)
    }
}

/// One line of the verdict.
struct Verdict {
    what: &'static str,
    found: String,
    passed: bool,
}

/// Runs the `demo` subcommand; fails when a line of the verdict does.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if let Some(missing) = missing() {
        bail!("the demonstration cannot run here: {missing}");
    }
    if options.mode == "fleet" {
        return fleet::run(options);
    }
    println!(
        "Lab: attacker and client -> edge (SecBeat) -> origin (nginx), in network namespaces of this machine."
    );
    let lab_options = lab::Options { prefix: options.prefix.clone(), pin: true, ..lab::Options::default() };
    let lab = Lab::up(lab_options)?;
    let _awake = cpu::AwakeCores::hold();
    // In `tcp` mode handshakes pass through until there is an attack.
    let syn_cookies = if options.mode == "tcp" { "auto" } else { "always" }.to_owned();
    // Slow clients and too many requests of one source are what is shown: small numbers keep it short.
    let rules = if options.is_l7() { rules() } else { None };
    let extra = match &rules {
        _ if !options.is_l7() => String::new(),
        Some(rules) => format!("{L7_LIMITS}{rules}"),
        None => L7_LIMITS.to_owned(),
    };
    if options.is_l7() && rules.is_none() {
        println!(
            "No rules: {RULES} is not there (package modsecurity-crs); attacks in requests are not shown."
        );
    }
    let settings = Settings { mode: options.mode.clone(), syn_cookies, extra, ..Settings::default() };
    let node = Node::start(&lab, &settings)?;
    println!(
        "SecBeat runs in `{}` mode on AF_XDP, on core {}; the attacker has core {}. Page: {}\n",
        options.mode,
        cpu::defence_core(),
        cpu::ATTACK_CORE,
        options.page(),
    );
    let verdicts = tell(&lab, options, node, rules.is_some())?;
    let passed = show(&verdicts, "The origin was protected.");
    drop(lab);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The keys of `[waf]` that put the packaged rule set in force; none where there is no package.
fn rules() -> Option<String> {
    Path::new(RULES).is_dir().then_some(())?;
    let mut keys = format!("enable = true\ncrs_path = {RULES:?}\nparanoia_level = 1\n");
    let own = OWN_RULES.iter().filter_map(|folder| Path::new(folder).canonicalize().ok()).next();
    if let Some(own) = own {
        let (before, after) = (own.join("before.conf"), own.join("after.conf"));
        keys.push_str(&format!("before_path = {before:?}\nafter_path = {after:?}\n"));
    }
    Some(keys)
}

/// What this machine lacks, in words.
fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("it needs root for network namespaces and AF_XDP; run it with sudo".to_owned());
    }
    let protocols = std::fs::read_to_string("/proc/net/protocols").unwrap_or_default();
    if !protocols.lines().any(|line| line.starts_with("XDP ")) {
        return Some("the kernel has no AF_XDP sockets; it needs CONFIG_XDP_SOCKETS".to_owned());
    }
    node::binary()
        .err()
        .map(|error| format!("{error:#}; build it with `cargo build --release -p secbeat-node`"))
}

fn tell(lab: &Lab, options: &Options, node: Node, has_rules: bool) -> Result<Vec<Verdict>> {
    let stop_client = AtomicBool::new(false);
    let (tell_page, pages) = channel();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| fetch_pages(lab, options, &stop_client, &tell_page));
        let told = tell_phases(lab, options, node, has_rules, &pages);
        stop_client.store(true, Ordering::Relaxed);
        let client = client.join().map_err(|_| anyhow!("the client panicked"))?;
        client.context("client").and(told)
    })
}

fn tell_phases(
    lab: &Lab,
    options: &Options,
    mut node: Node,
    has_rules: bool,
    pages: &Receiver<Outcome>,
) -> Result<Vec<Verdict>> {
    let mut watch = Watch::begin(pages);
    let calm = watch.run(Phase::Calm, Duration::from_secs(3), Some(&node), None)?;
    let memory_before = node.resident_kib();
    let progress = Progress::default();
    let crowd = Crowd { has_rules, ..Crowd::default() };
    let (flooded, sent) = std::thread::scope(|scope| {
        let prefix = &lab.topology.prefix;
        let flood = flood::Options::for_lab(prefix, options.kind, options.family, options.rate(), 600);
        let crowd_runs = options.is_l7().then(|| scope.spawn(|| crowd::run(lab, options.family, &crowd)));
        let progress = &progress;
        let generator = scope.spawn(move || flood::flood(&flood, progress));
        let flooded =
            watch.run(Phase::Flood, Duration::from_secs(options.seconds), Some(&node), Some(progress));
        progress.stop.store(true, Ordering::Relaxed);
        crowd.stop.store(true, Ordering::Relaxed);
        if let Some(crowd_runs) = crowd_runs {
            crowd_runs.join().map_err(|_| anyhow!("the crowd panicked"))?.context("hostile clients")?;
        }
        let sent = generator.join().map_err(|_| anyhow!("the generator panicked"))?.context("generator")?;
        Ok::<_, anyhow::Error>((flooded?, sent))
    })?;
    let memory_after = node.resident_kib();
    let after = watch.run(Phase::After, Duration::from_secs(2), Some(&node), None)?;
    let alive = node.is_running();
    let killed_at = Instant::now();
    node.kill();
    let fallback = watch.run(Phase::Killed, Duration::from_secs(2), None, None)?;
    let back_after = watch.first_page_after(killed_at);
    if interrupt::requested() {
        bail!("interrupted");
    }
    let growth_kib = i128::from(memory_after) - i128::from(memory_before);
    Ok(verdicts(
        options,
        &Story { calm, flooded, after, fallback, sent, growth_kib, alive, back_after, crowd },
    ))
}

/// Everything that was seen.
struct Story {
    calm: Told,
    flooded: Told,
    after: Told,
    fallback: Told,
    sent: flood::Report,
    growth_kib: i128,
    alive: bool,
    /// From the kill to the next page.
    back_after: Option<Duration>,
    /// Nobody but in `l7` mode.
    crowd: Crowd,
}

fn verdicts(options: &Options, story: &Story) -> Vec<Verdict> {
    let Story { flooded, sent, growth_kib, .. } = story;
    let pages = |name, phase: &Told| Verdict {
        what: name,
        found: format!("{} of {}, p99 {}", phase.pages_ok, phase.pages, stats::show_us(phase.p99_us)),
        passed: phase.pages > 0 && phase.pages_ok == phase.pages,
    };
    let answered = flooded.answers as f64 / sent.packets.max(1) as f64;
    // Slow clients hold connections with their TLS state until their time is over.
    let growth_kib_max = if options.is_l7() { MEMORY_GROWTH_L7_KIB_MAX } else { MEMORY_GROWTH_KIB_MAX };
    let mut verdicts = vec![
        pages("pages before the flood", &story.calm),
        pages("pages during the flood, each within 3 s", flooded),
        pages("pages after the flood", &story.after),
        Verdict {
            what: "flood that the attacker offered",
            found: format!("{} packets/s", show_count(sent.pps)),
            passed: match options.rate() {
                Rate::Fixed(pps) => sent.pps >= pps as f64 * OFFERED_SHARE_MIN,
                Rate::Max => sent.pps > 0.0,
            },
        },
        Verdict {
            what: "forged packets that got an answer",
            found: format!("{:.1} % ({} SYN-ACKs)", answered * 100.0, show_count(flooded.answers as f64)),
            // How many is a question of the machine's speed and load; none would be a question of the node.
            passed: options.kind != Kind::Syn || options.mode == "tcp" || flooded.answers > 0,
        },
        Verdict {
            what: "connections opened for forged packets",
            found: match story.crowd.connections() {
                0 => format!("{} validated, {} pages", flooded.validated, flooded.pages),
                hostile => format!(
                    "{} validated, {} pages and {hostile} hostile clients",
                    flooded.validated, flooded.pages
                ),
            },
            passed: flooded.validated <= flooded.pages as f64 + story.crowd.connections() as f64 + 5.0,
        },
        Verdict {
            what: "growth of the node's memory during the flood",
            found: format!("{growth_kib:+} KiB"),
            passed: *growth_kib <= growth_kib_max,
        },
        Verdict { what: "node still running", found: yes_or_no(story.alive), passed: story.alive },
        Verdict {
            what: "after kill -9 the kernel's path serves pages",
            found: match story.back_after {
                Some(time) => {
                    let first = stats::show_us(time.as_micros() as u64);
                    format!("first after {first}; {} of {}", story.fallback.pages_ok, story.fallback.pages)
                }
                None => "none".to_owned(),
            },
            passed: story.back_after.is_some(),
        },
    ];
    if options.is_l7() {
        verdicts.splice(3..3, story.crowd.verdicts());
        verdicts.splice(5..5, story.crowd.attacks());
    }
    verdicts
}

impl Crowd {
    fn connections(&self) -> u64 {
        let opened = [&self.slow_opened, &self.flood_opened, &self.attacks_opened];
        opened.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// What became of attacks in requests, where there are rules to see them.
    fn attacks(&self) -> Option<Verdict> {
        let (sent, refused) =
            (self.attacks_sent.load(Ordering::Relaxed), self.attacks_refused.load(Ordering::Relaxed));
        self.has_rules.then(|| Verdict {
            what: "attacks in requests that were refused",
            found: format!("{refused} of {sent}"),
            // A client's time may be over while an answer is on its way.
            passed: sent >= ATTACKS_MIN && refused + sent / 50 >= sent,
        })
    }

    fn verdicts(&self) -> [Verdict; 2] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (opened, ended) = (read(&self.slow_opened), read(&self.slow_ended));
        let (asked, served, refused) = (read(&self.asked), read(&self.served), read(&self.refused));
        [
            Verdict {
                what: "slow clients that the node ended",
                found: format!("{ended} of {opened} connections with a request that never ends"),
                passed: opened >= crowd::SLOW_CONNECTIONS as u64 / 2 && ended >= opened / 2,
            },
            Verdict {
                what: "request flood from one source that was refused",
                found: format!("{refused} of {asked} requests; {served} served, within its limit"),
                passed: asked > 0 && refused > served,
            },
        ]
    }
}

/// With fewer attacks nothing was shown.
const ATTACKS_MIN: u64 = 50;
/// On a machine that is busy elsewhere the generator falls behind; with less than this there was no flood.
const OFFERED_SHARE_MIN: f64 = 0.25;
/// What a page of counters or a thread's stack may need for the first time while a flood begins.
const MEMORY_GROWTH_KIB_MAX: i128 = 1024;
/// The same with the crowd's connections, some 10 KiB each while they last, and tables that are touched for the
/// first time.
const MEMORY_GROWTH_L7_KIB_MAX: i128 = 16 * 1024;

fn yes_or_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn fetch_pages(lab: &Lab, demo: &Options, stop: &AtomicBool, tell: &Sender<Outcome>) -> Result<()> {
    let options = handshake::Options {
        to: SocketAddr::new(vip(demo.family), if demo.is_l7() { 443 } else { 80 }),
        tls: demo.is_l7(),
        count: u64::MAX,
        ..handshake::Options::one_page()
    };
    netns::inside(&lab.topology.client(), || {
        cpu::pin(0, cpu::defence_core())?;
        handshake::fetch(
            &options,
            || stop.load(Ordering::Relaxed),
            |outcome| {
                let _ = tell.send(outcome);
                std::thread::sleep(BETWEEN_PAGES);
            },
        )
    })
}

fn show(verdicts: &[Verdict], moral: &str) -> bool {
    let rows: Vec<Vec<String>> = verdicts
        .iter()
        .map(|verdict| {
            let word = if verdict.passed { "pass" } else { "FAIL" };
            vec![verdict.what.to_owned(), verdict.found.clone(), word.to_owned()]
        })
        .collect();
    println!("\n{}", stats::table(&rows));
    let passed = verdicts.iter().all(|verdict| verdict.passed);
    println!("{}", if passed { moral } else { "The demonstration FAILED." });
    passed
}
