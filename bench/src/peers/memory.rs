//! Chapter `memory`: what an idle connection costs nginx, HAProxy and SecBeat, thousands of them held open at once.
//!
//! Owns: the rounds. Does not own: the connections (`idle`). Each kind of connection meets a proxy that was just
//! started, so that no kind pays for what another left behind.

use anyhow::Result;

use super::setup::{Front, Peer, Rig};
use super::{Book, Plan, idle};
use crate::interrupt;

/// Name of the chapter in results.
pub(super) const CHAPTER: &str = "memory";
/// Memory hardly differs from one repetition to the next, and one takes long.
const REPETITIONS_MAX: u32 = 3;

/// Plays the chapter.
pub(super) fn play(plan: &Plan, book: &mut Book) -> Result<()> {
    let plan = Plan { repetitions: plan.repetitions.min(REPETITIONS_MAX), ..plan.clone() };
    super::repeat(&plan, book, CHAPTER, |_, document| {
        for kind in idle::Kind::ALL {
            for peer in [Peer::Nginx, Peer::Haproxy, Peer::Secbeat] {
                if interrupt::requested() {
                    return Ok(());
                }
                let held = Rig::up(&[peer], Front::Socket, &plan.prefix)
                    .and_then(|rig| idle::hold(&rig, peer, kind, plan.idle));
                let row = document.row(CHAPTER, peer.name(), kind.name());
                match held {
                    Ok((before, with)) => {
                        row.add("connections_count", plan.idle.into());
                        row.add("resident_before_kib", before as f64);
                        row.add("resident_kib", with as f64);
                        let growth = with.saturating_sub(before) as f64 * 1_024.0;
                        row.add("bytes_per_connection", growth / f64::from(plan.idle));
                    }
                    Err(error) if !interrupt::requested() => row.errors.push(format!("{error:#}")),
                    Err(_) => {}
                }
            }
        }
        Ok(())
    })
}
