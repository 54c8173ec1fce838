//! A client and a node with a wire between them.

use core::net::IpAddr;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::site::NOW;
use crate::session::tls::{Engine, Outcome, Output, Stream, TlsError};

pub(super) const SOURCE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 7));

/// Both ends.
pub(super) struct Pair {
    pub(super) client: ClientConnection,
    pub(super) stream: Stream,
    /// What the node decrypted.
    pub(super) plain: Vec<u8>,
    pub(super) output: Output,
    pub(super) outcome: Option<Outcome>,
    pub(super) is_end: bool,
    /// How many bytes the node gets at once.
    pub(super) piece: usize,
}

impl Pair {
    pub(super) fn new(config: ClientConfig, name: &str) -> Self {
        Self::with(&Arc::new(config), name)
    }

    pub(super) fn with(config: &Arc<ClientConfig>, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Self {
            client: ClientConnection::new(Arc::clone(config), name).unwrap(),
            stream: Stream::new(SOURCE, false),
            plain: Vec::new(),
            output: Output::new(),
            outcome: None,
            is_end: false,
            piece: usize::MAX,
        }
    }

    /// Gives the node bytes, in pieces.
    pub(super) fn feed(&mut self, engine: &mut Engine, bytes: &[u8]) -> Result<(), TlsError> {
        for piece in bytes.chunks(self.piece.min(bytes.len()).max(1)) {
            let mut piece = piece.to_vec();
            let mut at = 0;
            while at < piece.len() {
                let before = self.plain.len();
                let received =
                    self.stream.receive(engine, &mut piece[at..], &mut self.plain, &mut self.output, NOW)?;
                at += received.taken;
                self.outcome = self.outcome.or(received.established);
                self.is_end |= received.is_end;
                assert!(at == piece.len() || self.plain.len() > before, "neither taken nor plaintext");
            }
        }
        Ok(())
    }

    /// Gives the client what the node sends.
    pub(super) fn deliver(&mut self) -> Result<(), rustls::Error> {
        while !self.output.is_empty() {
            let mut bytes = self.output.as_slice();
            let count = self.client.read_tls(&mut bytes).unwrap();
            self.output.consume(count);
            self.client.process_new_packets()?;
        }
        Ok(())
    }

    /// What the client has to send.
    pub(super) fn wire(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Moves bytes until nobody has any. Both ends' errors.
    pub(super) fn try_run(
        &mut self,
        engine: &mut Engine,
    ) -> (Result<(), TlsError>, Result<(), rustls::Error>) {
        loop {
            let bytes = self.wire();
            let was_idle = bytes.is_empty() && self.output.is_empty();
            let node = self.feed(engine, &bytes);
            let client = self.deliver();
            if was_idle || node.is_err() || client.is_err() {
                // The client's last words reach the node, too.
                let bytes = self.wire();
                let last = self.feed(engine, &bytes);
                return (node.and(last), client);
            }
        }
    }

    pub(super) fn run(&mut self, engine: &mut Engine) {
        let (node, client) = self.try_run(engine);
        node.unwrap();
        client.unwrap();
    }

    /// The client says `text`; the node answers with `answer`; the client hears it.
    pub(super) fn exchange(&mut self, engine: &mut Engine, text: &[u8], answer: &[u8]) {
        self.plain.clear();
        for part in text.chunks(16_384) {
            self.client.writer().write_all(part).unwrap();
            let bytes = self.wire();
            self.feed(engine, &bytes).unwrap();
        }
        assert!(self.plain == text, "{} of {} bytes", self.plain.len(), text.len());
        for part in answer.chunks(16_384) {
            self.stream.send(part, &mut self.output, NOW).unwrap();
            self.deliver().unwrap();
            let mut heard = vec![0; part.len()];
            self.client.reader().read_exact(&mut heard).unwrap();
            assert!(heard == part);
        }
    }
}
