//! SIGHUP, SIGUSR1, SIGTERM and SIGINT as values.
//!
//! Owns: the blocked signals and the descriptor they are read from. Does not own: what follows. The signals are
//! blocked before any thread is made, so every thread inherits the mask and none is interrupted.

use std::io;

use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What an operator or the service manager asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: open log files anew, they were moved away. Nothing else is read again.
    Reopen,
    /// SIGTERM: finish connections, then stop.
    Drain,
    /// SIGINT: stop as soon as is clean; a second SIGTERM means the same.
    Stop,
}

/// Where signals arrive.
#[derive(Debug)]
pub struct Signals {
    descriptor: SignalFd,
}

impl Signals {
    /// Blocks the signals for this thread and all it will make (a thread that does not block them would be killed by
    /// them), and opens the descriptor. To be called before there is a second thread; again does no harm.
    ///
    /// # Errors
    /// When the kernel refuses the mask or the descriptor.
    pub fn block() -> io::Result<Self> {
        let mut set = SigSet::empty();
        for number in [Number::SIGHUP, Number::SIGUSR1, Number::SIGTERM, Number::SIGINT] {
            set.add(number);
        }
        set.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC;
        Ok(Self { descriptor: SignalFd::with_flags(&set, flags)? })
    }

    /// Waits for the next signal.
    ///
    /// # Errors
    /// When the descriptor cannot be read.
    pub fn wait(&mut self) -> io::Result<Signal> {
        loop {
            let Some(info) = self.descriptor.read_signal()? else {
                continue;
            };
            let number = info.ssi_signo as i32;
            if number == Number::SIGHUP as i32 {
                return Ok(Signal::Reload);
            }
            if number == Number::SIGUSR1 as i32 {
                return Ok(Signal::Reopen);
            }
            return Ok(if number == Number::SIGINT as i32 { Signal::Stop } else { Signal::Drain });
        }
    }
}
