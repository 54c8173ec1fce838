//! Datagrams in the world: questions asked on time, answered by origins, and sometimes too long for one packet.

use super::{Event, World};
use crate::appliance::MAC_DOWN;
use crate::client::Promise;
use crate::datagram::{self, Exchange};
use crate::fragment;
use crate::frame::{Datagram, LinkHeader, Packet, Payload, write};

/// Longest IP payload of one packet, bytes; what is longer is cut into fragments by its sender.
const PAYLOAD_BYTES_MAX: usize = 1_400;

impl World {
    pub(super) fn queue_exchanges(&mut self) {
        for index in 0..self.scenario.exchanges.len() {
            let plan = self.scenario.exchanges[index];
            let host = self.scenario.clients.iter().find(|host| host.address == plan.client.ip());
            let source = host.map_or([2; 6], |host| host.mac);
            let vlans = self.scenario.client_vlans.clone();
            let link = LinkHeader { destination: MAC_DOWN, source, vlans };
            self.exchanges.push(Exchange::new(plan, link));
            self.at(plan.start, Event::Ask(index));
        }
    }

    /// The next question of an exchange.
    pub(super) fn ask(&mut self, index: usize) {
        let now = self.now;
        let Some(packet) = self.exchanges[index].ask(now) else { return };
        self.summary.questions += 1;
        self.send_whole(false, &packet);
        if let Some(at) = self.exchanges[index].next_at() {
            self.at(at, Event::Ask(index));
        }
    }

    /// Sends a packet of a host, in fragments when it is too long for one.
    fn send_whole(&mut self, from_origins: bool, packet: &Packet) {
        let (_, body) = write::body(packet);
        if body.len() <= PAYLOAD_BYTES_MAX {
            self.carry_to_node(from_origins, write::write(packet));
            return;
        }
        self.next_fragment_id += 1;
        for piece in fragment::cut(packet, self.next_fragment_id, PAYLOAD_BYTES_MAX) {
            self.carry_to_node(from_origins, write::write(&piece));
        }
    }

    /// An origin answers a question.
    pub(super) fn answer(&mut self, packet: &Packet, question: &Datagram) -> Result<(), String> {
        if crate::attack::Attacker::is_attack(question) {
            return Ok(());
        }
        let answer = datagram::answer(question)?;
        let packet = Packet {
            link: packet.link.reversed(),
            source: packet.destination,
            destination: packet.source,
            hop_limit: 64,
            payload: Payload::Udp(answer),
        };
        self.send_whole(true, &packet);
        Ok(())
    }

    /// A client takes an answer.
    pub(super) fn take_answer(&mut self, packet: &Packet, datagram: &Datagram) -> Result<(), String> {
        let mut exchanges = self.exchanges.iter_mut();
        let exchange = exchanges.find(|exchange| exchange.plan.client == packet.to());
        match exchange {
            Some(exchange) if exchange.plan.service == packet.from() => {
                self.summary.answers += 1;
                exchange.handle(datagram)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn are_exchanges_over(&self) -> bool {
        let settled = core::time::Duration::from_secs(1);
        self.exchanges.iter().all(|exchange| {
            let plan = &exchange.plan;
            exchange.next_at().is_none() && self.now > plan.start + plan.interval * plan.count + settled
        })
    }

    /// Promises nothing more to the exchanges of one client, or of all.
    pub(super) fn weaken_exchanges(&mut self, client: Option<core::net::IpAddr>) {
        let plans = self.exchanges.iter_mut().map(|exchange| &mut exchange.plan);
        for plan in plans.filter(|plan| client.is_none_or(|client| client == plan.client.ip())) {
            plan.promise = Promise::Prefix;
        }
    }

    pub(super) fn check_exchanges(&self) -> Result<(), String> {
        for exchange in &self.exchanges {
            if let Some(text) = exchange.broken_promise(self.scenario.heals_at) {
                let plan = &exchange.plan;
                return Err(format!("exchange {} ({} to {}) {text}", plan.id, plan.client, plan.service));
            }
        }
        Ok(())
    }
}
