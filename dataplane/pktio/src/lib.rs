//! Frames in, frames out.
//!
//! Owns: packet memory (UMEM), the rings or queues that move frames, the XDP program and its maps. Does not
//! own: what a frame means (`net`) or when to turn the loop (`node`).
//!
//! [`PacketIo`] is one worker's view of all its network interfaces. It has three implementations: `xsk`
//! (AF_XDP), `memory` (a pair of ports joined in memory, for simulation) and `pcap` (replay and record).

mod io;

pub use io::{Burst, Frame, PacketIo, Port, BURST_FRAMES_MAX};
