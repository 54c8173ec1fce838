//! Ctrl-C: long loops ask [`requested`] and end themselves, so that every guard runs and the lab is removed.
//!
//! The signals are blocked in all threads and read from a signalfd by one thread; nothing runs in a signal
//! handler. A second signal ends the process at once. Children start with a clean mask (std resets it) and in
//! their own process group, so the terminal's Ctrl-C reaches only this process, which then stops them in order.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Blocks SIGINT, SIGTERM and SIGHUP and starts the thread that waits for them. Before any other thread.
pub(crate) fn install() -> anyhow::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().context("block signals")?;
    let signal_fd = SignalFd::new(&signals).context("signalfd")?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        while let Ok(Some(info)) = signal_fd.read_signal() {
            if REQUESTED.swap(true, Ordering::Relaxed) {
                std::process::exit(128 + info.ssi_signo as i32);
            }
            eprintln!("secbeat-bench: stopping and cleaning up (once more to leave at once)");
        }
    })?;
    Ok(())
}

/// Whether somebody asked this process to stop.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Sleeps, in slices, until `duration` passed or a stop was requested.
pub(crate) fn sleep(duration: std::time::Duration) {
    let end = std::time::Instant::now() + duration;
    while !requested() {
        let left = end.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(std::time::Duration::from_millis(50)));
    }
}
