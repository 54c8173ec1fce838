//! The live-frame generator: the kernel sends frames to itself through an XDP program.
//!
//! `BPF_PROG_RUN` with `BPF_F_TEST_XDP_LIVE_FRAMES` runs a small program over recycled pages; the program
//! rewrites what shall differ and redirects to an interface. 5-15 M packets/s per core on a veth.
//!
//! Owns: the generator program, its random state and its rate. Does not own: the decision which interface may
//! be flooded (`bench` refuses those outside a lab).

use core::ops::RangeInclusive;
use core::ptr::NonNull;
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd, OwnedFd};

use ipnet::IpNet;
use libbpf_rs::OpenObject;
use libbpf_rs::skel::{OpenSkel as _, SkelBuilder as _};

use crate::kernel;
use crate::program::io_error;
use crate::skel::generator as skel;

mod template;

use template::Plan;

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

/// Longest template frame in bytes: a page less headroom and the tail the kernel keeps.
pub const TEMPLATE_BYTES_MAX: usize = 3400;

/// Templates of one generator. `run` walks through them batch by batch.
pub const TEMPLATES_MAX: usize = 16;

/// Frames per batch of one template inside the kernel: its maximum is 256, its default 64.
const BATCH_FRAMES: u32 = 64;

/// With several templates, frames of one before the next comes.
const TURN_FRAMES: u32 = 1024;

/// Frames from the kernel's packet-run facility into one interface.
pub struct LiveGenerator {
    /// Borrows `store`; dropped before it.
    skel: ManuallyDrop<skel::GeneratorSkel<'static>>,
    /// From `Box::into_raw`.
    store: NonNull<MaybeUninit<OpenObject>>,
    templates: Vec<(Vec<u8>, Plan)>,
    ifindex: u32,
    next: usize,
    /// Keeps the program attached to an idle interface, see [`LiveGenerator::park`].
    parked: Option<OwnedFd>,
}

impl core::fmt::Debug for LiveGenerator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let templates = self.templates.len();
        f.debug_struct("LiveGenerator")
            .field("ifindex", &self.ifindex)
            .field("templates", &templates)
            .finish()
    }
}

impl LiveGenerator {
    /// A generator that redirects to `ifindex`. The templates are whole Ethernet frames with right checksums,
    /// at least 14 and at most [`TEMPLATE_BYTES_MAX`] bytes; equal seeds give equal streams.
    ///
    /// On a veth the peer must have a native XDP program (`BarePass` is enough), or frames are lost silently. A frame that
    /// the peer sent back and that is dropped on arrival comes round again: it is made anew from its template.
    ///
    /// # Errors
    /// `InvalidInput` for templates that cannot be; otherwise what the kernel said.
    pub fn open(ifindex: u32, templates: &[Vec<u8>], randomize: &Randomize, seed: u64) -> io::Result<Self> {
        let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, text.to_owned());
        if templates.is_empty() || templates.len() > TEMPLATES_MAX {
            return Err(invalid(&format!("1 to {TEMPLATES_MAX} templates, not {}", templates.len())));
        }
        let mut planned = Vec::with_capacity(templates.len());
        for template in templates {
            if !(14..=TEMPLATE_BYTES_MAX).contains(&template.len()) {
                return Err(invalid(&format!("a template of {} bytes", template.len())));
            }
            let mut frame = template.clone();
            let plan = Plan::of(&mut frame, randomize).map_err(invalid)?;
            planned.push((frame, plan));
        }
        let (skel, store) = load()?;
        let mut generator = Self { skel, store, templates: planned, ifindex, next: 0, parked: None };
        let Some(data) = generator.skel.maps.data_data.as_deref_mut() else {
            return Err(io::Error::other("the generator has no data section"));
        };
        // xorshift stands still at zero.
        data.state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        generator.pace(None, u64::MAX)?;
        Ok(generator)
    }

    /// Sends `pps` frames per second from now on (`None`: as fast as runs are), and `frames_max` at most.
    ///
    /// With a rate, [`Self::run`] counts attempts: those before their time are dropped inside the kernel, about
    /// 50 ns each. Long runs keep the rate best.
    ///
    /// # Errors
    /// When the program has no data section.
    pub fn pace(&mut self, pps: Option<u64>, frames_max: u64) -> io::Result<()> {
        let bss = self.bss()?;
        bss.interval_ns = pps.map_or(0, |pps| (1_000_000_000 / pps.max(1)).max(1));
        bss.due_ns = 0;
        bss.earliest_ns = 0;
        bss.sent_max = bss.sent.saturating_add(frames_max);
        Ok(())
    }

    /// Frames sent so far.
    pub fn sent(&self) -> u64 {
        self.skel.maps.bss_data.as_deref().map_or(0, |bss| bss.sent)
    }

    /// Frames left out because their time was long over.
    pub fn late(&self) -> u64 {
        self.skel.maps.bss_data.as_deref().map_or(0, |bss| bss.late)
    }

    fn bss(&mut self) -> io::Result<&mut skel::types::bss> {
        let bss = self.skel.maps.bss_data.as_deref_mut();
        bss.ok_or_else(|| io::Error::other("the generator has no plan section"))
    }

    /// Attaches the program to an interface that carries no traffic, e.g. one that is down.
    ///
    /// The kernel enters a program into its XDP dispatcher for each run and waits for an RCU grace period (2 to
    /// 20 ms) unless the program is attached somewhere already. Small runs, and so fixed rates, need this.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn park(&mut self, idle_ifindex: u32) -> io::Result<()> {
        let program = self.skel.progs.generate.as_fd();
        self.parked =
            Some(kernel::link_create(program, idle_ifindex, libbpf_rs::libbpf_sys::XDP_FLAGS_SKB_MODE)?);
        Ok(())
    }

    /// Sends `repeat` frames on the calling core; returns when all are handed over.
    ///
    /// # Errors
    /// What the kernel said; `Interrupted` when a signal came.
    pub fn run(&mut self, repeat: u32) -> io::Result<()> {
        let mut left = repeat;
        while left > 0 {
            let (frame, plan) = &self.templates[self.next];
            let count = if self.templates.len() == 1 { left } else { left.min(TURN_FRAMES) };
            let plan = plan.to_kernel(self.ifindex, frame);
            let Some(bss) = self.skel.maps.bss_data.as_deref_mut() else {
                return Err(io::Error::other("the generator has no plan section"));
            };
            bss.plan = plan;
            kernel::run_live(self.skel.progs.generate.as_fd(), frame, count, BATCH_FRAMES)?;
            left -= count;
            self.next = (self.next + 1) % self.templates.len();
        }
        Ok(())
    }
}

/// Loads the program; the skeleton borrows the storage for as long as `LiveGenerator` keeps both.
fn load() -> io::Result<(ManuallyDrop<skel::GeneratorSkel<'static>>, NonNull<MaybeUninit<OpenObject>>)> {
    let store = Box::into_raw(Box::new(MaybeUninit::uninit()));
    // SAFETY: a fresh allocation that is freed in `drop` only, after the skeleton, or below when there is none.
    let borrowed: &'static mut MaybeUninit<OpenObject> = unsafe { &mut *store };
    let loaded = skel::GeneratorSkelBuilder::default().open(borrowed).and_then(|open| open.load());
    match loaded {
        // SAFETY: `Box::into_raw` is never null.
        Ok(skel) => Ok((ManuallyDrop::new(skel), unsafe { NonNull::new_unchecked(store) })),
        Err(error) => {
            // SAFETY: from `Box::into_raw` above; nothing borrows it any more.
            drop(unsafe { Box::from_raw(store) });
            Err(io_error(&error))
        }
    }
}

impl Drop for LiveGenerator {
    fn drop(&mut self) {
        // SAFETY: dropped here and never used again; then the storage that it borrowed, from `Box::into_raw`.
        unsafe {
            ManuallyDrop::drop(&mut self.skel);
            drop(Box::from_raw(self.store.as_ptr()));
        }
    }
}

// SAFETY: the skeleton is `Send`; `store` is only freed, after it.
unsafe impl Send for LiveGenerator {}

#[cfg(test)]
mod tests;
