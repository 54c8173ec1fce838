//! `peers`: SecBeat's `l7` mode beside nginx and HAProxy as reverse proxies, in one run on one machine.
//!
//! ```text
//!  core 0: the proxy under test (one worker)          core 1: wrk or h2load, and the origin (nginx)
//!  http://127.0.0.1:PORT, https://127.0.0.1:PORT  -->  the same page of 1 KB for all, keep-alive both sides
//! ```
//!
//! Owns: the rounds, the medians, the ratios and their bars. Does not own: how a peer is configured (`setup`), how load
//! is made and read (`load`). On loopback with kernel sockets on both sides, or (`--front xdp`) in a lab; no access
//! logs, the same cipher.
//! What counts is requests per CPU-second of the proxy: the load generator shares its core with the origin and may be
//! the narrower part.

pub(crate) mod idle;
mod load;
mod setup;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::{cpu, interrupt, stats};
use load::{Latency, Sample};
use setup::{Front, Peer, Rig, Scheme};

/// SecBeat must serve at least as many requests per CPU-second as the better of the peers.
const RATIO_MIN: f64 = 1.0;
/// The same on AF_XDP over veth, where every packet of 1.5 KB is copied twice more and nothing is offloaded.
const RATIO_XDP_MIN: f64 = 0.7;
/// Latency that SecBeat may add at half load: half of the requests, microseconds.
const ADDED_P50_US_MAX: i64 = 300;
/// Latency that SecBeat may add at half load: 99 % of the requests, microseconds.
const ADDED_P99_US_MAX: i64 = 3_000;

/// Options of `peers`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Length of one measurement in seconds
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Measurements of each proxy and scheme; the median counts
    #[arg(long, default_value_t = 5)]
    repetitions: u32,
    /// Only these proxies
    #[arg(long, value_enum)]
    only: Vec<Peer>,
    /// How SecBeat takes its connections
    #[arg(long, value_enum, default_value_t)]
    front: Front,
    /// Only this scheme
    #[arg(long, value_enum)]
    scheme: Option<Scheme>,
    /// Connections of the load generator
    #[arg(long, default_value_t = 32)]
    connections: u32,
    /// Leave out the latency at half load
    #[arg(long)]
    no_latency: bool,
    /// Folder for the JSON result
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
}

/// One proxy with one scheme, over all rounds.
#[derive(Clone, Debug, Serialize)]
struct Row {
    peer: Peer,
    scheme: Scheme,
    samples: Vec<Sample>,
    requests_per_second: f64,
    requests_per_cpu_second: f64,
    cpu_us_per_request: f64,
    resident_kib: u64,
}

/// SecBeat against the better peer.
#[derive(Clone, Debug, Serialize)]
struct Ratio {
    scheme: Scheme,
    against: Peer,
    ratio: f64,
    bar: f64,
    passed: bool,
}

/// Latency at half of SecBeat's throughput.
#[derive(Clone, Debug, Serialize)]
struct Added {
    scheme: Scheme,
    requests_per_second: f64,
    direct: Latency,
    through: Latency,
    added_p50_us: i64,
    added_p99_us: i64,
    passed: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Outcome {
    kernel: String,
    cores: usize,
    repetitions: u32,
    seconds: f64,
    connections: u32,
    front: Front,
    rows: Vec<Row>,
    ratios: Vec<Ratio>,
    added: Vec<Added>,
}

/// Runs the `peers` subcommand; fails when a bar is missed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let peers: Vec<Peer> =
        Peer::ALL.into_iter().filter(|peer| options.only.is_empty() || options.only.contains(peer)).collect();
    let schemes: Vec<Scheme> =
        Scheme::ALL.into_iter().filter(|scheme| options.scheme.is_none_or(|only| only == *scheme)).collect();
    let _awake = cpu::AwakeCores::hold();
    let rig = Rig::up(&peers, options.front)?;
    let rows = measure(&rig, &peers, &schemes, options)?;
    let ratios: Vec<Ratio> =
        schemes.iter().filter_map(|scheme| ratio(&rows, *scheme, options.front)).collect();
    let added = if options.no_latency { Vec::new() } else { added(&rig, &rows, options)? };
    let outcome = Outcome {
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        cores: cpu::count(),
        repetitions: options.repetitions,
        seconds: options.seconds,
        connections: options.connections,
        front: options.front,
        rows,
        ratios,
        added,
    };
    print!("{}", show(&outcome));
    fs::create_dir_all(&options.results)?;
    let name = match options.front {
        Front::Socket => "peers.json",
        Front::Xdp => "peers-xdp.json",
    };
    let path = options.results.join(name);
    fs::write(&path, serde_json::to_string_pretty(&outcome)? + "\n")?;
    println!("result: {}", path.display());
    let passed = outcome.ratios.iter().all(|one| one.passed) && outcome.added.iter().all(|one| one.passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Rounds one after the other, every proxy in each: a machine that changes its mind does so for all.
fn measure(rig: &Rig, peers: &[Peer], schemes: &[Scheme], options: &Options) -> Result<Vec<Row>> {
    let window = Duration::from_secs_f64(options.seconds.clamp(0.5, 60.0));
    let subjects: Vec<(Peer, Scheme)> =
        schemes.iter().flat_map(|scheme| peers.iter().map(|peer| (*peer, *scheme))).collect();
    let mut samples = vec![Vec::new(); subjects.len()];
    for round in 0..options.repetitions.max(1) {
        for ((peer, scheme), samples) in subjects.iter().zip(&mut samples) {
            if interrupt::requested() {
                bail!("interrupted");
            }
            let pid = rig.pid(*peer)?;
            let sample =
                load::measure(&rig.client(), pid, &rig.url(*peer, *scheme), options.connections, window)
                    .with_context(|| format!("{} {}", peer.name(), scheme.name()))?;
            samples.push(sample);
        }
        eprintln!("repetition {} of {} done", round + 1, options.repetitions);
    }
    let rows = subjects.into_iter().zip(samples).map(|((peer, scheme), samples)| {
        let middle = |read: fn(&Sample) -> f64| {
            stats::median(&samples.iter().map(read).collect::<Vec<_>>()).unwrap_or(0.0)
        };
        let cpu_us_per_request = middle(|sample| sample.cpu_us_per_request);
        let row = Row {
            peer,
            scheme,
            requests_per_second: middle(|sample| sample.requests_per_second),
            requests_per_cpu_second: if cpu_us_per_request > 0.0 { 1e6 / cpu_us_per_request } else { 0.0 },
            cpu_us_per_request,
            resident_kib: rig.resident_kib(peer),
            samples,
        };
        Ok(row)
    });
    rows.collect()
}

fn ratio(rows: &[Row], scheme: Scheme, front: Front) -> Option<Ratio> {
    let of = |row: &&Row| row.scheme == scheme;
    let ours = rows.iter().filter(of).find(|row| row.peer == Peer::Secbeat)?;
    let best = rows
        .iter()
        .filter(of)
        .filter(|row| row.peer != Peer::Secbeat)
        .max_by(|a, b| a.requests_per_cpu_second.total_cmp(&b.requests_per_cpu_second))?;
    let ratio = ours.requests_per_cpu_second / best.requests_per_cpu_second;
    let bar = match front {
        Front::Socket => RATIO_MIN,
        Front::Xdp => RATIO_XDP_MIN,
    };
    Some(Ratio { scheme, against: best.peer, ratio, bar, passed: ratio >= bar })
}

/// What SecBeat adds at half of the rate it reached, against the origin asked directly at the same rate.
fn added(rig: &Rig, rows: &[Row], options: &Options) -> Result<Vec<Added>> {
    let ours = rows.iter().filter(|row| row.peer == Peer::Secbeat);
    let added = ours.map(|row| {
        let rate = row.requests_per_second / 2.0;
        let window = Duration::from_secs_f64(options.seconds.clamp(1.0, 60.0));
        let ask =
            |url: &str| load::latency(&rig.client(), rig.folder(), url, options.connections, rate, window);
        let direct = ask(&rig.origin_url()).context("the origin directly")?;
        let through = ask(&rig.url(row.peer, row.scheme)).context("through the node")?;
        let difference = |a: u64, b: u64| a as i64 - b as i64;
        let added_p50_us = difference(through.p50_us, direct.p50_us);
        let added_p99_us = difference(through.p99_us, direct.p99_us);
        let passed = added_p50_us <= ADDED_P50_US_MAX && added_p99_us <= ADDED_P99_US_MAX;
        Ok(Added {
            scheme: row.scheme,
            requests_per_second: rate,
            direct,
            through,
            added_p50_us,
            added_p99_us,
            passed,
        })
    });
    added.collect()
}

fn show(outcome: &Outcome) -> String {
    let mut rows = vec![
        ["proxy", "scheme", "requests/s", "per CPU-second", "CPU/request", "p50", "p99", "memory"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for row in &outcome.rows {
        let middle = |read: fn(&Sample) -> u64| {
            let samples: Vec<f64> = row.samples.iter().map(|sample| read(sample) as f64).collect();
            stats::show_us(stats::median(&samples).unwrap_or(0.0) as u64)
        };
        rows.push(vec![
            row.peer.name().to_owned(),
            row.scheme.name().to_owned(),
            stats::show_count(row.requests_per_second),
            stats::show_count(row.requests_per_cpu_second),
            format!("{:.1} us", row.cpu_us_per_request),
            middle(|sample| sample.latency.p50_us),
            middle(|sample| sample.latency.p99_us),
            format!("{} KiB", row.resident_kib),
        ]);
    }
    let mut text = stats::table(&rows);
    for one in &outcome.ratios {
        let verdict = if one.passed { "pass" } else { "FAIL" };
        let (scheme, against) = (one.scheme.name(), one.against.name());
        text.push_str(&format!(
            "{scheme}: {:.2} x {against} in requests per CPU-second (bar {:.2})  {verdict}\n",
            one.ratio, one.bar
        ));
    }
    for one in &outcome.added {
        let verdict = if one.passed { "pass" } else { "FAIL" };
        text.push_str(&format!(
            "{}: adds {} us (p50) and {} us (p99) at {} requests/s (bars {ADDED_P50_US_MAX}, {ADDED_P99_US_MAX})  {verdict}\n",
            one.scheme.name(),
            one.added_p50_us,
            one.added_p99_us,
            stats::show_count(one.requests_per_second),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(peer: Peer, per_cpu_second: f64) -> Row {
        Row {
            peer,
            scheme: Scheme::Http,
            samples: Vec::new(),
            requests_per_second: 1.0,
            requests_per_cpu_second: per_cpu_second,
            cpu_us_per_request: 1e6 / per_cpu_second,
            resident_kib: 0,
        }
    }

    #[test]
    fn the_better_peer_is_the_bar() {
        let rows = [row(Peer::Nginx, 60e3), row(Peer::Haproxy, 70e3), row(Peer::Secbeat, 69e3)];
        let found = ratio(&rows, Scheme::Http, Front::Socket).unwrap();
        assert_eq!(found.against, Peer::Haproxy);
        assert!(!found.passed);
        assert!(ratio(&rows, Scheme::Https, Front::Socket).is_none());
        assert!(ratio(&rows[..2], Scheme::Http, Front::Socket).is_none(), "no ratio without SecBeat");
    }
}
