//! What stands before the workers: SYNs answered with cookies, and segments of no flow dropped, before a frame is
//! copied.
//!
//! Owns: [`Forefront`], what the pipeline asks of it. [`Board`] is where workers agree when a listener may be answered
//! there and when its gate may be shut. Does not own: the program (`pktio::program`), which listeners have a slot
//! (`start::xdp`), when to switch (`pipeline::forefront`).
//! Cost: two calls per flow, a keyed hash and a compare-and-swap each; counts are read ten times a second.

mod board;

use core::net::SocketAddr;

use secbeat_net::flow::{FlowKey, FlowWatch};
use secbeat_pktio::program::{CookieCounts, CookieGate, CookieSlot, GateFlow};

pub use board::Board;

/// What answers and drops before the workers. Shared by all of them; no call blocks or allocates.
pub trait Forefront: FlowWatch {
    /// Starts or stops answering SYNs of a slot with cookies.
    fn set_answering(&self, slot: CookieSlot, on: bool);

    /// Starts or stops dropping segments of a slot that belong to no flow and carry no valid cookie.
    fn set_gate(&self, slot: CookieSlot, on: bool);

    /// What was done for a slot.
    fn counts(&self, slot: CookieSlot) -> CookieCounts;

    /// Flows that found no place in the flow table since the start: everything like them reaches the workers.
    fn overflowed(&self) -> u64;
}

/// The XDP program as a forefront.
#[derive(Clone, Debug)]
pub struct XdpForefront(pub CookieGate);

impl FlowWatch for XdpForefront {
    fn opened(&self, key: &FlowKey) {
        self.0.insert(&gate_flow(key));
    }

    fn freed(&self, key: &FlowKey) {
        self.0.remove(&gate_flow(key));
    }
}

impl Forefront for XdpForefront {
    fn set_answering(&self, slot: CookieSlot, on: bool) {
        self.0.set_answering(slot, on);
    }

    fn set_gate(&self, slot: CookieSlot, on: bool) {
        self.0.set_gate(slot, on);
    }

    fn counts(&self, slot: CookieSlot) -> CookieCounts {
        self.0.counts(slot)
    }

    fn overflowed(&self) -> u64 {
        self.0.overflowed()
    }
}

fn gate_flow(key: &FlowKey) -> GateFlow {
    GateFlow {
        client: SocketAddr::new(key.source.addr, key.source.port),
        service: SocketAddr::new(key.destination.addr, key.destination.port),
    }
}
