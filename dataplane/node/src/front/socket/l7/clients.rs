//! The clients of one worker's `l7` listeners, as sessions see them.
//!
//! Owns: the table, the queue of those with something to do, lingering. Does not own: sessions, admission, the loop
//! (`l7`). A session's call never leads back into a session: what follows from it waits in the queue.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::net::Shutdown;

use secbeat_net::time::Instant;

use super::client::{Client, Stage};
use crate::front::socket::connection::reset;
use crate::front::{ClientId, Front};
use crate::slab::{Key, Slab};

/// How long a client may go on sending after our last byte. nginx waits 5 s without a byte, 30 s in all; an answer
/// and its acknowledgement need a round trip or two.
const LINGER_TIME: Duration = Duration::from_secs(5);
/// Bytes of it that are read and dropped; beyond, the connection is reset. More than a client has under way in a
/// usual window.
const LINGER_BYTES_MAX: usize = 1 << 20;
/// What a socket that has refused nothing is said to take: a kernel's usual send buffer starts at 16 KiB and grows.
const ROOM_BYTES: usize = 64 << 10;
/// Buffers of bytes not taken that are kept for the next time.
const SPARE_BUFFERS_MAX: usize = 64;
/// Larger ones are released.
const SPARE_BUFFER_BYTES_MAX: usize = 64 << 10;

/// The table.
#[derive(Debug)]
pub(super) struct Clients {
    table: Slab<Client>,
    /// Those with something to do.
    queue: VecDeque<Key>,
    /// Those that linger, the first to be given up first.
    lingering: VecDeque<(Instant, Key)>,
    spare: Vec<Vec<u8>>,
    /// Bytes that sessions did not take, of all clients.
    kept_bytes: usize,
    /// Sources of connections that left the table since the worker last looked.
    pub(super) gone: Vec<IpAddr>,
    pub(super) bytes_out: u64,
    pub(super) now: Instant,
}

impl Clients {
    pub(super) fn new(max: u32, now: Instant) -> Self {
        Self {
            table: Slab::new(max),
            queue: VecDeque::new(),
            lingering: VecDeque::new(),
            spare: Vec::new(),
            kept_bytes: 0,
            gone: Vec::new(),
            bytes_out: 0,
            now,
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.table.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.table.is_full()
    }

    /// The key that the next [`Clients::insert_with`] gives.
    pub(super) fn next_key(&self) -> Option<Key> {
        self.table.next_key()
    }

    pub(super) fn insert_with(&mut self, make: impl FnOnce(Key) -> Client) -> Option<Key> {
        self.table.insert_with(make)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Client> {
        self.table.get_mut(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Client)> {
        self.table.iter()
    }

    /// Whether somebody waits in the queue.
    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn queue_len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn next_queued(&mut self) -> Option<Key> {
        let key = self.queue.pop_front()?;
        if let Some(client) = self.table.get_mut(key) {
            client.is_queued = false;
        }
        Some(key)
    }

    pub(super) fn enqueue(&mut self, key: Key) {
        if let Some(client) = self.table.get_mut(key)
            && !client.is_queued
        {
            client.is_queued = true;
            self.queue.push_back(key);
        }
    }

    /// Takes a connection out; its socket closes.
    pub(super) fn remove(&mut self, key: Key) {
        if let Some(client) = self.table.remove(key) {
            self.gone.push(client.source.ip());
            self.kept_bytes = self.kept_bytes.saturating_sub(client.kept.len());
            self.give(client.kept);
        }
    }

    /// The same with RST.
    pub(super) fn cut(&mut self, key: Key) {
        if let Some(client) = self.table.get_mut(key) {
            reset(&client.stream);
        }
        self.remove(key);
    }

    /// Our last byte is sent: FIN, then the client's rest is dropped for a while.
    fn linger(&mut self, key: Key) {
        let now = self.now;
        let Some(client) = self.table.get_mut(key) else { return };
        // Nothing more can come, so nothing can be answered with RST.
        if client.is_ended || client.is_broken || client.stream.shutdown(Shutdown::Write).is_err() {
            self.remove(key);
            return;
        }
        let until = now + LINGER_TIME;
        client.stage = Stage::Lingering { until, bytes: LINGER_BYTES_MAX };
        let is_readable = client.is_readable;
        let kept = self.take_kept(key);
        self.give(kept);
        self.lingering.push_back((until, key));
        if is_readable {
            self.enqueue(key);
        }
    }

    /// Gives up those that lingered long enough.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((until, key)) = self.lingering.front().copied() {
            let is_gone = self.table.get_mut(key).is_none();
            if until > now && !is_gone {
                return;
            }
            self.lingering.pop_front();
            self.remove(key);
        }
    }

    /// When [`Clients::expire`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.lingering.front().map(|(until, _)| *until)
    }

    /// A session was given bytes and left `rest`: that is kept, or reading goes on.
    pub(super) fn after_data(&mut self, key: Key, rest: &[u8]) {
        let Some(client) = self.table.get_mut(key) else { return };
        if !matches!(client.stage, Stage::Open(_)) {
            return;
        }
        // It was paused before the call; `resume` within it has ended that.
        let has_resumed = !client.is_paused;
        if rest.is_empty() {
            client.is_paused = false;
            if client.is_readable {
                self.enqueue(key);
            }
        } else {
            self.keep(key, rest);
            if has_resumed {
                self.enqueue(key);
            }
        }
    }

    /// Keeps what a session did not take.
    fn keep(&mut self, key: Key, bytes: &[u8]) {
        let mut kept = self.spare.pop().unwrap_or_default();
        kept.extend_from_slice(bytes);
        if let Some(client) = self.table.get_mut(key) {
            client.is_streaming = false;
            self.kept_bytes += kept.len();
            client.kept = kept;
        }
    }

    /// Takes out what was kept for a client.
    pub(super) fn take_kept(&mut self, key: Key) -> Vec<u8> {
        let Some(client) = self.table.get_mut(key) else { return Vec::new() };
        let kept = core::mem::take(&mut client.kept);
        self.kept_bytes = self.kept_bytes.saturating_sub(kept.len());
        kept
    }

    /// Bytes kept for all clients.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Takes a buffer back.
    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        if (1..=SPARE_BUFFER_BYTES_MAX).contains(&buffer.capacity()) && self.spare.len() < SPARE_BUFFERS_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

fn key(client: ClientId) -> Key {
    Key::from_bits(client.0 as usize)
}

impl Front for Clients {
    fn room(&self, client: ClientId) -> usize {
        match self.table.get(key(client)) {
            Some(client) if client.is_writable && !client.is_broken => ROOM_BYTES,
            _ => 0,
        }
    }

    fn send(&mut self, client: ClientId, bytes: &[u8]) -> usize {
        let key = key(client);
        let Some(client) = self.table.get_mut(key) else { return 0 };
        let sent = client.send(bytes);
        self.bytes_out += sent as u64;
        // Interrupted, or broken: both are looked at in the queue.
        if client.is_broken || client.is_writable && client.owes_writable {
            self.enqueue(key);
        }
        sent
    }

    fn finish(&mut self, client: ClientId) {
        let key = key(client);
        let Some(client) = self.table.get_mut(key) else { return };
        if client.stream.shutdown(Shutdown::Write).is_err() {
            client.is_broken = true;
            self.enqueue(key);
        }
    }

    fn close(&mut self, client: ClientId) {
        self.linger(key(client));
    }

    fn abort(&mut self, client: ClientId) {
        self.cut(key(client));
    }

    fn resume(&mut self, client: ClientId) {
        let key = key(client);
        if let Some(client) = self.table.get_mut(key)
            && client.is_paused
        {
            client.is_paused = false;
            self.enqueue(key);
        }
    }
}
