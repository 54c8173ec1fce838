//! Chapters `requests` and `latency`: SecBeat's `l7` mode beside nginx and HAProxy as reverse proxies, HTTP and
//! HTTPS; and with a rule set beside nginx with libmodsecurity.
//!
//! ```text
//!  core 0: the proxy under test (one worker)          core 1: wrk or h2load, and the origin (nginx)
//!  http://127.0.0.1:PORT, https://127.0.0.1:PORT  -->  the same page of 1 KB for all, keep-alive both sides
//! ```
//!
//! Owns: the rounds. Does not own: how a peer is configured (`setup`), how load is made and read (`load`). What
//! counts is requests per CPU-second of the proxy: the load generator shares its core with the origin and may be the
//! narrower part. Latency is measured at half of what the slowest proxy without rules reaches, the same rate for all.

use std::time::Duration;

use anyhow::{Context, Result};

use super::load::{self, Latency};
use super::result::Document;
use super::setup::{Front, Peer, Rig, Scheme};
use super::{Book, Plan, repeat};
use crate::interrupt;

/// Connections of the load generator.
const CONNECTIONS: u32 = 32;
/// Who the latency is compared with.
const DIRECT: &str = "origin, asked directly";

/// Name of the chapter with requests per CPU-second.
pub(super) fn chapter(front: Front) -> &'static str {
    match front {
        Front::Socket => "requests",
        Front::Xdp => "requests-xdp",
    }
}

/// Name of the chapter with latencies.
pub(super) fn latency_chapter(front: Front) -> &'static str {
    match front {
        Front::Socket => "latency",
        Front::Xdp => "latency-xdp",
    }
}

/// Plays both chapters.
pub(super) fn play(plan: &Plan, book: &mut Book, front: Front) -> Result<()> {
    let peers: Vec<Peer> =
        Peer::ALL.into_iter().filter(|peer| front == Front::Socket || !peer.has_rules()).collect();
    let rig = Rig::up(&peers, front, &plan.prefix)?;
    for (peer, error) in &rig.failed {
        for scheme in peer.schemes() {
            let row = book.document.row(chapter(front), peer.name(), scheme.name());
            row.errors.push(error.clone());
        }
    }
    let subjects: Vec<(Peer, Scheme)> = Scheme::ALL
        .into_iter()
        .flat_map(|scheme| rig.running().map(move |peer| (peer, scheme)))
        .filter(|(peer, scheme)| peer.schemes().contains(scheme))
        .collect();
    let window = Duration::from_secs(plan.seconds.into());
    repeat(plan, book, chapter(front), |round, document| {
        for (peer, scheme) in turn(&subjects, round) {
            if interrupt::requested() {
                return Ok(());
            }
            throughput(&rig, document, peer, scheme, window);
        }
        Ok(())
    })?;
    let subjects: Vec<(Peer, Scheme)> = subjects.into_iter().filter(|(peer, _)| !peer.has_rules()).collect();
    repeat(plan, book, latency_chapter(front), |round, document| {
        for scheme in Scheme::ALL {
            let of_scheme: Vec<(Peer, Scheme)> =
                turn(&subjects, round).into_iter().filter(|(_, one)| *one == scheme).collect();
            latency(&rig, document, &of_scheme, scheme, window);
        }
        Ok(())
    })
}

fn turn(subjects: &[(Peer, Scheme)], round: u32) -> Vec<(Peer, Scheme)> {
    let mut order = subjects.to_vec();
    let count = order.len().max(1);
    order.rotate_left(round as usize % count);
    order
}

fn throughput(rig: &Rig, document: &mut Document, peer: Peer, scheme: Scheme, window: Duration) {
    let sample = rig
        .pid(peer)
        .and_then(|pid| load::measure(&rig.client(), pid, &rig.url(peer, scheme), CONNECTIONS, window));
    let resident = rig.resident_kib(peer);
    let row = document.row(chapter(rig.front()), peer.name(), scheme.name());
    match sample {
        Ok(sample) => {
            row.add("requests_per_second", sample.requests_per_second);
            row.add("requests_per_cpu_second", 1e6 / sample.cpu_us_per_request.max(1e-3));
            row.add("cpu_us_per_request", sample.cpu_us_per_request);
            row.add("process_busy_percent", 100.0 * sample.busy);
            row.add("p50_us", sample.latency.p50_us as f64);
            row.add("p99_us", sample.latency.p99_us as f64);
            row.add("resident_kib", resident as f64);
        }
        Err(error) if !interrupt::requested() => row.errors.push(format!("{error:#}")),
        Err(_) => {}
    }
}

/// The origin first, then each proxy, all at the same rate.
fn latency(
    rig: &Rig,
    document: &mut Document,
    subjects: &[(Peer, Scheme)],
    scheme: Scheme,
    window: Duration,
) {
    let slowest = document
        .chapter(chapter(rig.front()))
        .filter(|row| row.case == scheme.name())
        .filter(|row| subjects.iter().any(|(peer, _)| peer.name() == row.subject))
        .filter_map(|row| row.median("requests_per_second"))
        .min_by(f64::total_cmp);
    let Some(rate) = slowest.map(|rate| rate / 2.0) else { return };
    let ask = |url: &str| load::latency(&rig.client(), rig.folder(), url, CONNECTIONS, rate, window);
    let name = latency_chapter(rig.front());
    let mut note = |subject: &str, seen: Result<Latency>, direct: Option<Latency>| {
        let row = document.row(name, subject, scheme.name());
        match seen {
            Ok(seen) => {
                row.add("asked_per_second", rate);
                row.add("p50_us", seen.p50_us as f64);
                row.add("p99_us", seen.p99_us as f64);
                if let Some(direct) = direct {
                    row.add("added_p50_us", seen.p50_us as f64 - direct.p50_us as f64);
                    row.add("added_p99_us", seen.p99_us as f64 - direct.p99_us as f64);
                }
                Some(seen)
            }
            Err(error) => {
                if !interrupt::requested() {
                    row.errors.push(format!("{error:#}"));
                }
                None
            }
        }
    };
    let Some(direct) = note(DIRECT, ask(&rig.origin_url()).context("the origin directly"), None) else {
        return;
    };
    for (peer, scheme) in subjects {
        if interrupt::requested() {
            return;
        }
        note(peer.name(), ask(&rig.url(*peer, *scheme)), Some(direct));
    }
}
