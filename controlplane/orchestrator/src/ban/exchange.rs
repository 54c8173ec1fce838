//! The ban list and the nodes: both sides come to hold the same.
//!
//! ```text
//!  Hello with a digest --greet--> equal: nothing. Different: our list in parts --> the node answers with what we lack
//!  BanDelta of a node --receive--> merged, kept, sent to the other nodes
//! ```
//!
//! Owns: what is sent and what becomes of what comes. Does not own: queues and streams (`session`). Merging knows no
//! order and no repetition: a stream that breaks in the middle costs another exchange, nothing else.

use ipnet::IpNet;
use prost::Message;
use secbeat_config::ban::{Entry, SKEW_MS_MAX};
use secbeat_proto::v1;
use uuid::Uuid;

use super::{Bans, DECIDED_PER_LOCK};
use crate::failure::Failure;
use crate::orchestrator::now_ms;
use crate::session::Sessions;

/// Entries of one part of a whole list.
pub const PART_ENTRIES_MAX: usize = 8_000;

/// Bytes of one part, below what a gRPC message may have by default (4 MB).
const PART_BYTES_MAX: usize = 2 << 20;

/// Reason of a lift that the allowlist demands.
pub(super) fn exempt_reason(list: &impl core::fmt::Display, net: IpNet) -> String {
    format!("{net} is allowlisted by {list}")
}

impl Bans {
    /// A node's stream begins: nothing is known to be in force there until it says so. `true`: it holds another list;
    /// send it ours, from [`Self::part`].
    pub fn greet(&self, node: Uuid, digest: &[u8]) -> bool {
        self.hits().reset(node);
        digest != self.digest()
    }

    /// A node's stream has ended: it is no longer among those that others wait for.
    pub fn farewell(&self, node: Uuid) {
        self.hits().reset(node);
        self.inner.reports.send_modify(|reports| *reports += 1);
    }

    /// A part of the whole list: the entries after `last`, and where the next part begins, if there is one. Made when
    /// it is asked for, so that a slow node costs one part of memory.
    pub fn part(&self, last: Option<IpNet>) -> (v1::BanDelta, Option<IpNet>) {
        let mut part = v1::BanDelta { is_whole: true, digest: self.digest().into(), ..Default::default() };
        let (mut bytes, mut next) = (0, last);
        loop {
            let chunk: Vec<Entry> = self.replica().entries_after(next).take(DECIDED_PER_LOCK).collect();
            let is_last = chunk.len() < DECIDED_PER_LOCK;
            next = chunk.last().map_or(next, |entry| Some(entry.prefix));
            for entry in chunk.into_iter().map(v1::BanEntry::from) {
                bytes += entry.encoded_len() + 4;
                part.entries.push(entry);
            }
            if is_last {
                return (part, None);
            }
            if part.entries.len() >= PART_ENTRIES_MAX || bytes >= PART_BYTES_MAX {
                part.has_more = true;
                return (part, next);
            }
        }
    }

    /// Takes a node's changes, keeps them and sends them to the others. `true`: the node sent all it has and lacks
    /// something; send it ours.
    ///
    /// # Errors
    /// When the store cannot write: the entries hold here, but not over a restart, and the node still has them.
    pub async fn receive(
        &self,
        sessions: &Sessions,
        node: Uuid,
        delta: v1::BanDelta,
    ) -> Result<bool, Failure> {
        let name = node.to_string();
        let mut entries = Vec::with_capacity(delta.entries.len());
        for message in delta.entries {
            match Entry::try_from(message) {
                Ok(entry) => entries.push(entry),
                Err(error) => {
                    self.count_malformed();
                    tracing::warn!(node = name, %error, "an entry of a node's ban list is refused");
                }
            }
        }
        let (mut theirs, mut decided, mut writes) = (Vec::new(), Vec::new(), Vec::new());
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let mut chunk: Vec<Entry> = entries.by_ref().take(DECIDED_PER_LOCK).collect();
            let now_ms = now_ms();
            let (changed, written) = self.change(&mut |replica| {
                let ahead = replica.losses().ahead;
                let mut changed = replica.merge(core::mem::take(&mut chunk), now_ms);
                if replica.losses().ahead > ahead {
                    tracing::warn!(node = name, skew_ms_max = SKEW_MS_MAX, "a node's clock is far ahead");
                }
                let exempt = self.exempt();
                for entry in changed.clone().iter().filter(|entry| entry.is_active(now_ms)) {
                    if let Some((net, list)) = exempt.covering(&entry.prefix) {
                        changed.extend(replica.lift(entry.prefix, "", &exempt_reason(list, net), now_ms));
                    }
                }
                changed
            });
            for entry in changed {
                if entry.stamp.writer == self.writer() { decided.push(entry) } else { theirs.push(entry) }
            }
            writes.push(written);
        }
        // Sent at once: a fleet is protected whether or not this orchestrator's disk is full.
        self.publish(sessions, theirs, Some(&name));
        self.publish(sessions, decided, None);
        for written in writes {
            written.await?;
        }
        Ok(delta.is_whole && !delta.has_more && delta.digest != self.digest())
    }

    /// Takes a node's report of what bans dropped.
    pub fn report(&self, node: Uuid, hits: &[v1::BanHits]) {
        if hits.is_empty() {
            return;
        }
        for chunk in hits.chunks(DECIDED_PER_LOCK) {
            let mut table = self.hits();
            for hit in chunk {
                if let Ok(prefix) = secbeat_config::ban::wire::parse_prefix(&hit.prefix) {
                    table.report(node, prefix, hit.packets, hit.is_enforced);
                }
            }
        }
        self.inner.reports.send_modify(|reports| *reports += 1);
    }
}
