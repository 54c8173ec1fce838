//! One engine behind another: what is due is sent, and what was late is known.

use std::time::Duration;

use anyhow::{Context, Result};
use secbeat_pktio::live::{LiveGenerator, Randomize};

use super::{Engine, Options, PACKETS_MAX, Pacer, Rate, XskGenerator};
use crate::lab::ATTACK_IDLE_IF;

/// Packets, or attempts at a fixed rate, per call of the live engine: long calls, but Ctrl-C within milliseconds.
const LIVE_CALL_PACKETS: u32 = 32_768;

/// An engine that is ready to send.
pub(super) enum Sender {
    /// XDP live frames.
    Live(Box<LiveGenerator>),
    /// AF_XDP transmit.
    Xsk(Box<XskGenerator>),
}

impl Sender {
    /// Makes the engine ready, in the namespace of the calling thread.
    pub(super) fn open(options: &Options, frames: &[Vec<u8>], randomize: &Randomize) -> Result<Self> {
        match options.engine {
            Engine::Live => {
                let index = nix::net::if_::if_nametoindex(options.via.as_str())
                    .with_context(|| format!("no interface `{}`", options.via))?;
                let mut generator = LiveGenerator::open(index, frames, randomize, options.seed)
                    .context("XDP live frames (BPF_PROG_RUN, kernel 5.18 and newer, root)")?;
                // Without it each run waits for milliseconds, and a fixed rate comes in bursts.
                if let Ok(idle) = nix::net::if_::if_nametoindex(ATTACK_IDLE_IF) {
                    generator.park(idle).context("park the generator")?;
                }
                let pps = match options.rate {
                    Rate::Fixed(pps) => Some(pps),
                    Rate::Max => None,
                };
                generator.pace(pps, options.packets.unwrap_or(PACKETS_MAX).min(PACKETS_MAX))?;
                Ok(Self::Live(Box::new(generator)))
            }
            Engine::Xsk => {
                let generator = XskGenerator::open(&options.via, frames, randomize, options.seed)?;
                Ok(Self::Xsk(Box::new(generator)))
            }
        }
    }

    /// Sends what is due, `left` at most; returns how many went out.
    pub(super) fn send(&mut self, pacer: &mut Pacer, elapsed: Duration, left: u64) -> Result<u64> {
        match self {
            Self::Xsk(generator) => {
                let due = u64::from(pacer.due(elapsed)).min(left) as u32;
                if due == 0 {
                    std::hint::spin_loop();
                    return Ok(0);
                }
                Ok(u64::from(generator.send(due)))
            }
            Self::Live(generator) => {
                let before = generator.sent();
                match generator.run(LIVE_CALL_PACKETS) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error).context("XDP live frames"),
                }
                Ok(generator.sent() - before)
            }
        }
    }

    /// Packets that were left out because they could not be sent at their time.
    pub(super) fn late(&self, pacer: &Pacer) -> u64 {
        match self {
            Self::Xsk(_) => pacer.forgiven(),
            Self::Live(generator) => generator.late(),
        }
    }
}
