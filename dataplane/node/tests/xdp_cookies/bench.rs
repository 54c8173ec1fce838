//! The program on a loopback of its own, and the worker's code beside it.

use std::net::SocketAddr;

use nix::sched::{CloneFlags, unshare};
use secbeat_net::flow::HashKey;
use secbeat_net::packet::PacketBuf;
use secbeat_net::siphash::hash24;
use secbeat_net::syncookie::{self, KeySchedule, Keys, Offer};
use secbeat_net::time::Instant;
use secbeat_net::wire;
use secbeat_pktio::program::{
    AttachMode, COOKIE_SLOTS_MAX, CookieConfig, CookieGate, CookieKeys, CookieOffer, CookieSlot,
    InterfaceConfig, ListenerKey, Program, ProgramConfig, Unbound, clock_ns,
};
use secbeat_pktio::xsk::{XskConfig, XskInterface, XskIo};

use super::frames::{Frame, SERVICE_V4, SERVICE_V6, addr};

pub(crate) const XDP_DROP: u32 = 1;
pub(crate) const XDP_PASS: u32 = 2;
pub(crate) const XDP_TX: u32 = 3;
pub(crate) const XDP_REDIRECT: u32 = 4;

const fn offer(mss_v4: u16, window: u16, window_scale: Option<u8>, rest: [bool; 3]) -> Offer {
    let [timestamps, sack, ecn] = rest;
    Offer { mss_v4, mss_v6: mss_v4 - 20, window, window_scale, timestamps, sack, ecn }
}

/// Everything, and without each.
pub(crate) const OFFERS: [Offer; 7] = [
    offer(1460, 14_600, Some(7), [true, true, true]),
    offer(1460, 14_600, None, [true, true, true]),
    offer(1300, 65_535, Some(14), [false, true, true]),
    offer(536, 0, Some(0), [true, false, true]),
    offer(8960, 1, Some(255), [true, true, false]),
    offer(40, 14_600, None, [true, false, false]),
    offer(65_535, 0xaaaa, Some(1), [false, false, false]),
];

const MASTER: HashKey = HashKey([0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00]);

pub(crate) struct Bench {
    program: Program,
    _io: XskIo,
    pub(crate) gate: CookieGate,
    pub(crate) slot_v4: CookieSlot,
    pub(crate) slot_v6: CookieSlot,
    clock_base_ns: u64,
    epoch: u32,
    keys: Keys,
}

fn listener(text: &str) -> ListenerKey {
    ListenerKey { addr: addr::<SocketAddr>(text), protocol: 6 }
}

fn as_cookie_offer(offer: &Offer) -> CookieOffer {
    let Offer { mss_v4, mss_v6, window, window_scale, timestamps, sack, ecn } = *offer;
    CookieOffer { mss_v4, mss_v6, window, window_scale, timestamps, sack, ecn }
}

/// Runs a test on a thread with a network namespace of its own, where it can hurt nobody.
pub(crate) fn on_bench(test: &str, work: impl FnOnce(&mut Bench) + Send) {
    if !nix::unistd::geteuid().is_root() {
        println!("{test}: skipped, needs root");
        return;
    }
    std::thread::scope(|scope| {
        let run = || {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
                println!("{test}: skipped, no network namespace: {error}");
                return;
            }
            work(&mut Bench::open());
        };
        scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

impl Bench {
    fn open() -> Self {
        // Workers' clocks begin before the program is loaded.
        let clock_base_ns = clock_ns().saturating_sub(12_345_678_901);
        let mut program = Program::open(&ProgramConfig {
            pin_dir: None,
            interfaces: vec![InterfaceConfig { name: "lo".into(), mode: AttachMode::Generic }],
            unbound: Unbound::Pass,
            cookies: CookieConfig { clock_base_ns, flows_max: 0 },
        })
        .unwrap();
        let interfaces = vec![XskInterface { name: "lo".into(), queue: 0 }];
        let slots = XskConfig { fill_slots: 64, rx_slots: 64, tx_slots: 64, ..XskConfig::default() };
        let (io, _) = XskIo::open(&XskConfig { interfaces, ..slots }).unwrap();
        for (port, queue, fd) in io.sockets() {
            program.bind_queue(port, queue, fd).unwrap();
        }
        let offer = Some(as_cookie_offer(&OFFERS[0]));
        let listeners = [(listener(SERVICE_V4), offer), (listener(SERVICE_V6), offer)];
        let slots = program.set_listeners_with_cookies(&listeners).unwrap();
        let (slot_v4, slot_v6) = (slots[0].unwrap(), slots[1].unwrap());
        let gate = program.cookie_gate();
        for slot in [slot_v4, slot_v6] {
            gate.set_answering(slot, true);
            gate.set_gate(slot, true);
        }
        let epoch = u32::MAX - 3;
        let keys = KeySchedule::new(MASTER).keys(epoch);
        let mut bench = Self { program, _io: io, gate, slot_v4, slot_v6, clock_base_ns, epoch, keys };
        // Nothing is answered before there are keys.
        bench.expect("no keys", &Frame::default().bytes(), XDP_REDIRECT, "worker");
        bench.set_epoch_offset(0);
        bench
    }

    /// The keys of the epoch that lies `offset` from the current one, on both sides.
    pub(crate) fn set_epoch_offset(&mut self, offset: i32) {
        let epoch = self.epoch.wrapping_add_signed(offset);
        self.keys = KeySchedule::new(MASTER).keys(epoch);
        // As documented in net::syncookie::keys, written down a second time.
        let key = |epoch: u32| {
            let half = |number| hash24(&MASTER, [u64::from(epoch), number], 0, 0);
            (half(0), half(1))
        };
        let keys = [key(epoch.wrapping_sub(1)), key(epoch), key(epoch.wrapping_add(1))];
        self.program.set_cookie_keys(&CookieKeys { epoch, keys });
    }

    pub(crate) fn next_epoch(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.set_epoch_offset(0);
    }

    pub(crate) fn offer(&mut self, offer: &Offer) {
        let offer = Some(as_cookie_offer(offer));
        let listeners = [(listener(SERVICE_V4), offer), (listener(SERVICE_V6), offer)];
        let slots = self.program.set_listeners_with_cookies(&listeners).unwrap();
        assert_eq!(slots, [Some(self.slot_v4), Some(self.slot_v6)], "a listener that stays keeps its slot");
        assert_eq!(self.gate.flags(self.slot_v4), (true, true), "and its flags");
    }

    pub(crate) fn unbind(&mut self) {
        self.program.unbind_queue(0, 0).unwrap();
    }

    /// The workers' clock.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(clock_ns() - self.clock_base_ns)
    }

    /// The action and the frame after it.
    pub(crate) fn run(&self, frame: &[u8]) -> (u32, Vec<u8>) {
        self.program.dry_run_frame(0, frame).unwrap()
    }

    /// Runs one frame; exactly the counter `reason` moves by one.
    pub(crate) fn expect(&self, what: &str, frame: &[u8], action: u32, reason: &str) {
        let before = self.program.counters().unwrap();
        let (got, after_frame) = self.run(frame);
        let after = self.program.counters().unwrap();
        let moved: Vec<_> = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before.1 != after.1)
            .map(|(before, after)| (before.0, after.1 - before.1))
            .collect();
        assert_eq!((got, moved.as_slice()), (action, [(reason, 1)].as_slice()), "{what}: {frame:02x?}");
        assert!(got == XDP_TX || after_frame == frame, "{what}: changed, {frame:02x?} {after_frame:02x?}");
    }

    /// What a worker sends back.
    pub(crate) fn worker_answer(&self, frame: &[u8], offer: &Offer, now: Instant) -> Option<Vec<u8>> {
        let headers = wire::parse(frame).ok()?;
        headers.sanity().ok()?;
        let mut memory = [frame, &[0xee; 64]].concat();
        let mut packet = PacketBuf::new(&mut memory, 0, frame.len());
        syncookie::answer_syn(&mut packet, &headers, &self.keys, offer, now).ok()?;
        Some(packet.bytes().to_vec())
    }

    /// Both answer alike (true), or neither does (false).
    pub(crate) fn expect_as_worker(&self, frame: &[u8], offer: &Offer) -> bool {
        let before = self.worker_answer(frame, offer, self.now());
        let (action, answer) = self.run(frame);
        // The clock moves by a step of 64 ms now and then.
        let after = self.worker_answer(frame, offer, self.now());
        match before {
            None => assert!(action == XDP_DROP && answer == frame, "action {action} to {frame:02x?}"),
            Some(before) => {
                assert_eq!(action, XDP_TX, "{frame:02x?}");
                assert!(
                    answer == before || Some(&answer) == after.as_ref(),
                    "to {frame:02x?}\n  here {answer:02x?}\nworker {before:02x?}"
                );
                return true;
            }
        }
        false
    }

    /// Whether a worker takes an ACK for one of ours.
    pub(crate) fn worker_accepts(&self, frame: &[u8]) -> bool {
        let Ok(headers) = wire::parse(frame) else { return false };
        let Some(flow) = headers.flow_key().filter(|_| headers.sanity().is_ok()) else { return false };
        let segment = wire::tcp::Segment::new_checked(&frame[headers.l4..headers.end]).unwrap();
        let Ok(options) = segment.options() else { return false };
        let echo = options.timestamps.map(|timestamps| timestamps.echo);
        let (seq, cookie) = (segment.seq().wrapping_sub(1), segment.ack().wrapping_sub(1));
        syncookie::check(&self.keys, &flow, seq, cookie, echo).is_some()
    }

    pub(crate) fn slots_follow_their_listeners(&mut self) {
        let offer = Some(as_cookie_offer(&OFFERS[0]));
        let (v4, v6) = (listener(SERVICE_V4), listener(SERVICE_V6));
        self.expect("answered", &Frame::default().bytes(), XDP_TX, "tx_syn_cookie");
        // An offer withdrawn: workers answer. Given again: a slot that is off and has counted nothing.
        let slots = self.program.set_listeners_with_cookies(&[(v4, None), (v6, offer)]).unwrap();
        assert_eq!(slots, [None, Some(self.slot_v6)]);
        self.expect("no slot", &Frame::default().bytes(), XDP_REDIRECT, "worker");
        let slots = self.program.set_listeners_with_cookies(&[(v4, offer), (v6, offer)]).unwrap();
        let slot = slots[0].unwrap();
        assert_eq!((self.gate.flags(slot), self.gate.counts(slot)), ((false, false), Default::default()));
        self.expect("off", &Frame::default().bytes(), XDP_REDIRECT, "worker");
        self.gate.set_answering(slot, true);
        self.expect("on", &Frame::default().bytes(), XDP_TX, "tx_syn_cookie");
        assert_eq!(self.gate.counts(slot).answered, 1);
        // As many as there are; UDP never takes one.
        let mut many: Vec<_> = (0..COOKIE_SLOTS_MAX as u16 + 1)
            .map(|port| (listener(&format!("198.51.100.1:{}", 1000 + port)), offer))
            .collect();
        many[0].0.protocol = 17;
        many.insert(0, (v4, offer));
        let slots = self.program.set_listeners_with_cookies(&many).unwrap();
        assert_eq!((slots[0], slots[1]), (Some(slot), None));
        assert_eq!(slots.iter().flatten().count(), COOKIE_SLOTS_MAX);
        let mut numbers: Vec<_> = slots.iter().flatten().map(|slot| slot.index()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), COOKIE_SLOTS_MAX, "no slot twice");
        self.program.set_listeners(&[v4]).unwrap();
        self.expect("plain listeners", &Frame::default().bytes(), XDP_REDIRECT, "worker");
    }
}
