//! Chapter `floods`: SYNs from random sources at every rate, against every defender, with honest clients meanwhile.
//!
//! ```text
//! core 0: generator, the attacker's receive work       core 1: the defender and the edge's receive work
//!                                                      core 1, before all else: client and origin, short work
//! ```
//!
//! Owns: the lab of this chapter, its rounds, what is counted. Defenders take turns within a round, the first of a
//! round is another one each time. A defender that does not start, or ends, is an error in its rows; the others go
//! on.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::clients;
use super::defender::{Defender, Standing};
use super::result::{Document, Row};
use crate::flood::{self, Kind, Progress, Rate};
use crate::lab::{self, CLIENT, EDGE_ATTACK, Lab, ORIGIN};
use crate::{cpu, interrupt, tool};

/// Name of the chapter in results.
pub(super) const CHAPTER: &str = "floods";
/// Before anything is counted: the flood is at its rate, queues are as full as they get.
const SETTLE: Duration = Duration::from_millis(400);
/// Rates are counted over at least so long.
const WINDOW_MIN: Duration = Duration::from_millis(1_200);
/// Between two floods: the queues run empty.
const REST: Duration = Duration::from_millis(100);
/// A flood that nobody ends any more ends itself.
const FLOOD_SECONDS_MAX: u64 = 60;

/// Below this what comes back is no answer to a flood, but an ARP request or the like.
const ANSWERS_PPS_MIN: f64 = 100.0;

/// What is sent at which rate in which family: the name of a case.
pub(super) fn case(rate: Rate, family: u8) -> String {
    let rate = match rate {
        Rate::Fixed(pps) if pps % 1_000_000 == 0 => format!("{} M/s", pps / 1_000_000),
        Rate::Fixed(pps) if pps % 1_000 == 0 => format!("{} k/s", pps / 1_000),
        Rate::Fixed(pps) => format!("{pps}/s"),
        Rate::Max => "maximum".to_owned(),
    };
    if family == 4 { rate } else { format!("{rate}, IPv{family}") }
}

/// How the lab of a chapter is set, for the result.
pub(super) fn settings() -> Vec<(&'static str, String)> {
    vec![
        (
            "topology",
            "attacker, client, edge and origin in network namespaces, veth pairs of one queue".to_owned(),
        ),
        ("offloads", "TSO and UDP segmentation off, transmit checksums in software, GRO on".to_owned()),
        ("receive_work", "threaded NAPI, the attacker's end on core 0, all others on core 1".to_owned()),
        (
            "generator",
            "XDP live frames on core 0, random sources, 74-byte SYNs with a Linux client's options"
                .to_owned(),
        ),
        (
            "client_and_origin",
            "on core 1 with real-time priority: outside a lab they have machines of their own".to_owned(),
        ),
        (
            "honest_connections",
            format!(
                "{} one by one, {} at {} a time",
                clients::CONNECTIONS,
                clients::CONNECTIONS,
                clients::CONCURRENCY
            ),
        ),
        ("client_program", "XDP_PASS on the client's interface, for every defender".to_owned()),
        ("deadline_ms", clients::DEADLINE_MS.to_string()),
        ("tcp_syncookies", "2 in the edge: a cookie for every SYN".to_owned()),
        ("client_ports", "1024-65535, tcp_tw_reuse=1, at most 4096 in TIME-WAIT".to_owned()),
        ("idle_states", "none: /dev/cpu_dma_latency held at 0".to_owned()),
        ("sched_autogroup", "off while measuring".to_owned()),
    ]
}

/// The lab of the chapters, with the origin's work where `core` says.
pub(super) fn make_lab(prefix: &str) -> Result<Lab> {
    let mut lab = Lab::up(lab::Options { prefix: prefix.to_owned(), pin: true, ..lab::Options::default() })?;
    lab.let_xdp_answer()?;
    let edge = lab.topology.edge();
    tool::run(&format!(
        "ip netns exec {edge} sysctl -qw net.ipv4.tcp_syncookies=2 net.core.somaxconn=16384"
    ))?;
    for pid in others(&lab)? {
        cpu::prefer(pid)?;
    }
    place_others(&lab, cpu::defence_core())?;
    Ok(lab)
}

/// Moves what is not the defender's, client's receive work and origin, to a core.
pub(super) fn place_others(lab: &Lab, core: usize) -> Result<()> {
    others(lab)?.into_iter().try_for_each(|pid| cpu::pin(pid, core))
}

/// Threads that would run on other machines: the receive work of client and origin, and the origin's server.
fn others(lab: &Lab) -> Result<Vec<i32>> {
    let record = fs::read_to_string(lab.state.record("nginx")).context("record of the origin")?;
    let origin: u32 =
        record.split_whitespace().next().unwrap_or_default().parse().context("record of the origin")?;
    let is_far = |interface: &str| interface == CLIENT.far_if || interface == ORIGIN.far_if;
    let threads =
        lab.receive_threads.iter().filter(|thread| is_far(thread.interface)).map(|thread| thread.pid);
    Ok(threads.chain(cpu::family(origin).into_iter().map(|pid| pid as i32)).collect())
}

/// One round: every defender at every rate, each in a lab of its own, so that nobody meets what another left behind.
/// Returns early when somebody asked to stop.
pub(super) fn round(
    prefix: &str,
    document: &mut Document,
    defenders: &[Defender],
    rates: &[Rate],
    families: &[u8],
) {
    for &defender in defenders {
        for &family in families {
            if interrupt::requested() {
                return;
            }
            let started = make_lab(prefix).and_then(|lab| {
                let standing = defender.start(&lab, family)?;
                Ok((standing, lab))
            });
            let failed = match started {
                Ok((mut standing, lab)) => {
                    let outcome = against(&lab, document, defender, &mut standing, rates, family);
                    drop(standing);
                    outcome.err().map(|error| (error, None))
                }
                Err(error) => Some((error, Some(rates))),
            };
            let Some((error, missed)) = failed else { continue };
            if interrupt::requested() {
                return;
            }
            eprintln!("{}: {error:#}", defender.name());
            // One that never stood has an error in every row.
            for &rate in missed.unwrap_or_default() {
                let row = document.row(CHAPTER, defender.name(), &case(rate, family));
                row.errors.push(format!("{error:#}"));
            }
        }
    }
}

fn against(
    lab: &Lab,
    document: &mut Document,
    defender: Defender,
    standing: &mut Standing,
    rates: &[Rate],
    family: u8,
) -> Result<()> {
    for (index, &rate) in rates.iter().enumerate() {
        if interrupt::requested() {
            return Ok(());
        }
        let mut seen = Row::default();
        let outcome = point(lab, standing, rate, family, &mut seen)
            .and_then(|()| standing.check(lab))
            .and_then(|()| check_answers(defender, &seen));
        if interrupt::requested() {
            return Ok(());
        }
        if let Err(error) = outcome {
            // The rates that are left have no figure either: without its process there is no defender.
            for &rate in &rates[index..] {
                let row = document.row(CHAPTER, defender.name(), &case(rate, family));
                row.errors.push(format!("{error:#}"));
            }
            return Err(error);
        }
        let row = document.row(CHAPTER, defender.name(), &case(rate, family));
        for (metric, samples) in seen.metrics {
            row.metrics.entry(metric).or_default().extend(samples);
        }
        std::thread::sleep(REST);
    }
    Ok(())
}

/// Everybody but the dropper answers something, or the attacker's side of the veth has stopped receiving.
fn check_answers(defender: Defender, seen: &Row) -> Result<()> {
    let offered = seen.median("offered_pps").unwrap_or(0.0) > 0.0;
    let answered = seen.median("answers_pps").unwrap_or(0.0) > 0.0;
    ensure!(!offered || answered || defender == Defender::XdpDrop, "no answer at all reached the attacker");
    Ok(())
}

/// What is read before and after.
struct Reading {
    at: Instant,
    sent: u64,
    answers: u64,
    made: u64,
    core: cpu::CoreTime,
    process: Duration,
    receive: Duration,
}

impl Reading {
    fn take(lab: &Lab, standing: &Standing, progress: &Progress) -> Self {
        let receivers = lab.receive_threads.iter().filter(|thread| thread.interface == EDGE_ATTACK);
        Self {
            at: Instant::now(),
            sent: progress.sent.load(Ordering::Relaxed),
            answers: progress.answers.load(Ordering::Relaxed),
            made: frames_made(lab),
            core: cpu::CoreTime::of(cpu::defence_core()),
            process: standing.time_used(),
            receive: receivers.map(|thread| cpu::Thread::kernel(thread.pid).used()).sum(),
        }
    }
}

/// Frames that the edge has sent towards the attacker, those among them that found the attacker's ring full: its core
/// also generates, and takes fewer than a fast defender makes.
fn frames_made(lab: &Lab) -> u64 {
    let shown = tool::run(&format!("ip -j -s -n {} link show dev {EDGE_ATTACK}", lab.topology.edge()));
    let parsed = shown.ok().and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
    let count = |field: &str| {
        let value = parsed.as_ref()?.pointer(&format!("/0/stats64/tx/{field}"));
        value.and_then(serde_json::Value::as_u64)
    };
    count("packets").unwrap_or(0) + count("dropped").unwrap_or(0)
}

/// One defender under one flood.
fn point(lab: &Lab, standing: &Standing, rate: Rate, family: u8, row: &mut Row) -> Result<()> {
    let progress = Progress::default();
    let options = flood::Options::for_lab(&lab.topology.prefix, Kind::Syn, family, rate, FLOOD_SECONDS_MAX);
    let (resident, slab) = (standing.resident_kib(), cpu::memory_kib("Slab"));
    std::thread::scope(|scope| {
        let generator = scope.spawn(|| flood::flood(&options, &progress));
        interrupt::sleep(SETTLE);
        let before = Reading::take(lab, standing, &progress);
        let clients = clients::run(lab, family);
        interrupt::sleep(WINDOW_MIN.saturating_sub(before.at.elapsed()));
        let after = Reading::take(lab, standing, &progress);
        let (resident_after, slab_after) = (standing.resident_kib(), cpu::memory_kib("Slab"));
        progress.stop.store(true, Ordering::Relaxed);
        generator.join().map_err(|_| anyhow!("the generator panicked"))?.context("generator")?;
        clients?.add_to(row);
        add_rates(row, &before, &after);
        row.add("resident_kib", resident_after as f64);
        row.add("resident_growth_kib", resident_after as f64 - resident as f64);
        row.add("slab_growth_kib", slab_after as f64 - slab as f64);
        Ok(())
    })
}

fn add_rates(row: &mut Row, before: &Reading, after: &Reading) {
    let seconds = (after.at - before.at).as_secs_f64().max(1e-3);
    let share =
        |after: Duration, before: Duration| 100.0 * after.saturating_sub(before).as_secs_f64() / seconds;
    let answers = after.answers.saturating_sub(before.answers) as f64 / seconds;
    let (process, receive) = (share(after.process, before.process), share(after.receive, before.receive));
    row.add("offered_pps", after.sent.saturating_sub(before.sent) as f64 / seconds);
    let made = after.made.saturating_sub(before.made) as f64 / seconds;
    row.add("answers_pps", answers);
    row.add("made_pps", made);
    row.add("core_busy_percent", after.core.busy_percent_since(before.core));
    row.add("process_busy_percent", process);
    row.add("receive_busy_percent", receive);
    // Fewer are not answers to the flood.
    if made > ANSWERS_PPS_MIN {
        // Of the processor time that was really spent, since the core also works for client and origin.
        row.add("cpu_ns_per_answer", (process + receive) * 1e7 / made);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_named_as_people_write_rates() {
        assert_eq!(case(Rate::Fixed(50_000), 4), "50 k/s");
        assert_eq!(case(Rate::Fixed(2_000_000), 4), "2 M/s");
        assert_eq!(case(Rate::Fixed(1_500_000), 6), "1500 k/s, IPv6");
        assert_eq!(case(Rate::Max, 4), "maximum");
    }

    #[test]
    fn silence_is_a_result_of_the_dropper_alone() {
        let mut seen = Row::default();
        seen.add("offered_pps", 1e6);
        seen.add("answers_pps", 0.0);
        assert!(check_answers(Defender::XdpDrop, &seen).is_ok());
        assert!(check_answers(Defender::SecbeatSyn, &seen).is_err());
        seen.metrics.insert("answers_pps".to_owned(), vec![5.0]);
        assert!(check_answers(Defender::SecbeatSyn, &seen).is_ok());
    }

    #[test]
    fn rates_and_shares_follow_from_two_readings() {
        let reading = |at: Instant, sent, answers, busy: u64| Reading {
            at,
            sent,
            answers,
            made: 2 * answers,
            core: cpu::CoreTime::default(),
            process: Duration::from_millis(busy),
            receive: Duration::from_millis(3 * busy),
        };
        let begun = Instant::now();
        let mut row = Row::default();
        let before = reading(begun, 1_000, 500, 0);
        add_rates(&mut row, &before, &reading(begun + Duration::from_secs(2), 201_000, 100_500, 200));
        assert_eq!(row.samples("offered_pps"), [100_000.0]);
        assert_eq!(row.samples("answers_pps"), [50_000.0]);
        assert_eq!(row.samples("process_busy_percent"), [10.0]);
        assert_eq!(row.samples("made_pps"), [100_000.0]);
        assert_eq!(row.samples("cpu_ns_per_answer"), [4_000.0]);
    }
}
