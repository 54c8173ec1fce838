//! A client and a backend that talk through a worker, step by step.

#![allow(dead_code, reason = "shared by the tests and by an example; neither uses all of it")]

use core::net::SocketAddr;

use secbeat_net::wire::tcp::Flags;

use super::packet::Segment;
use super::world::{VIP, World, at};

pub(crate) const CLIENT_ISN: u32 = 1_000;
pub(crate) const BACKEND_ISN: u32 = 777_000;

/// One connection as both ends know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk {
    pub(crate) client: SocketAddr,
    pub(crate) vip: SocketAddr,
    /// Next sequence number of the client, and of the node towards it.
    pub(crate) client_seq: u32,
    pub(crate) client_ack: u32,
    /// TSval of the node's SYN-ACK.
    pub(crate) echo: u32,
    /// The node's address and the backend's on the other side.
    pub(crate) snat: SocketAddr,
    pub(crate) backend: SocketAddr,
    /// Next sequence number of the backend, and of the node towards it.
    pub(crate) backend_seq: u32,
    pub(crate) backend_ack: u32,
}

impl World {
    /// A client's SYN with the usual options; the answer.
    pub(crate) fn syn(&mut self, client: SocketAddr) -> Option<Segment> {
        let syn = Segment::new(client, at(VIP, 80), Flags::SYN, CLIENT_ISN, 0).with_syn_options(5);
        // SYN-ACKs that are sent again to others may be among them.
        let mut answers = self.client(&syn).into_iter().filter(|answer| answer.destination == client);
        let answer = answers.next();
        assert_eq!(answers.next(), None, "answered twice");
        answer
    }

    /// The ACK that completes a handshake.
    pub(crate) fn ack_of(&self, answer: &Segment) -> Segment {
        let echo = answer.timestamps.expect("timestamps").value;
        let ack = answer.seq.wrapping_add(1);
        Segment::new(answer.destination, answer.source, Flags::ACK, CLIENT_ISN + 1, ack)
            .with_timestamps(6, echo)
    }

    /// SYN, SYN-ACK, ACK; the SYN that the worker then sends to a backend.
    pub(crate) fn open(&mut self, client: SocketAddr) -> Option<(Segment, Segment)> {
        self.to_backends();
        let answer = self.syn(client)?;
        let ack = self.ack_of(&answer);
        self.client(&ack);
        let syn = self.to_backends().pop()?;
        assert_eq!(syn.flags, Flags::SYN, "{syn:?}");
        Some((answer, syn))
    }

    /// A whole handshake with both sides.
    pub(crate) fn establish(&mut self, client: SocketAddr) -> Option<Talk> {
        let (answer, syn) = self.open(client)?;
        Some(self.accept(&answer, &syn))
    }

    /// The backend accepts `syn`.
    pub(crate) fn accept(&mut self, answer: &Segment, syn: &Segment) -> Talk {
        let accepted = Segment::new(syn.destination, syn.source, Flags::SYN_ACK, BACKEND_ISN, syn.seq + 1);
        let mut accepted = accepted.with_syn_options(9);
        accepted.timestamps =
            syn.timestamps.map(|t| secbeat_net::wire::tcp::Timestamps { value: 9, echo: t.value });
        let to_client = self.backend(&accepted);
        assert!(to_client.iter().all(|segment| !segment.flags.contains(Flags::RST)), "{to_client:?}");
        Talk {
            client: answer.destination,
            vip: answer.source,
            client_seq: CLIENT_ISN + 1,
            client_ack: answer.seq.wrapping_add(1),
            echo: answer.timestamps.map_or(0, |timestamps| timestamps.value),
            snat: syn.source,
            backend: syn.destination,
            backend_seq: BACKEND_ISN + 1,
            backend_ack: syn.seq.wrapping_add(1),
        }
    }

    /// The client says something; what the backend hears.
    pub(crate) fn say(&mut self, talk: &mut Talk, payload: &[u8]) -> Vec<Segment> {
        let flags = Flags::ACK | Flags::PSH;
        let segment = Segment::new(talk.client, talk.vip, flags, talk.client_seq, talk.client_ack)
            .with_timestamps(7, talk.echo)
            .with_payload(payload);
        self.client(&segment);
        talk.client_seq = talk.client_seq.wrapping_add(payload.len() as u32);
        self.to_backends()
    }

    /// The backend's answer, arriving at `worker`; what the client hears.
    pub(crate) fn answer_at(&mut self, worker: usize, talk: &mut Talk, payload: &[u8]) -> Vec<Segment> {
        let flags = Flags::ACK | Flags::PSH;
        let segment = Segment::new(talk.backend, talk.snat, flags, talk.backend_seq, talk.backend_ack)
            .with_timestamps(10, 7)
            .with_payload(payload);
        talk.backend_seq = talk.backend_seq.wrapping_add(payload.len() as u32);
        self.backend_at(worker, &segment)
    }
}
