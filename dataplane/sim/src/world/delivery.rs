//! Frames between hosts and node, in both directions, and the worker's turn between them.
//!
//! Every frame the node sends is read by other code than wrote it, and must be addressed to someone who exists,
//! by the right Ethernet address, VLAN and port.

use super::{Event, IDLE_TURN, TURN_US, World};
use crate::appliance::{Appliance, MAC_DOWN, MAC_UP};
use crate::attack::Attacker;
use crate::client::Session;
use crate::forefront;
use crate::frame::{self, Packet, Payload, Segment, flag, write};
use core::time::Duration;

impl World {
    /// Puts a frame of a host on the link to the node.
    pub(super) fn carry_to_node(&mut self, from_origins: bool, frame: Vec<u8>) {
        let wire = if from_origins { &mut self.wires.from_origins } else { &mut self.wires.from_clients };
        for (at, frame) in wire.carry(frame, self.now) {
            self.at(at, Event::ToNode { from_origins, frame });
        }
    }

    /// A frame arrives at the node's port; the card's hash decides who gets it.
    pub(super) fn deliver_to_node(&mut self, from_origins: bool, frame: &[u8]) -> Result<(), String> {
        self.summary.note_frame(self.now, 0, frame);
        self.show("to node", frame);
        if !from_origins || self.scenario.is_one_armed {
            let source = frame::read(frame).ok().map(|packet| packet.source);
            match self.node.judge_in_front(frame, source, self.now) {
                forefront::Fate::Worker => {}
                forefront::Fate::Answered(answer) => {
                    return self.check_and_carry(0, answer);
                }
                forefront::Fate::Dropped => return Ok(()),
            }
        }
        let worker = self.worker_for(from_origins, frame);
        let port = u8::from(from_origins && !self.scenario.is_one_armed);
        if !self.node.inject(worker, port, frame) {
            self.summary.lost_at_node += 1;
        }
        let turn_at = self.now + Duration::from_micros(self.random.between(TURN_US.0, TURN_US.1));
        self.turn_by(worker, turn_at);
        Ok(())
    }

    /// Receive-side scaling: a hash of addresses and ports, of addresses alone for what has no ports.
    fn worker_for(&self, from_origins: bool, frame: &[u8]) -> usize {
        let Ok(packet) = frame::read(frame) else { return 0 };
        let (from, to) = (packet.from(), packet.to());
        if from_origins
            && self.scenario.is_reply_steered
            && let Some(owner) = self.node.owner_of_port(to.port())
        {
            return owner;
        }
        let text = format!("{from} {to}");
        let hash = crate::random::Random::new(self.scenario.seed, &text).bits();
        (hash % self.node.workers() as u64) as usize
    }

    fn turn_by(&mut self, worker: usize, at: secbeat_net::time::Instant) {
        if self.next_turn[worker] <= self.now || at < self.next_turn[worker] {
            self.next_turn[worker] = at;
            self.at(at, Event::Turn(worker));
        }
    }

    /// One turn of a worker and the way of everything it sent.
    pub(super) fn turn(&mut self, worker: usize) -> Result<(), String> {
        if self.next_turn[worker] > self.now {
            // An earlier turn took this one's work.
            return Ok(());
        }
        let report = self.node.turn(worker, self.now)?;
        self.summary.turns += 1;
        for (port, frame) in self.node.sent(worker) {
            self.check_and_carry(port, frame)?;
        }
        self.node.drain_events();
        self.check_flows()?;
        let soon = self.now + Duration::from_micros(TURN_US.1);
        let idle = self.now + IDLE_TURN;
        let timer = report.next_timer.map_or(idle, |at| at.max(soon).min(idle));
        let next = if self.node.has_work(worker) || report.is_busy() { soon } else { timer };
        self.next_turn[worker] = next;
        self.at(next, Event::Turn(worker));
        for other in (0..self.node.workers()).filter(|&other| other != worker) {
            if self.node.has_work(other) {
                self.turn_by(other, soon);
            }
        }
        Ok(())
    }

    /// No flow without a client that proved its address.
    fn check_flows(&self) -> Result<(), String> {
        let is_stateless = !self.scenario.mode.passes_through();
        let flows = u64::from(self.node.flows());
        if is_stateless && flows > self.summary.sessions {
            return Err(format!("{flows} flows, but only {} sessions were started", self.summary.sessions));
        }
        Ok(())
    }

    /// Reads a frame that the node sent, and puts it on the link it belongs to.
    fn check_and_carry(&mut self, port: u8, frame: Vec<u8>) -> Result<(), String> {
        self.summary.note_frame(self.now, 1, &frame);
        self.show("from node", &frame);
        let packet = frame::read(&frame).map_err(|error| format!("the node sent {error:?}: {frame:02x?}"))?;
        let towards_origins = self.check_addressing(port, &packet)?;
        let wires = &mut self.wires;
        let wire = if towards_origins { &mut wires.to_origins } else { &mut wires.to_clients };
        for (at, frame) in wire.carry(frame, self.now) {
            self.at(at, Event::ToHosts { towards_origins, frame });
        }
        Ok(())
    }

    /// Whether the packet goes to origins; an error when it should not have been sent like this.
    fn check_addressing(&mut self, port: u8, packet: &Packet) -> Result<bool, String> {
        let scenario = &self.scenario;
        let destination = packet.destination;
        if let Some((index, mac)) = self.origin_at(packet) {
            let expected_port = u8::from(!scenario.is_one_armed);
            let source = if scenario.is_one_armed { MAC_DOWN } else { MAC_UP };
            let link = &packet.link;
            let is_right =
                link.destination == mac && link.source == source && link.vlans == scenario.origin_vlans;
            if !is_right || port != expected_port {
                return Err(format!("a packet for origin {index} left port {port} as {link:?}"));
            }
            let is_tcp = matches!(packet.payload, Payload::Tcp(_));
            if is_tcp && Attacker::is_forged(packet.source) && !scenario.mode.passes_through() {
                return Err(format!("an unvalidated source reached origin {index}: {packet:?}"));
            }
            return Ok(true);
        }
        let client = scenario.clients.iter().find(|host| host.address == destination);
        if client.is_none() && !Attacker::is_forged(destination) && destination != packet.source {
            // Noise may come from anywhere; an answer to it is an answer to its forged source.
            self.summary.answers_to_noise += 1;
        }
        if port != 0 || packet.link.source != MAC_DOWN || packet.link.vlans != scenario.client_vlans {
            return Err(format!("a packet for {destination} left port {port} as {:?}", packet.link));
        }
        Ok(false)
    }

    /// A frame reaches a host, if it is for one and readable.
    pub(super) fn deliver_to_hosts(&mut self, towards_origins: bool, frame: &[u8]) -> Result<(), String> {
        // A host drops what the link has broken.
        let Ok(packet) = frame::read(frame) else { return Ok(()) };
        let Some(packet) = self.reassembly.handle(packet) else { return Ok(()) };
        match (&packet.payload, towards_origins) {
            (Payload::Tcp(segment), true) => self.deliver_to_origin(&packet, segment),
            (Payload::Tcp(segment), false) => self.deliver_to_client(&packet, segment),
            (Payload::Udp(datagram), true) => self.answer(&packet, datagram),
            (Payload::Udp(datagram), false) => self.take_answer(&packet, datagram),
            _ => Ok(()),
        }
    }

    fn deliver_to_origin(&mut self, packet: &Packet, segment: &Segment) -> Result<(), String> {
        let Some(index) = Appliance::is_towards_origin(packet, &self.scenario) else { return Ok(()) };
        if packet.to() != self.origins[index].address {
            return Err(format!("a segment for {}, where nothing listens", packet.to()));
        }
        self.origins[index].handle(packet, segment, self.now);
        self.after_origin(index, packet.from())
    }

    fn deliver_to_client(&mut self, packet: &Packet, segment: &Segment) -> Result<(), String> {
        let index = self.by_client.get(&packet.to()).copied();
        let session = index.and_then(|index| self.sessions[index].as_mut());
        match (index, session.filter(|session| !session.endpoint().is_over())) {
            (Some(index), Some(session)) if is_for(session, packet) => {
                session.handle(segment, self.now);
                self.after_session(index)
            }
            _ => {
                self.refuse_as_client(packet, segment);
                Ok(())
            }
        }
    }

    /// A host answers a segment that it does not expect with RST: SYN-ACKs for SYNs that others forged, for
    /// example. Addresses that only attackers use have no host.
    fn refuse_as_client(&mut self, packet: &Packet, segment: &Segment) {
        let is_host = self.scenario.clients.iter().any(|host| host.address == packet.destination);
        if !is_host || segment.has(flag::RST) {
            return;
        }
        let reset = segment.reset();
        let answer = Packet {
            link: packet.link.reversed(),
            source: packet.destination,
            destination: packet.source,
            hop_limit: 64,
            payload: Payload::Tcp(reset),
        };
        self.carry_to_node(false, write::write(&answer));
    }

    fn show(&self, way: &str, frame: &[u8]) {
        if self.trace.is_some() {
            let micros = self.now.as_nanos() / 1_000;
            println!(
                "{:>6}.{:03} ms {way:>9} {}",
                micros / 1_000,
                micros % 1_000,
                super::report::line(frame)
            );
        }
    }
}

fn is_for(session: &Session, packet: &Packet) -> bool {
    session.plan.service == packet.from()
}
