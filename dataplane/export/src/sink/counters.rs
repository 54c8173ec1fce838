//! Numbers of one sink. They outlive a change of its configuration, so that counters only grow.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::exports::SinkStatus;

/// Why a record was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The queue was full.
    QueueFull,
    /// It was longer than `max_record_bytes` even without its texts.
    TooLong,
    /// The file has its largest size.
    FileFull,
    /// The receiver's host says that nobody took the datagram; it counts as sent, too.
    Refused,
    /// The process ended, or the sink was taken out, before it could be sent.
    Stopped,
}

impl Reason {
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::QueueFull, "queue_full"),
        (Self::TooLong, "too_long"),
        (Self::FileFull, "file_full"),
        (Self::Refused, "refused"),
        (Self::Stopped, "stopped"),
    ];
}

/// Losses by reason, in the order of [`Reason::ALL`].
pub(super) type Losses = [u64; Reason::ALL.len()];

#[derive(Debug, Default)]
pub(crate) struct Counters {
    queued: AtomicU64,
    sent: AtomicU64,
    lost: [AtomicU64; Reason::ALL.len()],
    opened: AtomicU64,
    failures: AtomicU64,
    is_open: AtomicBool,
}

impl Counters {
    pub(super) fn count_queued(&self) {
        self.queued.fetch_add(1, Relaxed);
    }

    pub(super) fn add_sent(&self, count: u64) {
        self.sent.fetch_add(count, Relaxed);
    }

    pub(super) fn lose(&self, reason: Reason, count: u64) {
        self.lost[reason as usize].fetch_add(count, Relaxed);
    }

    pub(super) fn count_opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    pub(super) fn count_failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(super) fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Relaxed);
    }

    pub(super) fn losses(&self) -> Losses {
        core::array::from_fn(|index| self.lost[index].load(Relaxed))
    }

    pub(super) fn status(
        &self,
        name: String,
        target: String,
        waiting: u64,
        waiting_bytes: u64,
    ) -> SinkStatus {
        SinkStatus {
            name,
            target,
            is_open: self.is_open.load(Relaxed),
            waiting,
            waiting_bytes,
            queued: self.queued.load(Relaxed),
            sent: self.sent.load(Relaxed),
            lost: Reason::ALL
                .iter()
                .map(|(reason, word)| (*word, self.lost[*reason as usize].load(Relaxed)))
                .collect(),
            opened: self.opened.load(Relaxed),
            failures: self.failures.load(Relaxed),
        }
    }
}
