//! Datagram clients: numbered questions over UDP, some too long for one packet, and the origin that answers them.
//!
//! Owns: one exchange from the client's side, what the origin makes of a question, what was promised. Does not own:
//! the network. UDP may lose, double and reorder; it may not change, mix up or invent.

use crate::client::Promise;
use crate::frame::{Datagram, LinkHeader, Packet, Payload};
use crate::random::pattern;
use core::net::SocketAddr;
use core::time::Duration;
use secbeat_net::time::Instant;
use std::collections::BTreeMap;

/// Bytes in front of a question: exchange and number.
const HEADER_BYTES: usize = 12;

/// An exchange to be.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Its number; the seed of its bytes.
    pub id: u64,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The service it asks.
    pub service: SocketAddr,
    /// Questions.
    pub count: u32,
    /// Bytes of each, its header apart.
    pub len: u16,
    /// When the first is asked.
    pub start: Instant,
    /// Time between two.
    pub interval: Duration,
    /// `Served`: what is asked over a good network is answered. `Refused`: nothing is.
    pub promise: Promise,
}

/// A running exchange.
#[derive(Debug)]
pub struct Exchange {
    /// What was planned.
    pub plan: Plan,
    /// How frames of this client begin.
    pub link: LinkHeader,
    /// Per question asked: when, and whether it was answered.
    asked: BTreeMap<u32, (Instant, bool)>,
}

impl Exchange {
    /// Starts it; nothing is asked yet.
    pub fn new(plan: Plan, link: LinkHeader) -> Self {
        Self { plan, link, asked: BTreeMap::new() }
    }

    /// The next question, until all were asked.
    pub fn ask(&mut self, now: Instant) -> Option<Packet> {
        let number = self.asked.len() as u32;
        if number == self.plan.count {
            return None;
        }
        self.asked.insert(number, (now, false));
        let mut data = Vec::with_capacity(HEADER_BYTES + usize::from(self.plan.len));
        data.extend(self.plan.id.to_be_bytes());
        data.extend(number.to_be_bytes());
        data.extend((0..u64::from(self.plan.len)).map(|offset| pattern(self.plan.id, offset)));
        Some(Packet {
            link: self.link.clone(),
            source: self.plan.client.ip(),
            destination: self.plan.service.ip(),
            hop_limit: 61,
            payload: Payload::Udp(Datagram {
                source_port: self.plan.client.port(),
                destination_port: self.plan.service.port(),
                data,
            }),
        })
    }

    /// When the next question is due; `None` when all were asked.
    pub fn next_at(&self) -> Option<Instant> {
        let number = self.asked.len() as u32;
        (number < self.plan.count).then(|| self.plan.start + self.plan.interval * number)
    }

    /// Takes an answer.
    ///
    /// # Errors
    /// When it answers nothing that was asked.
    pub fn handle(&mut self, datagram: &Datagram) -> Result<(), String> {
        let (id, number) = read(datagram, |id, offset| pattern(!id, offset))?;
        let asked = self.asked.get_mut(&number).filter(|_| id == self.plan.id);
        let Some((_, is_answered)) = asked else {
            return Err(format!(
                "an answer to question {number} of exchange {id}, which was never asked here"
            ));
        };
        *is_answered = true;
        Ok(())
    }

    /// What is wrong at the end, when links were good from `heals_at` on.
    pub fn broken_promise(&self, heals_at: Instant) -> Option<String> {
        let answered = self.asked.values().filter(|(_, is_answered)| *is_answered).count();
        match self.plan.promise {
            Promise::Served | Promise::Whole => {
                let mut late =
                    self.asked.iter().filter(|(_, (at, is_answered))| *at >= heals_at && !is_answered);
                late.next()
                    .map(|(number, _)| format!("question {number} over a good network was not answered"))
            }
            Promise::Refused => (answered > 0).then(|| format!("was to be refused: {answered} answers")),
            Promise::Prefix => None,
        }
    }
}

/// What the origin answers.
///
/// # Errors
/// When the question is not as it was asked.
pub fn answer(question: &Datagram) -> Result<Datagram, String> {
    let (id, number) = read(question, pattern)?;
    let mut data = Vec::with_capacity(question.data.len());
    data.extend(id.to_be_bytes());
    data.extend(number.to_be_bytes());
    let len = (question.data.len() - HEADER_BYTES) as u64;
    data.extend((0..len).map(|offset| pattern(!id, offset)));
    Ok(Datagram { source_port: question.destination_port, destination_port: question.source_port, data })
}

/// Exchange and number of a datagram whose bytes are right.
fn read(datagram: &Datagram, byte: impl Fn(u64, u64) -> u8) -> Result<(u64, u32), String> {
    let Some((header, body)) = datagram.data.split_first_chunk::<HEADER_BYTES>() else {
        return Err(format!("a datagram of {} bytes, which nobody sent", datagram.data.len()));
    };
    let number = |range: core::ops::Range<usize>| header[range].iter().fold(0, |n, &b| n << 8 | u64::from(b));
    let (id, number) = (number(0..8), number(8..12) as u32);
    let wrong = body.iter().enumerate().find(|&(offset, &found)| found != byte(id, offset as u64));
    match wrong {
        Some((offset, _)) => Err(format!("byte {offset} of datagram {number} of exchange {id} is wrong")),
        None => Ok((id, number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_answered_once_each_and_changed_bytes_are_noticed() {
        let address = |text: &str| text.parse().expect("an address");
        let plan = Plan {
            id: 9,
            client: address("10.20.0.10:31000"),
            service: address("10.99.0.1:53"),
            count: 2,
            len: 100,
            start: Instant::from_millis(5),
            interval: Duration::from_millis(10),
            promise: Promise::Served,
        };
        let link = LinkHeader { destination: [2; 6], source: [4; 6], vlans: vec![] };
        let mut exchange = Exchange::new(plan, link);
        let Some(Packet { payload: Payload::Udp(question), .. }) = exchange.ask(plan.start) else {
            panic!("a first question")
        };
        assert_eq!(exchange.next_at(), Some(Instant::from_millis(15)));
        assert!(exchange.broken_promise(Instant::ZERO).is_some(), "not answered yet");
        assert_eq!(exchange.handle(&answer(&question).expect("a good question")), Ok(()));
        assert_eq!(exchange.broken_promise(Instant::ZERO), None);
        let mut changed = question.clone();
        changed.data[50] ^= 1;
        assert!(answer(&changed).is_err());
        assert!(exchange.handle(&question).is_err(), "an echo is no answer");
    }
}
