//! ICMP errors about segments that we sent (RFC 5927, 1191, 8201).
//!
//! Owns: which of them are believed. An error must quote a number that is in flight, which a stranger would have to
//! guess; even so, none of them ends a connection (RFC 5927 §6: what was "hard" in RFC 1122 is soft once ESTABLISHED;
//! retransmission finds a peer that is really gone). "Too big" lowers the path MTU, never below what RFC 5927 §7
//! allows. Does not own: what a smaller MTU does to what is in flight (`send`, `pmtu`).

use super::seq::is_before;
use super::{Stack, Verdict};
use crate::flow::Protocol;
use crate::icmp::mtu_for;
use crate::packet::PacketBuf;
use crate::time::Instant;
use crate::verdict::DropReason;
use crate::wire::Headers;
use crate::wire::icmp::{Error, ErrorKind};

impl Stack {
    pub(super) fn on_icmp(&mut self, packet: &PacketBuf<'_>, headers: &Headers, now: Instant) -> Verdict {
        let error = match Error::parse(packet.bytes(), headers) {
            Ok(Some(error)) if error.inner.flow.protocol == Protocol::Tcp => error,
            Ok(_) => return Verdict::Miss,
            Err(reason) => return Verdict::Drop(reason),
        };
        // The quoted segment went to the client, whose own segments have the reversed key.
        let key = error.inner.flow.reversed();
        let hash = self.hash(&key);
        let Some(slot) = self.table.find(&key, hash) else { return Verdict::Miss };
        let Some(connection) = self.table.get_mut(slot) else { return Verdict::Miss };
        let seq = error.inner.seq;
        let sender = &mut connection.sender;
        if is_before(seq, sender.unacked()) || !is_before(seq, sender.next_seq()) {
            self.counters.icmp_unmatched += 1;
            return Verdict::Drop(DropReason::IcmpUnmatched);
        }
        let ErrorKind::TooBig { mtu } = error.kind else {
            self.counters.icmp_soft += 1;
            return Verdict::Consumed;
        };
        let client = key.source.addr;
        let mtu = mtu_for(mtu, client, client).and_then(|mtu| u16::try_from(mtu).ok());
        let is_believed = mtu.is_some_and(|mtu| sender.handle_too_big(&mut self.shared, seq, mtu, now));
        if !is_believed {
            self.counters.icmp_unmatched += 1;
            return Verdict::Drop(DropReason::IcmpUnmatched);
        }
        self.counters.icmp_too_big += 1;
        self.settle(slot, now);
        Verdict::Consumed
    }
}
