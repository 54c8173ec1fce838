//! Threads of the workers: one per core, pinned.
//!
//! Owns: the loop around `Worker::turn`, sleeping, the end. Does not own: what a turn does (`worker`).

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use core::time::Duration;
use secbeat_pktio::PacketIo;

use crate::event::{Event, What};
use crate::telemetry::counters::Gauge;
use crate::worker::Worker;
use crate::worker::clock::Clock;
use crate::worker::idle::Backoff;
use crate::worker::shared::{Shared, Stage};

/// How a worker's thread runs.
#[derive(Clone, Copy, Debug)]
pub struct ThreadSettings {
    /// The core it is pinned to.
    pub core: Option<usize>,
    /// How long it spins without work; `None` = for ever.
    pub spin: Option<Duration>,
}

/// Starts a worker's thread.
///
/// # Errors
/// When the thread cannot be made.
pub fn spawn<I: PacketIo + Send + 'static>(
    worker: Worker<I>,
    shared: Arc<Shared>,
    clock: Clock,
    settings: ThreadSettings,
) -> io::Result<JoinHandle<()>> {
    let name = format!("worker-{}", worker.id());
    Builder::new().name(name).spawn(move || run(worker, &shared, clock, settings))
}

fn run<I: PacketIo>(mut worker: Worker<I>, shared: &Shared, clock: Clock, settings: ThreadSettings) {
    if let Some(id) = settings.core {
        let pinned = core_affinity::set_for_current(core_affinity::CoreId { id });
        if pinned {
            worker.counters().set(Gauge::Core, id as u64 + 1);
        } else {
            tracing::warn!(worker = worker.id(), core = id, "cannot be pinned to its core");
        }
    }
    let mut backoff = Backoff::new(shared.workers(), settings.spin);
    loop {
        let now = clock.now();
        let report = worker.turn(now);
        match shared.stage() {
            Stage::Serve => {}
            Stage::Drain if worker.is_drained() => break,
            Stage::Drain => {}
            Stage::Stop => break,
        }
        if let Some(sleep) = backoff.after_turn(report.is_busy(), report.next_timer, now) {
            worker.wait(sleep);
        }
    }
    let now = clock.now();
    let cut = worker.shut_down(now);
    shared.events.push(Event { at: now, worker: worker.id(), what: What::Drained { cut } });
}
