//! One direction of a bad link: delay, jitter, loss, reordering, duplication, damage, a bottleneck with its queue, a
//! router that carries less than the ends think.

use crate::random::Random;

/// How bad it is. Shares are per mille of the frames, times microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quality {
    pub(crate) delay_us: u64,
    pub(crate) jitter_us: u64,
    /// Whether jitter may change the order of frames.
    pub(crate) is_unordered: bool,
    pub(crate) loss: u32,
    /// Frames that are held back long enough for others to overtake them.
    pub(crate) reorder: u32,
    pub(crate) duplicate: u32,
    /// Frames of which one bit is changed.
    pub(crate) corrupt: u32,
    /// Bottleneck; zero is none.
    pub(crate) bytes_per_ms: u64,
    /// What waits in front of it at most.
    pub(crate) queue_bytes: u64,
    /// Longest packet that passes, bytes, without the link's header.
    pub(crate) mtu: usize,
    /// Whether a longer one is answered, or vanishes.
    pub(crate) says_too_big: bool,
}

impl Quality {
    /// A good link.
    pub(crate) fn good(delay_us: u64) -> Self {
        Self {
            delay_us,
            jitter_us: 0,
            is_unordered: false,
            loss: 0,
            reorder: 0,
            duplicate: 0,
            corrupt: 0,
            bytes_per_ms: 0,
            queue_bytes: 0,
            mtu: 65_535,
            says_too_big: false,
        }
    }
}

/// What became of a frame.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It arrives at these times, in microseconds, as these bytes.
    Arrives(Vec<(u64, Vec<u8>)>),
    Lost,
    /// It was too long, and the sender will be told.
    TooBig(u16),
}

/// One direction.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) quality: Quality,
    /// When the bottleneck is free again.
    free_us: u64,
    /// When the last frame in order arrives.
    last_us: u64,
}

impl Path {
    pub(crate) fn new(quality: Quality) -> Self {
        Self { quality, free_us: 0, last_us: 0 }
    }

    pub(crate) fn send(&mut self, mut frame: Vec<u8>, now_us: u64, random: &mut Random) -> Fate {
        let quality = self.quality;
        let len = frame.len() - crate::frame::LINK_BYTES;
        if len > quality.mtu {
            return if quality.says_too_big { Fate::TooBig(quality.mtu as u16) } else { Fate::Lost };
        }
        if random.happens(quality.loss) {
            return Fate::Lost;
        }
        let mut leaves_us = now_us;
        if let Some(queued_us) = (quality.bytes_per_ms > 0).then(|| self.free_us.saturating_sub(now_us)) {
            if queued_us * quality.bytes_per_ms / 1_000 > quality.queue_bytes {
                return Fate::Lost;
            }
            self.free_us = self.free_us.max(now_us) + (len as u64 * 1_000).div_ceil(quality.bytes_per_ms);
            leaves_us = self.free_us;
        }
        let jitter_us = if quality.jitter_us > 0 { random.between(0, quality.jitter_us) } else { 0 };
        let mut due_us = leaves_us + quality.delay_us + jitter_us;
        if random.happens(quality.reorder) {
            due_us += random.between(1, quality.delay_us / 2 + 1_000);
        } else if !quality.is_unordered {
            due_us = due_us.max(self.last_us);
            self.last_us = due_us;
        }
        if random.happens(quality.corrupt) {
            let bit =
                random.between(crate::frame::LINK_BYTES as u64 * 8, frame.len() as u64 * 8 - 1) as usize;
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        let mut arrivals = Vec::new();
        if random.happens(quality.duplicate) {
            arrivals.push((due_us + random.between(0, quality.delay_us + 100), frame.clone()));
        }
        arrivals.push((due_us, frame));
        Fate::Arrives(arrivals)
    }
}
