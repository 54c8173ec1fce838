//! Two simple TCP ends, a bad network and a splice between: whatever is lost, doubled or reordered, each side gets
//! the bytes that the other one sent.
//!
//! The ends are go-back-N: in-order receiver that acknowledges every segment, sender that starts again from the
//! first unacknowledged byte when it hears nothing. They check what a real stack checks: numbers, clocks (PAWS),
//! windows never exceeded by what the splice told.

use std::collections::VecDeque;

use core::time::Duration;

use proptest::prelude::*;

use super::harness::*;
use crate::proxy_protocol;
use crate::splice::{CloseReason, Event};
use crate::wire::tcp::Flags;

/// Longest wait for progress before an end sends again, in steps of 50 ms.
const RETRANSMIT_STEPS: u32 = 8;
const STEPS_MAX: u32 = 20_000;
/// Segments that an end sends in one step.
const SENDS_PER_STEP: usize = 8;

/// One end of the connection.
struct End {
    /// First byte it sends, and next byte it expects, in its own view.
    first: u32,
    peer_first: u32,
    send: Vec<u8>,
    /// Bytes sent, bytes acknowledged.
    sent: usize,
    acked: usize,
    got: Vec<u8>,
    has_peer_fin: bool,
    is_fin_acked: bool,
    /// Largest window offset the peer allowed: bytes from `first`.
    allowed: usize,
    /// Window scale of what it hears.
    scale_in: u8,
    window: u16,
    timestamps: bool,
    sack: bool,
    clock: u32,
    peer_clock: u32,
    must_ack: bool,
    mss: usize,
    /// Steps without progress, and how far it was before.
    quiet_steps: u32,
    acked_before: usize,
}

impl End {
    fn is_done(&self) -> bool {
        self.is_fin_acked && self.has_peer_fin
    }

    fn fin_at(&self) -> usize {
        self.send.len()
    }

    fn ack_number(&self) -> u32 {
        self.peer_first.wrapping_add(self.got.len() as u32 + u32::from(self.has_peer_fin))
    }

    fn dress(&self, tcp: Tcp) -> Tcp {
        let tcp = tcp.window(self.window);
        if self.timestamps { tcp.timestamps(self.clock, self.peer_clock) } else { tcp }
    }

    /// The next segment it wants to send, if any; FIN rides on the last.
    fn poll(&mut self) -> Option<Tcp> {
        let end = self.fin_at();
        if self.sent <= end && self.sent < self.allowed.max(1) {
            let room = self.mss.min(self.allowed.saturating_sub(self.sent).max(1));
            let stop = (self.sent + room).min(end);
            let payload = self.send[self.sent..stop].to_vec();
            let has_fin = stop == end;
            let flags = if has_fin { Flags::FIN_ACK } else { Flags::ACK };
            let seq = self.first.wrapping_add(self.sent as u32);
            self.sent = stop + usize::from(has_fin);
            self.must_ack = false;
            return Some(self.dress(seg(flags, seq, self.ack_number()).data(&payload)));
        }
        if core::mem::take(&mut self.must_ack) {
            let seq = self.first.wrapping_add(self.sent.min(end + 1) as u32);
            return Some(self.dress(seg(Flags::ACK, seq, self.ack_number())));
        }
        None
    }

    /// 50 ms pass. Without progress everything after the last acknowledged byte is sent again.
    fn tick(&mut self) {
        self.clock += 50;
        self.quiet_steps = if self.acked == self.acked_before { self.quiet_steps + 1 } else { 0 };
        self.acked_before = self.acked;
        if self.quiet_steps < RETRANSMIT_STEPS {
            return;
        }
        self.quiet_steps = 0;
        if self.is_fin_acked {
            self.must_ack = true;
        } else {
            self.sent = self.acked.min(self.fin_at());
            self.allowed = self.allowed.max(self.acked + 1);
        }
    }

    /// A segment of the peer arrives.
    fn take(&mut self, tcp: &Tcp) {
        assert!(!tcp.flags.contains(Flags::RST), "a RST out of nowhere: {tcp:?}");
        if tcp.flags.contains(Flags::SYN) {
            self.must_ack = true;
            return;
        }
        if self.timestamps {
            let ts = tcp.read_timestamps();
            if (ts.value.wrapping_sub(self.peer_clock) as i32) < 0 {
                // PAWS: an older segment. It is answered, as RFC 7323 §5.3 asks.
                self.must_ack = true;
                return;
            }
            self.peer_clock = ts.value;
            assert!((ts.echo.wrapping_sub(self.clock) as i32) <= 0, "an echo from the future");
        } else {
            assert!(tcp.read_options().timestamps.is_none());
        }
        assert!(self.sack || tcp.read_options().sack.is_none());
        let acked = tcp.ack.wrapping_sub(self.first) as i32;
        assert!(acked <= self.fin_at() as i32 + 1, "an acknowledgement of what was never sent");
        if acked >= 0 {
            self.acked = self.acked.max(acked as usize);
            self.is_fin_acked |= acked as usize == self.fin_at() + 1;
            let window = usize::from(tcp.window) << self.scale_in;
            self.allowed = self.allowed.max(acked as usize + window);
        }
        if tcp.payload.is_empty() && !tcp.flags.contains(Flags::FIN) {
            return;
        }
        self.must_ack = true;
        let offset = tcp.seq.wrapping_sub(self.peer_first) as usize;
        let have = self.got.len();
        // In order, or an old part in front of something new.
        if offset <= have && have <= offset + tcp.payload.len() && !self.has_peer_fin {
            let new = &tcp.payload[have - offset..];
            self.got.extend(new);
            self.has_peer_fin = tcp.flags.contains(Flags::FIN);
        }
    }
}

/// What the network does to the packets, drawn once per case.
#[derive(Clone, Debug)]
struct Weather {
    seed: u64,
    loss_percent: u64,
    duplicate_percent: u64,
    reorder_percent: u64,
}

impl Weather {
    fn draw(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.seed >> 33
    }

    fn happens(&mut self, percent: u64) -> bool {
        self.draw() % 100 < percent
    }

    /// Puts a packet on a wire.
    fn send(&mut self, wire: &mut VecDeque<Tcp>, tcp: Tcp) {
        if self.happens(self.loss_percent) {
            return;
        }
        if self.happens(self.duplicate_percent) {
            wire.push_back(tcp.clone());
        }
        if self.happens(self.reorder_percent) && !wire.is_empty() {
            let at = self.draw() as usize % wire.len();
            wire.insert(at, tcp);
        } else {
            wire.push_back(tcp);
        }
    }
}

struct Net {
    world: World,
    weather: Weather,
    client: End,
    backend: Option<End>,
    to_backend: VecDeque<Tcp>,
    to_client: VecDeque<Tcp>,
    from_backend: VecDeque<Tcp>,
    from_client: VecDeque<Tcp>,
    held: Vec<Tcp>,
    backend_data: Vec<u8>,
    mss: usize,
    is_given_up: bool,
}

impl Net {
    fn new(setup: Setup, weather: Weather, up: Vec<u8>, down: Vec<u8>, mss: usize) -> Self {
        let mut world = World::new(setup);
        world.open().unwrap();
        let client = End {
            first: C.wrapping_add(1),
            peer_first: N + 1,
            send: up,
            sent: 0,
            acked: 0,
            got: Vec::new(),
            has_peer_fin: false,
            is_fin_acked: false,
            allowed: usize::from(WINDOW),
            scale_in: setup.window_scale.map_or(0, |_| SCALE),
            window: 500,
            timestamps: setup.timestamps,
            sack: setup.sack,
            clock: 100,
            peer_clock: 7_000,
            must_ack: true,
            mss,
            quiet_steps: 0,
            acked_before: 0,
        };
        let mut net = Self {
            world,
            weather,
            client,
            backend: None,
            to_backend: VecDeque::new(),
            to_client: VecDeque::new(),
            from_backend: VecDeque::new(),
            from_client: VecDeque::new(),
            held: Vec::new(),
            backend_data: down,
            mss,
            is_given_up: false,
        };
        if setup.pass_through {
            net.shake_hands();
        }
        net
    }

    /// Pass-through: the client's own handshake with the backend, in fair weather.
    fn shake_hands(&mut self) {
        let syn = self.world.client_sends(self.world.client_syn()).backend_gets();
        self.backend_takes(syn.clone());
        self.from_backend.clear();
        let syn_ack = self.world.backend_sends(self.world.syn_ack(&syn)).client_gets();
        self.client.peer_first = syn_ack.seq.wrapping_add(1);
        self.client.peer_clock = 900_000;
        self.client.allowed = usize::from(syn_ack.window);
        self.client.scale_in = syn_ack.read_options().window_scale.unwrap_or(0);
    }

    fn route(&mut self, out: Out, original: &Tcp) {
        match out {
            Out::ToClient(tcp) => self.weather.send(&mut self.to_client, tcp),
            Out::ToBackend(tcp) => self.weather.send(&mut self.to_backend, tcp),
            Out::Hold if self.held.len() < 4 => self.held.push(original.clone()),
            // No room: the sender sends again. Out-of-window duplicates are the network's doing.
            Out::Hold | Out::Consumed | Out::Drop(_) => {}
            Out::Miss => panic!("the flow is gone: {original:?}"),
        }
    }

    /// The backend's kernel: answers our SYN, hands data to its end.
    fn backend_takes(&mut self, tcp: Tcp) {
        if tcp.flags.contains(Flags::SYN) {
            self.world.note_syn(&tcp);
            let syn_ack = self.world.syn_ack(&tcp);
            self.weather.send(&mut self.from_backend, syn_ack);
            let setup = self.world.setup;
            let (mss, send) = (self.mss, self.backend_data.clone());
            self.backend.get_or_insert_with(|| End {
                first: B + 1,
                peer_first: tcp.seq.wrapping_add(1),
                send,
                sent: 0,
                acked: 0,
                got: Vec::new(),
                has_peer_fin: false,
                is_fin_acked: false,
                allowed: 0,
                scale_in: setup.window_scale.unwrap_or(0),
                window: 60,
                timestamps: setup.timestamps,
                sack: setup.sack,
                clock: 900_000,
                peer_clock: tcp.read_options().timestamps.map_or(0, |ts| ts.value),
                must_ack: false,
                mss,
                quiet_steps: 0,
                acked_before: 0,
            });
            return;
        }
        if let Some(backend) = &mut self.backend {
            backend.take(&tcp);
        }
    }

    fn step(&mut self) {
        for _ in 0..SENDS_PER_STEP {
            if let Some(tcp) = self.client.poll() {
                self.weather.send(&mut self.from_client, tcp);
            }
            if let Some(tcp) = self.backend.as_mut().and_then(End::poll) {
                self.weather.send(&mut self.from_backend, tcp);
            }
        }
        // The network is faster than the ends, so that no queue stands.
        for _ in 0..SENDS_PER_STEP * 3 {
            if let Some(tcp) = self.from_client.pop_front() {
                let out = self.world.client_sends(tcp.clone());
                self.route(out, &tcp);
            }
            if let Some(tcp) = self.from_backend.pop_front() {
                let out = self.world.backend_sends(tcp.clone());
                self.route(out, &tcp);
            }
            if let Some(tcp) = self.to_backend.pop_front() {
                self.backend_takes(tcp);
            }
            if let Some(tcp) = self.to_client.pop_front() {
                self.client.take(&tcp);
            }
        }
        for out in self.world.sent() {
            let nothing = seg(Flags::NONE, 0, 0);
            self.route(out, &nothing);
        }
        self.world.pass_time(Duration::from_millis(50));
        for event in self.world.events() {
            match event {
                Event::Release { .. } => {
                    for tcp in core::mem::take(&mut self.held) {
                        let out = self.world.client_sends(tcp.clone());
                        self.route(out, &tcp);
                    }
                }
                // Nothing got through for all SYNs or headers: rare, and right.
                Event::BackendFailed { .. } | Event::Closed { reason: CloseReason::BackendFailed, .. } => {
                    self.is_given_up = true;
                }
                _ => {}
            }
        }
        self.client.tick();
        if let Some(backend) = &mut self.backend {
            backend.tick();
        }
    }

    /// Runs until both ends are done; false when no connection came about.
    fn run(&mut self) -> Result<bool, TestCaseError> {
        for _ in 0..STEPS_MAX {
            self.step();
            if self.is_given_up {
                return Ok(false);
            }
            if self.client.is_done() && self.backend.as_ref().is_some_and(End::is_done) {
                return Ok(true);
            }
        }
        Err(TestCaseError::fail("the streams never ended"))
    }
}

fn weather() -> impl Strategy<Value = Weather> {
    (any::<u64>(), 0u64..25, 0u64..20, 0u64..40).prop_map(
        |(seed, loss_percent, duplicate_percent, reorder_percent)| Weather {
            seed,
            loss_percent,
            duplicate_percent,
            reorder_percent,
        },
    )
}

fn setup() -> impl Strategy<Value = Setup> {
    (any::<[bool; 7]>(), prop::option::of(0u8..15)).prop_map(
        |(
            [client_v6, backend_v6, proxy_protocol, sack, timestamps, is_transparent, pass_through],
            window_scale,
        )| Setup {
            pass_through,
            client_v6,
            backend_v6: if is_transparent { client_v6 } else { backend_v6 },
            proxy_protocol,
            sack,
            timestamps,
            is_transparent,
            window_scale,
            ..Setup::default()
        },
    )
}

/// Bytes that repeat only after 65,536, so that a shifted copy differs.
fn bytes(len: usize, step: usize) -> Vec<u8> {
    (0..len).map(|index| (((index * step) >> 8) ^ (index * step)) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn streams_arrive_whole_and_in_order(
        setup in setup(),
        weather in weather(),
        up_len in 0usize..30_000,
        down_len in 0usize..30_000,
        mss in 1usize..1_300,
    ) {
        // Byte by byte only a short stream ends in time.
        let up = bytes(up_len.min(mss * 200), 7);
        let down = bytes(down_len.min(mss * 200), 11);
        let mut net = Net::new(setup, weather, up.clone(), down.clone(), mss);
        if !net.run()? {
            return Ok(());
        }
        prop_assert_eq!(&net.client.got, &down);
        let got = &net.backend.as_ref().expect("it is done").got;
        let header_len = net.world.header_len() as usize;
        prop_assert!(got.len() == header_len + up.len());
        prop_assert_eq!(&got[header_len..], &up);
        if header_len > 0 {
            let header = proxy_protocol::parse(&got[..header_len]);
            prop_assert!(matches!(header, Ok((proxy_protocol::Message::Proxied(_), _))));
        }
        net.world.splice.check();
    }
}
