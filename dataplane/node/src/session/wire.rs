//! A session's end of the client's connection: bytes out, through TLS or not, and what the front was told about
//! bytes in.
//!
//! Owns: [`Wire`], with the TLS connection and the backlog of what the front did not take. Does not own: TLS itself
//! (`tls`), the front. The backlog is bounded by those who send: a head with the beginning of its body, and
//! [`SEND_BYTES_MAX`] of a body; nobody sends more of a body while there is one.
//! Cost: nothing while idle; plain bytes go to the front without a copy, encrypted ones are written once, by the
//! cipher.

use secbeat_net::time::Instant;

use super::buffer::{Buffer, Buffers, Store};
use super::exchange::Pace;
use super::tls::Stream;
use crate::front::{ClientId, Front};

/// Plaintext encrypted at once, bytes. What the front does not take of it is the backlog: the window towards a slow
/// client. Four full records keep the cost per call small.
pub(super) const SEND_BYTES_MAX: usize = 64 << 10;
/// Plaintext encrypted although the front seems to have less room: a call per record at least, and a short answer,
/// after which the front says when there is room again.
const SEND_BYTES_MIN: usize = 16 << 10;

/// How our direction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// It is open.
    Open,
    /// FIN when the backlog is out.
    Wanted,
    /// FIN was asked of the front.
    Done,
}

/// The connection of one session.
pub(super) struct Wire {
    pub(super) client: ClientId,
    pub(super) tls: Option<Box<Stream>>,
    backlog: Option<Buffer>,
    ending: Ending,
    /// The front keeps input until `resume`.
    pub(super) is_paused: bool,
    /// The client's end was seen: FIN, or close_notify.
    pub(super) is_ended: bool,
    /// How fast the client takes what waits; `None` = nothing waits.
    pub(super) pace: Option<Pace>,
}

impl Wire {
    pub(super) fn new(client: ClientId, tls: Option<Box<Stream>>) -> Self {
        Self {
            client,
            tls,
            backlog: None,
            ending: Ending::Open,
            is_paused: false,
            is_ended: false,
            pace: None,
        }
    }

    /// Whether all that was sent was taken.
    pub(super) fn is_clear(&self) -> bool {
        self.backlog.is_none()
    }

    /// Whether FIN was asked of the front.
    pub(super) fn is_finished(&self) -> bool {
        self.ending == Ending::Done
    }

    /// Sends what fits and says how much; nothing while there is a backlog.
    pub(super) fn send(
        &mut self,
        bytes: &[u8],
        store: &mut Store,
        front: &mut dyn Front,
        now: Instant,
    ) -> usize {
        if self.backlog.is_some() || self.ending != Ending::Open {
            return 0;
        }
        let Some(stream) = &mut self.tls else {
            let taken = front.send(self.client, bytes);
            self.note(taken, taken < bytes.len(), now);
            return taken;
        };
        let fits = stream.fits(front.room(self.client), now).clamp(SEND_BYTES_MIN, SEND_BYTES_MAX);
        let len = bytes.len().min(fits);
        store.records.clear();
        // Fails only when the connection has failed, which its receiving side reports.
        if stream.send(bytes.get(..len).unwrap_or_default(), &mut store.records, now).is_ok() {
            self.hand_over(store, front, now);
        }
        len
    }

    /// Sends all; what the front does not take now waits.
    pub(super) fn send_all(&mut self, bytes: &[u8], store: &mut Store, front: &mut dyn Front, now: Instant) {
        if self.ending != Ending::Open {
            return;
        }
        let Some(stream) = &mut self.tls else {
            let taken = self.send(bytes, store, front, now);
            store.buffers.push(&mut self.backlog, bytes.get(taken..).unwrap_or_default());
            return;
        };
        store.records.clear();
        if stream.send(bytes, &mut store.records, now).is_ok() {
            self.hand_over(store, front, now);
        }
    }

    /// Sends what lies in `store.records`: data, handshake messages, alerts.
    pub(super) fn hand_over(&mut self, store: &mut Store, front: &mut dyn Front, now: Instant) {
        if store.records.is_empty() {
            return;
        }
        let bytes = store.records.as_slice();
        let taken = if self.backlog.is_none() { front.send(self.client, bytes) } else { 0 };
        let rest = bytes.get(taken..).unwrap_or_default();
        store.buffers.push(&mut self.backlog, rest);
        self.note(taken, !rest.is_empty(), now);
        store.records.clear();
    }

    /// Sends what waits. True when nothing waits any more.
    pub(super) fn flush(&mut self, store: &mut Store, front: &mut dyn Front, now: Instant) -> bool {
        if let Some(backlog) = &self.backlog {
            let taken = front.send(self.client, backlog.bytes());
            store.buffers.consume(&mut self.backlog, taken);
            let is_short = self.backlog.is_some();
            self.note(taken, is_short, now);
        }
        if self.backlog.is_none() && self.ending == Ending::Wanted {
            self.ending = Ending::Done;
            front.finish(self.client);
        }
        self.backlog.is_none()
    }

    /// Ends our direction once all is out.
    pub(super) fn finish(&mut self, store: &mut Store, front: &mut dyn Front, now: Instant) {
        if self.ending != Ending::Open {
            return;
        }
        if let Some(stream) = &mut self.tls {
            store.records.clear();
            stream.close(&mut store.records);
            self.hand_over(store, front, now);
        }
        self.ending = Ending::Wanted;
        if self.backlog.is_none() {
            self.flush(store, front, now);
        }
    }

    /// Lets the front go on with input, if it waits.
    pub(super) fn resume(&mut self, front: &mut dyn Front) {
        if self.is_paused {
            self.is_paused = false;
            front.resume(self.client);
        }
    }

    /// Gives back what is held.
    pub(super) fn release(&mut self, buffers: &mut Buffers) {
        buffers.release(&mut self.backlog);
        self.tls = None;
    }

    fn note(&mut self, taken: usize, is_short: bool, now: Instant) {
        match &mut self.pace {
            _ if !is_short => self.pace = None,
            Some(pace) => pace.add(taken),
            // What went before it was short was the connection's room, not the client's doing.
            None => self.pace = Some(Pace::start(now)),
        }
    }
}

impl core::fmt::Debug for Wire {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Wire")
            .field("client", &self.client)
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}
