//! The record of one UDP flow.

use super::{ROUNDS_VALIDATED, UdpOpenRequest, UdpProxyHeader};
use crate::flow::FlowKey;
use crate::flow_table::{Class, Record, Side};
use crate::link::Link;
use crate::ports::PortLease;
use crate::proxy_protocol;
use crate::splice::{BackendId, Traffic};
use crate::time::Instant;

/// One flow.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) client_key: FlowKey,
    pub(super) backend_key: FlowKey,
    pub(super) client_link: Link,
    pub(super) backend_id: BackendId,
    /// The port of our slice; `None` in transparent mode.
    pub(super) lease: Option<PortLease>,
    /// Whether datagrams to the backend still get the PROXY header.
    has_header: bool,
    /// How often the client spoke again after an answer.
    rounds: u8,
    /// Who spoke last.
    last: Side,
    pub(super) tag: u32,
    pub(super) to_backend: Traffic,
    pub(super) to_client: Traffic,
    pub(super) opened: Instant,
    pub(super) active: Instant,
}

impl Record for Flow {
    fn key(&self, side: Side) -> &FlowKey {
        match side {
            Side::Client => &self.client_key,
            Side::Backend => &self.backend_key,
        }
    }

    fn set_backend_key(&mut self, key: FlowKey) {
        self.backend_key = key;
    }

    fn class(&self) -> Class {
        if self.to_client.packets == 0 { Class::HalfOpen } else { Class::Established }
    }
}

impl Flow {
    pub(super) fn new(
        request: &UdpOpenRequest,
        backend_key: FlowKey,
        lease: Option<PortLease>,
        has_header: bool,
        now: Instant,
    ) -> Self {
        Self {
            client_key: request.key,
            backend_key,
            client_link: request.client_link,
            backend_id: request.backend,
            lease,
            has_header,
            rounds: 0,
            last: Side::Client,
            tag: request.tag,
            to_backend: Traffic::default(),
            to_client: Traffic::default(),
            opened: now,
            active: now,
        }
    }

    /// Whether the backend may send `bytes` more to a client that perhaps never asked.
    pub(super) fn may_answer(&self, bytes: u64, factor: u32) -> bool {
        factor == 0
            || self.rounds >= ROUNDS_VALIDATED
            || self.to_client.bytes + bytes <= self.to_backend.bytes.saturating_mul(u64::from(factor))
    }

    /// Notes a datagram that was passed on.
    pub(super) fn remember(&mut self, side: Side, bytes: u64, header: UdpProxyHeader, now: Instant) {
        let traffic = match side {
            Side::Client => &mut self.to_backend,
            Side::Backend => &mut self.to_client,
        };
        traffic.bytes += bytes;
        traffic.packets += 1;
        if side == Side::Client && self.last == Side::Backend {
            self.rounds = self.rounds.saturating_add(1);
        }
        if side == Side::Backend && header == UdpProxyHeader::UntilAnswered {
            self.has_header = false;
        }
        self.last = side;
        self.active = now;
    }

    /// Bytes of PROXY header that the next datagram to the backend gets.
    pub(super) fn header_len(&self) -> usize {
        if self.has_header { proxy_protocol::header_len(self.client_key.source.addr) } else { 0 }
    }
}
