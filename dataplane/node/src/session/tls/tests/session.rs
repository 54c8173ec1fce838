//! Whole sessions over TLS: the handshake, both versions of HTTP, slow clients and origins, the end.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::site::{NO_LIMITS, Site};
use crate::session::policy::L7Policy;
use crate::session::tests::frames;
use crate::session::tests::harness::{Answer, Reply, Seen, World, listener, ok, parse_all, policy};
use crate::session::tls::Outcome;
use crate::telemetry::counters::Counter;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// A client that speaks TLS, and the world it speaks to.
pub(super) struct Talk {
    pub(super) world: World,
    client: u64,
    tls: ClientConnection,
    /// Plaintext received.
    pub(super) heard: Vec<u8>,
    /// Of what the front took, how much the client has read.
    read: usize,
}

impl Talk {
    fn new(alpn: &[u8], script: impl FnMut(&Seen) -> Answer + 'static) -> Self {
        let site = Site::new();
        site.issue("a", &["a.test"]);
        let acceptor = site.load(&site.tls(&["a"], NO_LIMITS)).unwrap();
        let mut policy = policy();
        policy.listeners = vec![Some(crate::session::policy::Listener { tls: true, ..listener() })];
        policy.tls = Some(Arc::new(acceptor));
        let mut config = site.client();
        config.alpn_protocols = vec![alpn.to_vec()];
        Self::with(policy, config, "a.test", script)
    }

    /// With a policy and a client of the caller's, which asks for `name`.
    pub(super) fn with(
        policy: L7Policy,
        config: ClientConfig,
        name: &str,
        script: impl FnMut(&Seen) -> Answer + 'static,
    ) -> Self {
        let mut world = World::with(policy, script);
        let client = world.connect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut talk = Self { world, client, tls, heard: Vec::new(), read: 0 };
        while talk.tls.is_handshaking() {
            talk.exchange();
        }
        // The client's last words, too.
        talk.exchange();
        talk
    }

    /// Moves what both ends have to say.
    fn exchange(&mut self) {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        if !bytes.is_empty() {
            self.world.send(self.client, &bytes);
        }
        let received = self.world.peer(self.client).received[self.read..].to_vec();
        self.read += received.len();
        let mut received = &received[..];
        while !received.is_empty() {
            self.tls.read_tls(&mut received).unwrap();
            self.tls.process_new_packets().unwrap();
            let mut plain = vec![0; 1 << 20];
            while let Ok(len @ 1..) = self.tls.reader().read(&mut plain) {
                self.heard.extend_from_slice(&plain[..len]);
            }
        }
    }

    pub(super) fn say(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(16 << 10) {
            self.tls.writer().write_all(part).unwrap();
            self.exchange();
        }
    }

    pub(super) fn turn(&mut self) {
        self.world.turn(core::time::Duration::from_micros(100));
        self.exchange();
    }

    pub(super) fn replies(&mut self, count: usize) -> Vec<Reply> {
        for _ in 0..50_000 {
            let replies = parse_all(&self.heard, self.world.peer(self.client).is_finished);
            if replies.len() >= count {
                return replies;
            }
            self.turn();
        }
        panic!("no response in {}", String::from_utf8_lossy(&self.heard));
    }
}

#[test]
fn http1_is_served_over_tls_and_told_that_it_is_https() {
    let mut talk = Talk::new(b"http/1.1", |seen| ok(seen.line().as_bytes()));
    talk.say(&[GET, GET].concat());
    let replies = talk.replies(2);
    assert_eq!(replies[1].text(), "GET /a HTTP/1.1");
    assert_eq!(talk.world.origin.seen[0].field("x-forwarded-proto"), Some("https"));
    assert_eq!(talk.world.page.requests.handshakes(Outcome::Full), 1);
    assert_eq!(talk.world.counts().buffers, 0, "idle");
}

#[test]
fn http2_is_chosen_by_alpn() {
    let mut talk = Talk::new(b"h2", |_| ok(b"two"));
    talk.say(&[frames::hello(1 << 20), frames::get(1, "/")].concat());
    for _ in 0..5_000 {
        if frames::Connection::read(&talk.heard).streams.get(&1).is_some_and(|heard| heard.is_ended) {
            break;
        }
        talk.turn();
    }
    let heard = frames::Connection::read(&talk.heard).streams.remove(&1).unwrap();
    assert_eq!((heard.status, heard.body.as_slice()), (Some(200), &b"two"[..]));
    assert_eq!(talk.world.counts().buffers, 0, "idle");
}

#[test]
fn slow_client_is_given_its_response_bit_by_bit() {
    let body: Vec<u8> = (0..24_000_000u32).map(|n| (n % 249) as u8).collect();
    let expected = body.clone();
    let mut talk = Talk::new(b"http/1.1", move |_| ok(&body));
    talk.world.peer(talk.client).room = 10_000;
    talk.say(GET);
    talk.world.rest();
    assert!(talk.world.origin.unsent() > 1 << 20, "the origin is held back");
    assert!(talk.world.counts().buffers <= 1);
    for _ in 0..100_000 {
        if talk.heard.len() > expected.len() {
            break;
        }
        talk.world.peer(talk.client).room = 250_000;
        talk.turn();
    }
    assert!(talk.replies(1)[0].body == expected);
}

#[test]
fn slow_origin_holds_an_upload_back_and_gets_all_of_it() {
    let mut talk = Talk::new(b"http/1.1", |seen| ok(seen.body.len().to_string().as_bytes()));
    talk.world.origin.reads = false;
    let body = vec![b'u'; 24 << 20];
    talk.say(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    talk.say(&body);
    talk.world.rest();
    assert!(talk.world.peer(talk.client).kept_len() > 4 << 20, "the client is held back");
    assert!(talk.world.counts().buffers <= 2, "{:?}", talk.world.counts());
    talk.world.origin.reads = true;
    assert_eq!(talk.replies(1)[0].text(), body.len().to_string());
    assert!(talk.world.origin.seen[0].body == body);
}

#[test]
fn close_notify_ends_the_session_like_fin() {
    let mut talk = Talk::new(b"http/1.1", |_| ok(b"x"));
    talk.say(GET);
    talk.replies(1);
    talk.tls.send_close_notify();
    talk.exchange();
    assert!(talk.world.peer(talk.client).is_over());
    talk.world.assert_nothing_left();
}

#[test]
fn client_that_never_says_hello_is_counted_when_it_leaves_or_times_out() {
    let mut talk = Talk::new(b"http/1.1", |_| ok(b"x"));
    let (leaves, stays) = (talk.world.connect(), talk.world.connect());
    talk.world.end(leaves);
    talk.world.pass(core::time::Duration::from_secs(11));
    assert!(talk.world.peer(stays).is_over());
    let requests = &talk.world.page.requests;
    assert_eq!((requests.handshakes(Outcome::Abandoned), requests.handshakes(Outcome::Timeout)), (1, 1));
    assert_eq!(talk.world.page.get(Counter::TimeoutsTlsHandshake), 1);
}

#[test]
fn http_on_a_tls_port_ends_at_once() {
    let mut talk = Talk::new(b"http/1.1", |_| ok(b"x"));
    let lost = talk.world.connect();
    talk.world.send(lost, GET);
    assert!(talk.world.peer(lost).is_over());
    assert_eq!(talk.world.page.requests.handshakes(Outcome::NotTls), 1);
}
