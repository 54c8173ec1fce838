//! The attacker: floods of forged packets, always bounded, only where [`crate::guard`] permits.
//!
//! Two engines: `live` runs an XDP program over the kernel's own pages (`BPF_PROG_RUN`; 5 to 15 M packets/s on
//! a veth), `xsk` transmits through AF_XDP (2.3 M). Both on one pinned core, paced without sleeping.

mod frame;
mod pace;
mod sender;
mod xsk;

use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use secbeat_pktio::live::{Randomize, TEMPLATES_MAX};
use secbeat_pktio::program::{AttachMode, BareDrop};

use crate::guard::{self, Place};
use crate::lab::{ATTACK, Topology, vip};
use crate::{cpu, interrupt, netns, stats};
pub(crate) use frame::{Addresses, Segment, flag, tcp};
pub(crate) use pace::{Pacer, Rate};
use sender::Sender;
pub(crate) use xsk::{Random, XskGenerator};

/// Longest flood in seconds. Nothing measured here needs more; a forgotten one ends.
const SECONDS_MAX: u64 = 600;
/// Most packets of one flood.
const PACKETS_MAX: u64 = 10_000_000_000;
/// Time between two readings of the answers' counter, which cost a system call.
const ANSWERS_INTERVAL: Duration = Duration::from_millis(50);
/// Longest wait for the last answers.
const DRAIN_MAX: Duration = Duration::from_millis(500);
/// Random sources, IPv4: half a billion ordinary addresses, no special ones among them.
const RANDOM_SOURCES_V4: &str = "32.0.0.0/3";
/// Random sources, IPv6.
const RANDOM_SOURCES_V6: &str = "2a00::/12";

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// SYN with a Linux client's options
    Syn,
    /// ACK of a connection that never was: forged cookies
    Ack,
    /// RST likewise
    Rst,
    /// UDP datagrams of 32 bytes
    Udp,
    /// First and middle fragments of segments that are never completed
    Fragment,
}

#[cfg(test)]
impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Self; 5] = [Self::Syn, Self::Ack, Self::Rst, Self::Udp, Self::Fragment];
}

/// Where the packets claim to come from.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sources {
    /// Anywhere
    #[default]
    Random,
    /// The attacker's own address
    Fixed,
    /// The addresses of --source-list, in turn
    List,
}

/// How packets are sent.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    /// XDP live frames
    #[default]
    Live,
    /// AF_XDP transmit
    Xsk,
}

/// Options of `flood`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// What to send
    #[arg(long, value_enum, default_value = "syn")]
    pub(crate) kind: Kind,
    /// 4 or 6
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(4..=6))]
    pub(crate) family: u8,
    /// Source addresses
    #[arg(long, value_enum, default_value = "random")]
    pub(crate) sources: Sources,
    /// Addresses for `--sources list`, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub(crate) source_list: Vec<IpAddr>,
    /// Packets per second: 500000, 500k, 1.5M or max
    #[arg(long, default_value = "100k")]
    pub(crate) rate: Rate,
    /// Stop after so many packets
    #[arg(long)]
    pub(crate) packets: Option<u64>,
    /// Stop after so many seconds
    #[arg(long, default_value_t = 5)]
    pub(crate) seconds: u64,
    /// How to send
    #[arg(long, value_enum, default_value = "live")]
    pub(crate) engine: Engine,
    /// Interface to send through
    #[arg(long, default_value = "att1")]
    pub(crate) via: String,
    /// Namespace of the interface (default: the lab's attacker)
    #[arg(long)]
    pub(crate) netns: Option<String>,
    /// Prefix of the lab
    #[arg(long, default_value = "sb")]
    pub(crate) prefix: String,
    /// Target (default: the lab's VIP)
    #[arg(long)]
    pub(crate) to: Option<IpAddr>,
    /// Target's port
    #[arg(long, default_value_t = 80)]
    pub(crate) port: u16,
    /// Link-layer address of the next hop (default: the lab's edge)
    #[arg(long)]
    pub(crate) next_hop: Option<MacAddress>,
    /// Repeats the name of an interface outside a lab: you may flood whatever is behind it
    #[arg(long, value_name = "NAME")]
    pub(crate) i_own_this_interface: Option<String>,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Core to send from
    #[arg(long, default_value_t = cpu::ATTACK_CORE)]
    pub(crate) core: usize,
    /// Let the attacker's kernel have what comes back, instead of counting and dropping it
    #[arg(long)]
    pub(crate) keep_answers: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A link-layer address on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MacAddress([u8; 6]);

impl std::str::FromStr for MacAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes: Vec<u8> = text.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        let count = text.split(':').count();
        match <[u8; 6]>::try_from(bytes) {
            Ok(bytes) if count == 6 => Ok(Self(bytes)),
            _ => Err(format!("`{text}`: a link-layer address is 02:00:00:00:00:01")),
        }
    }
}

impl Options {
    /// The flood of the lab `prefix` that the defaults describe.
    pub(crate) fn for_lab(prefix: &str, kind: Kind, family: u8, rate: Rate, seconds: u64) -> Self {
        Self {
            kind,
            family,
            sources: Sources::Random,
            source_list: Vec::new(),
            rate,
            packets: None,
            seconds,
            engine: Engine::Live,
            via: ATTACK.far_if.to_owned(),
            netns: None,
            prefix: prefix.to_owned(),
            to: None,
            port: 80,
            next_hop: None,
            i_own_this_interface: None,
            seed: 1,
            core: cpu::ATTACK_CORE,
            keep_answers: false,
            json: false,
        }
    }
}

/// What a flood came to.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Report {
    /// What was sent.
    pub(crate) kind: Kind,
    /// IP version.
    pub(crate) family: u8,
    /// How it was sent.
    pub(crate) engine: Engine,
    /// What was asked for.
    pub(crate) rate: Rate,
    /// Packets sent.
    pub(crate) packets: u64,
    /// For how long, in seconds.
    pub(crate) seconds: f64,
    /// Packets per second that came out.
    pub(crate) pps: f64,
    /// Packets that could not be sent at their time and were left out.
    pub(crate) late: u64,
    /// Packets that came back.
    pub(crate) answers: Option<u64>,
}

/// What others see of a running flood, and how they end it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Packets sent so far.
    pub(crate) sent: AtomicU64,
    /// Packets that came back so far; brought up to date a few times a second.
    pub(crate) answers: AtomicU64,
    /// Ends the flood.
    pub(crate) stop: AtomicBool,
    /// The thread that sends, once it does.
    pub(crate) thread: OnceLock<cpu::Thread>,
}

/// Runs the `flood` subcommand.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let report = flood(options, &Progress::default())?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!(
            "{} packets in {:.2} s: {} packets/s ({} asked for, {} late), {} answers",
            report.packets,
            report.seconds,
            stats::show_count(report.pps),
            report.rate,
            report.late,
            report.answers.map_or("uncounted".to_owned(), |count| stats::show_count(count as f64)),
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Floods until seconds, packets, `progress.stop` or Ctrl-C end it. Runs on a pinned thread of its own.
pub(crate) fn flood(options: &Options, progress: &Progress) -> Result<Report> {
    let netns = if options.i_own_this_interface.is_some() && options.netns.is_none() {
        None
    } else {
        Some(options.netns.clone().unwrap_or_else(|| Topology::new(&options.prefix).attacker()))
    };
    let place = guard::permit(&options.via, netns.as_deref(), options.i_own_this_interface.as_deref())?;
    let templates = templates(options, &place)?;
    let randomize = randomize(options)?;
    let work = || {
        cpu::pin(0, options.core)?;
        send_all(options, &templates, &randomize, progress)
    };
    match place {
        Place::Lab { netns } => netns::inside(&netns, work),
        Place::Here => std::thread::scope(|scope| {
            scope.spawn(work).join().map_err(|_| anyhow::anyhow!("the generator panicked"))?
        }),
    }
}

/// Sends `frames` as they are, in turn, or with nothing but their source at random; everything else as [`flood`].
/// In the lab only.
pub(crate) fn replay(
    options: &Options,
    frames: &[Vec<u8>],
    random_sources: bool,
    progress: &Progress,
) -> Result<Report> {
    let source = if random_sources { randomize(options)?.source } else { None };
    let randomize = Randomize { source, ..Randomize::default() };
    let attacker = Topology::new(&options.prefix).attacker();
    guard::permit(&options.via, Some(&attacker), None)?;
    netns::inside(&attacker, || {
        cpu::pin(0, options.core)?;
        send_all(options, frames, &randomize, progress)
    })
}

fn templates(options: &Options, place: &Place) -> Result<Vec<Vec<u8>>> {
    if *place == Place::Here && (options.to.is_none() || options.next_hop.is_none()) {
        bail!("outside a lab, --to and --next-hop are needed");
    }
    let destination = options.to.unwrap_or_else(|| vip(options.family));
    let own = ATTACK.far(options.family);
    let sources = match options.sources {
        Sources::List if options.source_list.is_empty() => bail!("--sources list needs --source-list"),
        Sources::List => options.source_list.clone(),
        Sources::Fixed | Sources::Random => vec![own],
    };
    let mut frames = Vec::new();
    for source in sources {
        if source.is_ipv4() != destination.is_ipv4() || source.is_ipv4() != (options.family == 4) {
            bail!("{source}, {destination} and --family {} do not go together", options.family);
        }
        let addresses = Addresses {
            mac_source: ATTACK.far_mac(),
            mac_destination: options.next_hop.map_or(ATTACK.edge_mac(), |mac| mac.0),
            source,
            destination,
            source_port: 40_000,
            destination_port: options.port,
        };
        frames.extend(frame::templates(options.kind, &addresses));
    }
    if frames.len() > TEMPLATES_MAX {
        bail!("--source-list makes {} frames, {TEMPLATES_MAX} are possible", frames.len());
    }
    Ok(frames)
}

fn randomize(options: &Options) -> Result<Randomize> {
    let net = if options.family == 4 { RANDOM_SOURCES_V4 } else { RANDOM_SOURCES_V6 };
    let source = match options.sources {
        Sources::Random => Some(net.parse().context("random sources")?),
        Sources::Fixed | Sources::List => None,
    };
    Ok(Randomize {
        source,
        source_port: Some(1024..=65535),
        destination_port: None,
        sequence: true,
        identification: true,
    })
}

/// Waits until no more answers arrive.
fn drain(sink: &BareDrop) {
    let end = Instant::now() + DRAIN_MAX;
    let mut seen = sink.packets();
    let mut quiet = 0;
    while quiet < 3 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
        let now = sink.packets();
        quiet = if now == seen { quiet + 1 } else { 0 };
        seen = now;
    }
}

fn send_all(
    options: &Options,
    frames: &[Vec<u8>],
    randomize: &Randomize,
    progress: &Progress,
) -> Result<Report> {
    let mut sender = Sender::open(options, frames, randomize)?;
    let index = nix::net::if_::if_nametoindex(options.via.as_str())?;
    // Answers to forged packets die here, cheaply; the attacker's kernel would look up a route for each.
    let sink = (!options.keep_answers)
        .then(|| BareDrop::attach(index, AttachMode::Native))
        .transpose()
        .context("drop the answers")?;
    let seconds = Duration::from_secs(options.seconds.min(SECONDS_MAX));
    let packets_max = options.packets.unwrap_or(PACKETS_MAX).min(PACKETS_MAX);
    let mut pacer = Pacer::new(options.rate);
    let _ = progress.thread.set(cpu::Thread::current());
    let started = Instant::now();
    let mut sent = 0_u64;
    let mut answers_read = Duration::ZERO;
    let elapsed = loop {
        let elapsed = started.elapsed();
        if let Some(sink) = &sink
            && elapsed - answers_read > ANSWERS_INTERVAL
        {
            answers_read = elapsed;
            progress.answers.store(sink.packets(), Ordering::Relaxed);
        }
        let stopping = interrupt::requested() || progress.stop.load(Ordering::Relaxed);
        if elapsed >= seconds || sent >= packets_max || stopping {
            break elapsed;
        }
        sent += sender.send(&mut pacer, elapsed, packets_max - sent)?;
        progress.sent.store(sent, Ordering::Relaxed);
    };
    // A program that is taken off while answers arrive can leave a veth that receives nothing any more.
    sink.iter().for_each(drain);
    Ok(Report {
        kind: options.kind,
        family: options.family,
        engine: options.engine,
        rate: options.rate,
        packets: sent,
        seconds: elapsed.as_secs_f64(),
        pps: sent as f64 / elapsed.as_secs_f64().max(1e-9),
        late: sender.late(&pacer),
        answers: sink.map(|sink| sink.packets()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_outside_the_lab_needs_more_than_a_name() {
        let mut options = Options::for_lab("no-such-lab", Kind::Syn, 4, Rate::Fixed(1), 1);
        let error = flood(&options, &Progress::default()).unwrap_err().to_string();
        assert!(error.contains("not a namespace of a lab"), "{error}");
        options.via = "lo".to_owned();
        options.i_own_this_interface = Some("lo".to_owned());
        let error = flood(&options, &Progress::default()).unwrap_err().to_string();
        assert!(error.contains("machine's own"), "{error}");
    }

    #[test]
    fn families_must_go_together() {
        let place = Place::Lab { netns: "sb-attacker".to_owned() };
        let mut options = Options::for_lab("sb", Kind::Syn, 6, Rate::Max, 1);
        options.to = Some("10.99.0.1".parse().unwrap());
        assert!(templates(&options, &place).is_err());
        options.family = 4;
        assert_eq!(templates(&options, &place).unwrap().len(), 1);
    }

    #[test]
    fn link_layer_addresses_have_six_bytes() {
        assert_eq!("02:5b:00:00:01:01".parse(), Ok(MacAddress([2, 0x5b, 0, 0, 1, 1])));
        assert!("02:5b:00:00:01".parse::<MacAddress>().is_err());
        assert!("02:5b:00:00:01:zz".parse::<MacAddress>().is_err());
    }
}
