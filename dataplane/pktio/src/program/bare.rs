//! Tiny XDP programs that show the machine's ceiling: drop all, pass all, send all back, all to the socket.
//!
//! Owns: a link that ends with the value. Does not own: anything pinned.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libbpf_rs::skel::{OpenSkel as _, SkelBuilder as _};
use libbpf_rs::{MapCore as _, MapFlags, MapHandle};

use super::attach::{attach_link, kernel_error};
use super::{AttachMode, ProgramError};
use crate::skel::bare as skel;

/// One of the programs, attached.
struct Bare {
    /// Ends the attachment when closed.
    _link: OwnedFd,
    mode: AttachMode,
    packets: MapHandle,
    sockets: MapHandle,
}

impl Bare {
    fn attach(name: &str, ifindex: u32, mode: AttachMode) -> Result<Self, ProgramError> {
        let mut store = MaybeUninit::uninit();
        let mut open =
            skel::BareSkelBuilder::default().open(&mut store).map_err(kernel_error("open the program"))?;
        for mut program in open.open_object_mut().progs_mut() {
            let wanted = program.name() == name;
            program.set_autoload(wanted);
        }
        let skel = open.load().map_err(kernel_error("load the program"))?;
        let program = match name {
            "bare_drop" => &skel.progs.bare_drop,
            "bare_pass" => &skel.progs.bare_pass,
            "bare_tx" => &skel.progs.bare_tx,
            _ => &skel.progs.bare_xsk,
        };
        let (link, mode, _) = attach_link(program.as_fd(), ifindex, mode)
            .map_err(|source| ProgramError::Kernel { action: format!("attach {name}"), source })?;
        let handle = |map| MapHandle::try_from(map).map_err(kernel_error("keep a map"));
        Ok(Self {
            _link: link,
            mode,
            packets: handle(&skel.maps.packets)?,
            sockets: handle(&skel.maps.sockets)?,
        })
    }

    fn packets(&self) -> u64 {
        let per_core = self.packets.lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY);
        let per_core = per_core.ok().flatten().unwrap_or_default();
        per_core.iter().filter_map(|bytes| Some(u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?))).sum()
    }

    fn bind_queue(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), ProgramError> {
        self.sockets
            .update(&queue.to_ne_bytes(), &socket.as_raw_fd().to_ne_bytes(), MapFlags::ANY)
            .map_err(kernel_error("direct a queue to a socket"))
    }
}

impl core::fmt::Debug for Bare {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Bare").field("mode", &self.mode).finish_non_exhaustive()
    }
}

macro_rules! bare {
    ($(#[$doc:meta])* $name:ident, $program:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(Bare);

        impl $name {
            /// Loads the program and attaches it to `ifindex` until the value is dropped.
            ///
            /// # Errors
            /// When the kernel refuses, e.g. because another program is attached.
            pub fn attach(ifindex: u32, mode: AttachMode) -> Result<Self, ProgramError> {
                Bare::attach($program, ifindex, mode).map(Self)
            }

            /// The mode in effect, never [`AttachMode::Auto`].
            pub fn mode(&self) -> AttachMode {
                self.0.mode
            }

            /// Packets seen so far, over all cores.
            pub fn packets(&self) -> u64 {
                self.0.packets()
            }
        }
    };
}

bare!(
    /// Drops every packet: the fastest a blocklist could be.
    BareDrop,
    "bare_drop"
);
bare!(
    /// Passes every packet to the kernel: makes a veth peer accept redirected frames.
    BarePass,
    "bare_pass"
);
bare!(
    /// Sends every packet back with its link addresses exchanged: the fastest a SYN could be answered.
    BareTx,
    "bare_tx"
);
bare!(
    /// Redirects every packet to the socket of its queue: the fastest a worker could be fed.
    BareXsk,
    "bare_xsk"
);

impl BareXsk {
    /// Directs `queue` to a socket. A queue without one is passed to the kernel.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn bind_queue(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), ProgramError> {
        self.0.bind_queue(queue, socket)
    }
}

/// The index of an interface by its name in this thread's network namespace.
///
/// # Errors
/// When there is none.
pub fn ifindex(name: &str) -> io::Result<u32> {
    crate::kernel::ifindex(name)
}
