//! Packet I/O: the XDP program on every interface, one set of AF_XDP sockets per worker.
//!
//! Owns: the order of the privileged set-up, and what the log says about it. Does not own: the program and the
//! sockets (`secbeat-pktio`), what goes into the program's maps later (`xdp`).

use secbeat_config::NodeConfig;
use secbeat_config::node::{Attach, Unbound as UnboundConfig, Want};
use secbeat_pktio::HugepagePolicy;
use secbeat_pktio::program::{
    AttachMode, Attached, CookieConfig, InterfaceConfig, Program, ProgramConfig, ProgramError, Unbound,
    clock_ns,
};
use secbeat_pktio::xsk::{BusyPoll, XskConfig, XskError, XskInterface, XskIo, XskReport, ZeroCopy};

use super::{ports, sizes};
use crate::neighbor::PortState;
use crate::worker::clock::Clock;

/// Preferred busy polling: 64 µs and 64 packets, what Firedancer found to suit ixgbe, i40e and mlx5.
const BUSY_POLL: BusyPoll = BusyPoll { timeout_us: 64, budget_packets: 64 };

/// Frames beyond rings and early data: packets being built, and a burst in the worker's hands.
const FRAMES_SLACK: u32 = 512;

/// Why packet I/O cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The XDP program.
    #[error("XDP program: {0}")]
    Program(#[from] ProgramError),
    /// The sockets.
    #[error("AF_XDP sockets of worker {worker}: {source}")]
    Sockets {
        /// Whose.
        worker: u16,
        /// Why.
        source: XskError,
    },
}

/// Packet I/O ready to be driven.
#[derive(Debug)]
pub struct PacketSide {
    /// The XDP program with its maps.
    pub program: Program,
    /// One engine per worker, queues not yet bound.
    pub engines: Vec<(XskIo, XskReport)>,
}

impl PacketSide {
    /// Loads and attaches the program (taking over what an earlier process pinned) and opens all sockets. Nothing
    /// reaches the sockets before [`PacketSide::bind`].
    ///
    /// # Errors
    /// What could not be done; what was attached stays for the next try.
    pub fn open(
        config: &NodeConfig,
        interfaces: &[String],
        workers: u16,
        clock: &Clock,
    ) -> Result<Self, Error> {
        let mode = match config.io.attach {
            Attach::Auto => AttachMode::Auto,
            Attach::Native => AttachMode::Native,
            Attach::Generic => AttachMode::Generic,
        };
        let program = Program::open(&ProgramConfig {
            pin_dir: Some(config.io.pin_dir.clone()),
            interfaces: interfaces.iter().map(|name| InterfaceConfig { name: name.clone(), mode }).collect(),
            unbound: match config.io.unbound {
                UnboundConfig::Pass => Unbound::Pass,
                UnboundConfig::Drop => Unbound::Drop,
            },
            cookies: CookieConfig {
                // Workers count from 1970, the program from the start of the machine: the former zero lies before the
                // latter, and the difference wraps.
                clock_base_ns: clock_ns().wrapping_sub(clock.now().as_nanos()),
                flows_max: sizes::client_flows_max(config, workers),
            },
        })?;
        let mut engines = Vec::new();
        for worker in 0..workers {
            match XskIo::open(&xsk_config(config, interfaces, worker)) {
                Ok(engine) => engines.push(engine),
                // Where sysfs could not tell the number of queues, the first one that is not there does.
                Err(_) if worker > 0 && interfaces.iter().any(|name| ports::queues(name).is_none()) => break,
                Err(source) => return Err(Error::Sockets { worker, source }),
            }
        }
        Ok(Self { engines, program })
    }

    /// Directs every queue to its worker's socket: from here on workers get packets.
    ///
    /// # Errors
    /// When the kernel refuses an entry of the socket map.
    pub fn bind(&mut self) -> Result<(), Error> {
        for (engine, _) in &self.engines {
            for (port, queue, socket) in engine.sockets() {
                self.program.bind_queue(port, queue, socket)?;
            }
        }
        Ok(())
    }

    /// Why workers should answer with SYN cookies and not the XDP program; `None` when the program should.
    pub fn why_workers_answer(&self, ports: &[PortState]) -> Option<String> {
        if self.engines.iter().all(|(_, report)| report.zero_copy) {
            return Some("zero copy: nothing is faster".to_owned());
        }
        // veth hands an XDP_TX frame to its peer's program, and loses it when there is none (drivers/net/veth.c).
        let loses =
            |(attached, port): &(&Attached, &PortState)| port.is_veth && attached.mode != AttachMode::Generic;
        let (lossy, _) = self.program.attached().iter().zip(ports).find(loses)?;
        let name = &lossy.interface;
        Some(format!("{name} is a veth: what its program sends is lost unless its peer has one, too"))
    }

    /// What was obtained, for the log and the API.
    pub fn notes(&self) -> Vec<String> {
        let attached = self.program.attached().iter().map(note_attached);
        let engines =
            self.engines.iter().enumerate().map(|(worker, (_, report))| format!("worker {worker}: {report}"));
        attached.chain(engines).collect()
    }
}

fn note_attached(attached: &Attached) -> String {
    let mode = mode_name(attached.mode);
    let how = if attached.taken_over { "taken over" } else { "attached" };
    let why = if attached.note.is_empty() { String::new() } else { format!(" ({})", attached.note) };
    format!("{}: XDP {mode}, {how}{why}", attached.interface)
}

/// `native` or `generic`.
pub fn mode_name(mode: AttachMode) -> &'static str {
    match mode {
        AttachMode::Generic => "generic",
        AttachMode::Auto | AttachMode::Native => "native",
    }
}

fn xsk_config(config: &NodeConfig, interfaces: &[String], worker: u16) -> XskConfig {
    let io = &config.io;
    let queue = u32::from(worker);
    let mut xsk = XskConfig {
        interfaces: interfaces.iter().map(|name| XskInterface { name: name.clone(), queue }).collect(),
        chunk_bytes: io.frame_bytes,
        fill_slots: io.fill_ring,
        rx_slots: io.rx_ring,
        tx_slots: io.tx_ring,
        zero_copy: match io.zero_copy {
            Want::Auto => ZeroCopy::Auto,
            Want::Require => ZeroCopy::Require,
            Want::Off => ZeroCopy::Off,
        },
        hugepages: match io.hugepages {
            Want::Auto => HugepagePolicy::Auto,
            Want::Require => HugepagePolicy::Require,
            Want::Off => HugepagePolicy::Off,
        },
        busy_poll: io.busy_poll.then_some(BUSY_POLL),
        ..XskConfig::default()
    };
    xsk.frames = io.frames.max(xsk.frames_min() + config.flows.early_frames_max + FRAMES_SLACK);
    xsk
}
