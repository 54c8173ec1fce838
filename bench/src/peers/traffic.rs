//! Chapter `traffic`: fresh connections and bulk throughput through every defender of the lab, without a flood.
//!
//! ```text
//! core 0: wrk, the receive work of client and origin, the origin      core 1: the defender and the edge's receive work
//! ```
//!
//! Owns: the rounds, what is counted. The kernel listener serves the files itself, the others fetch them from the
//! origin. Core 0 may be the narrower part; what the defender's core could do is in the figures per second of its
//! time.

use std::time::Duration;

use anyhow::{Result, anyhow};

use super::defender::{Defender, Standing};
use super::load;
use super::result::{Document, Row};
use super::setup::Place;
use crate::lab::{Lab, SMALL_PATH, VIP4};
use crate::{cpu, interrupt};

/// Name of the chapter in results.
pub(super) const CHAPTER: &str = "traffic";
/// Case: every page on a connection of its own.
pub(super) const FRESH: &str = "fresh connections";
/// Case: a file of 1 MB, again and again.
pub(super) const BULK: &str = "bulk";
/// Connections at a time with a connection for every page.
const FRESH_CONNECTIONS: u32 = 64;
/// Connections of the bulk transfer.
const BULK_CONNECTIONS: u32 = 16;
/// The file of the bulk transfer and its size in bytes.
const BULK_FILE: (&str, f64) = ("/1m.bin", 1e6);

/// One round: every defender once. Returns early when somebody asked to stop.
pub(super) fn round(lab: &Lab, document: &mut Document, defenders: &[Defender], seconds: u32) {
    for defender in defenders.iter().filter(|defender| !defender.is_ceiling()) {
        if interrupt::requested() {
            return;
        }
        let mut standing = match defender.start(lab, 4) {
            Ok(standing) => standing,
            Err(error) => {
                for case in [FRESH, BULK] {
                    note(document.row(CHAPTER, defender.name(), case), Err(anyhow!("{error:#}")));
                }
                continue;
            }
        };
        for case in [FRESH, BULK] {
            if interrupt::requested() {
                return;
            }
            let row = document.row(CHAPTER, defender.name(), case);
            let outcome = measure(lab, &mut standing, case, seconds, row);
            note(row, outcome);
        }
    }
}

fn note(row: &mut Row, outcome: Result<()>) {
    if let Err(error) = outcome
        && !interrupt::requested()
    {
        row.errors.push(format!("{error:#}"));
    }
}

fn measure(lab: &Lab, standing: &mut Standing, case: &str, seconds: u32, row: &mut Row) -> Result<()> {
    let client = Place::netns(&lab.topology.client());
    let (path, connections, fresh) = match case {
        FRESH => (SMALL_PATH, FRESH_CONNECTIONS, true),
        _ => (BULK_FILE.0, BULK_CONNECTIONS, false),
    };
    let wrk = load::Wrk {
        url: format!("http://{VIP4}{path}"),
        core: cpu::ATTACK_CORE,
        connections,
        fresh,
        window: Duration::from_secs(seconds.into()),
    };
    let before = cpu::CoreTime::of(cpu::defence_core());
    let report = wrk.run(&client)?;
    let busy = cpu::CoreTime::of(cpu::defence_core()).busy_percent_since(before);
    standing.check(lab)?;
    let per_core_second = |rate: f64| 100.0 * rate / busy.max(1.0);
    if fresh {
        row.add("connections_per_second", report.requests_per_second);
        row.add("connections_per_cpu_second", per_core_second(report.requests_per_second));
    } else {
        let bits = report.requests_per_second * BULK_FILE.1 * 8.0;
        row.add("goodput_bits_per_second", bits);
        row.add("goodput_bits_per_cpu_second", per_core_second(bits));
    }
    row.add("p50_us", report.latency.p50_us as f64);
    row.add("p99_us", report.latency.p99_us as f64);
    row.add("core_busy_percent", busy);
    row.add("failed_count", report.failed as f64);
    Ok(())
}
