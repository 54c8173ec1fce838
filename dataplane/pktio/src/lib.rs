//! Frames in, frames out.
//!
//! Owns: packet memory (UMEM), the rings or queues that move frames, the XDP program and its maps. Does not
//! own: what a frame means (`net`) or when to turn the loop (`node`).
//!
//! [`PacketIo`] is one worker's view of all its network interfaces. It has three implementations: [`xsk`]
//! (AF_XDP), [`memory`] (ports joined in memory, for simulation) and [`pcap`] (replay and record).

mod chunks;
pub mod fastopen;
mod io;
mod kernel;
pub mod live;
pub mod memory;
pub mod pcap;
pub mod program;
mod skel;
#[cfg(test)]
mod test_support;
pub mod xsk;

pub use io::{BURST_FRAMES_MAX, Burst, Frame, PacketIo, Port};
pub use secbeat_hugepages::HugepagePolicy;
