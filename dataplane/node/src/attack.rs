//! Telling an attack from a busy day, and an offender from a customer.
//!
//! Owns: [`Detector`], which watches the rates of suspicious packets per listener with hysteresis, and
//! [`Offenders`], which counts how often a *validated* source broke a limit. Does not own: the reaction. The
//! worker sends both as events; the control thread logs them and writes bans.
//! A source that proved nothing is never counted here: its address may be anybody's.
//! Cost: one addition per suspicious packet; the rates are judged ten times a second.

use core::net::IpAddr;
use core::time::Duration;

use secbeat_net::time::Instant;

use crate::event::{AttackKind, ListenerId, Offence, What};

/// Listeners that are watched one by one; the rest share the last slot. As many as a policy may have.
pub const LISTENERS_WATCHED_MAX: usize = 256;

/// How often rates are judged. Ten times a second: an attack is reported well inside the first second.
pub const WINDOW: Duration = Duration::from_millis(100);

/// How long the rate must stay below the lower threshold before an attack is called over. Attack tools pulse;
/// five quiet seconds keep one attack from being reported as fifty.
pub const QUIET: Duration = Duration::from_secs(5);

/// An attack is over below this share of the threshold that started it.
const END_SHARE_DIVISOR: u64 = 2;

/// Offenders reported per housekeeping tick (1 ms) and worker, so that a worker never floods the event queue.
/// A source that was not reported is caught at its next offence.
pub const OFFENDERS_PER_TICK_MAX: u32 = 16;

/// Sources whose offences are remembered per worker, in sets of [`WAYS`]. 4,096 sources of 48 bytes are
/// 192 KiB. Full set: the source that offended longest ago is forgotten.
pub const OFFENDERS_MAX: usize = 4_096;
const WAYS: usize = 4;

/// Packets per second, per worker, above which traffic of a kind counts as an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// SYN segments to one listener.
    pub syn_pps: u64,
    /// ACK segments without flow and valid cookie.
    pub ack_pps: u64,
    /// RST segments without flow or outside its window.
    pub rst_pps: u64,
    /// UDP datagrams refused by a limit.
    pub udp_pps: u64,
    /// Fragments refused.
    pub fragment_pps: u64,
    /// A SYN flood also needs fewer than this share of the SYNs to complete a handshake, in percent: a
    /// rush of real visitors completes nearly all of them.
    pub syn_completed_percent_max: u64,
}

impl Default for Thresholds {
    /// A single server of the kind that is protected opens well under 5,000 connections a second; refused
    /// packets of the other kinds have no honest reason at all, so a thousand a second is plenty.
    fn default() -> Self {
        Self {
            syn_pps: 5_000,
            ack_pps: 1_000,
            rst_pps: 1_000,
            udp_pps: 1_000,
            fragment_pps: 1_000,
            syn_completed_percent_max: 50,
        }
    }
}

impl Thresholds {
    fn of(&self, kind: AttackKind) -> u64 {
        match kind {
            AttackKind::AckFlood => self.ack_pps,
            AttackKind::FragmentFlood => self.fragment_pps,
            AttackKind::RstFlood => self.rst_pps,
            AttackKind::SynFlood => self.syn_pps,
            AttackKind::UdpFlood => self.udp_pps,
            // Requests are judged one by one, by sessions, which report each themselves.
            _ => u64::MAX,
        }
    }
}

/// ```text
///            rate >= threshold                 rate >= threshold / 2
///  Quiet ------------------------> Attack <-----------------------. (quiet_since reset)
///    ^                               |  rate < threshold / 2      |
///    '------- for QUIET -------------'----------------------------'
/// ```
#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Quiet,
    Attack {
        since: Instant,
        quiet_since: Option<Instant>,
        packets: u64,
        rate_pps_max: u64,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    counts: [u32; AttackKind::ALL.len()],
    completed: u32,
    states: [State; AttackKind::ALL.len()],
}

/// Watches every listener of one worker.
#[derive(Debug)]
pub struct Detector {
    watches: Box<[Watch]>,
    window_start: Instant,
}

impl Detector {
    /// A detector for as many listeners as a policy may have; the last slot is for traffic without listener.
    pub fn new(now: Instant) -> Self {
        let slots = LISTENERS_WATCHED_MAX + 1;
        Self { watches: vec![Watch::default(); slots].into_boxed_slice(), window_start: now }
    }

    /// Counts one packet.
    pub fn count(&mut self, listener: Option<ListenerId>, kind: AttackKind) {
        self.count_many(listener, kind, 1);
    }

    /// Counts packets.
    pub fn count_many(&mut self, listener: Option<ListenerId>, kind: AttackKind, packets: u64) {
        let slot = self.slot(listener);
        if let Some(watch) = self.watches.get_mut(slot) {
            let packets = u32::try_from(packets).unwrap_or(u32::MAX);
            watch.counts[kind.index()] = watch.counts[kind.index()].saturating_add(packets);
        }
    }

    /// Counts completed handshakes.
    pub fn count_completed(&mut self, listener: ListenerId, handshakes: u64) {
        let slot = self.slot(Some(listener));
        if let Some(watch) = self.watches.get_mut(slot) {
            let handshakes = u32::try_from(handshakes).unwrap_or(u32::MAX);
            watch.completed = watch.completed.saturating_add(handshakes);
        }
    }

    /// Whether the next [`Detector::handle_tick`] judges a window: what is counted elsewhere is to be added before.
    pub fn is_due(&self, now: Instant) -> bool {
        now.saturating_since(self.window_start) >= WINDOW
    }

    /// Whether an attack of any kind is going on.
    pub fn is_attack(&self) -> bool {
        self.watches
            .iter()
            .any(|watch| watch.states.iter().any(|state| matches!(state, State::Attack { .. })))
    }

    /// Judges the window that just ended, if one did, and reports every change to `report`. To be called in
    /// housekeeping.
    pub fn handle_tick(&mut self, thresholds: &Thresholds, now: Instant, mut report: impl FnMut(What)) {
        if !self.is_due(now) {
            return;
        }
        let length = now.saturating_since(self.window_start);
        self.window_start = now;
        let length_ms = (length.as_millis() as u64).max(1);
        let last = self.watches.len() - 1;
        for (index, watch) in self.watches.iter_mut().enumerate() {
            let listener = (index < last).then_some(index as ListenerId);
            for kind in AttackKind::ALL {
                let packets = u64::from(watch.counts[kind.index()]);
                let rate_pps = packets * 1_000 / length_ms;
                let threshold = thresholds.of(kind).max(1);
                let honest_rush = matches!(kind, AttackKind::SynFlood)
                    && u64::from(watch.completed) * 100 >= packets * thresholds.syn_completed_percent_max;
                let rate_judged = if honest_rush { 0 } else { rate_pps };
                let change =
                    step(&mut watch.states[kind.index()], packets, rate_judged, threshold, now).map(|c| {
                        match c {
                            Change::Started => What::AttackStarted { listener, kind, rate_pps },
                            Change::Ended { duration_ms, packets, rate_pps_max } => {
                                What::AttackEnded { listener, kind, duration_ms, packets, rate_pps_max }
                            }
                        }
                    });
                if let Some(what) = change {
                    report(what);
                }
            }
            watch.counts = Default::default();
            watch.completed = 0;
        }
    }

    fn slot(&self, listener: Option<ListenerId>) -> usize {
        let last = self.watches.len() - 1;
        listener.map_or(last, |listener| usize::from(listener).min(last))
    }
}

enum Change {
    Started,
    Ended { duration_ms: u64, packets: u64, rate_pps_max: u64 },
}

fn step(state: &mut State, packets: u64, rate_pps: u64, threshold: u64, now: Instant) -> Option<Change> {
    match state {
        State::Quiet if rate_pps >= threshold => {
            *state = State::Attack { since: now, quiet_since: None, packets, rate_pps_max: rate_pps };
            Some(Change::Started)
        }
        State::Quiet => None,
        State::Attack { since, quiet_since, packets: sum, rate_pps_max } => {
            *sum += packets;
            *rate_pps_max = rate_pps.max(*rate_pps_max);
            if rate_pps >= threshold.div_ceil(END_SHARE_DIVISOR) {
                *quiet_since = None;
                return None;
            }
            let quiet = *quiet_since.get_or_insert(now);
            if now.saturating_since(quiet) < QUIET {
                return None;
            }
            let ended = Change::Ended {
                duration_ms: quiet.saturating_since(*since).as_millis() as u64,
                packets: *sum,
                rate_pps_max: *rate_pps_max,
            };
            *state = State::Quiet;
            Some(ended)
        }
    }
}

/// When a source that keeps breaking limits is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffencePolicy {
    /// Offences within [`OffencePolicy::window`] that make an offender; zero turns automatic bans off.
    pub offences_max: u32,
    /// How long offences are added up.
    pub window: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    source: IpAddr,
    offences: u32,
    first: Instant,
    last: Instant,
}

/// Counts offences of validated sources.
#[derive(Debug)]
pub struct Offenders {
    sets: Box<[[Option<Record>; WAYS]]>,
    budget: u32,
}

impl Default for Offenders {
    fn default() -> Self {
        let sets = OFFENDERS_MAX / WAYS;
        Self { sets: vec![[None; WAYS]; sets].into_boxed_slice(), budget: OFFENDERS_PER_TICK_MAX }
    }
}

impl Offenders {
    /// Renews the number of offenders that may be reported; once per millisecond.
    pub fn handle_tick(&mut self) {
        self.budget = OFFENDERS_PER_TICK_MAX;
    }

    /// Notes an offence of a source whose keyed hash is `hash`. `Some` when it is now an offender to be
    /// banned; its count starts anew then.
    pub fn handle_offence(
        &mut self,
        source: IpAddr,
        hash: u64,
        offence: Offence,
        policy: &OffencePolicy,
        now: Instant,
    ) -> Option<What> {
        if policy.offences_max == 0 {
            return None;
        }
        let index = hash as usize % self.sets.len();
        let set = &mut self.sets[index];
        let way = set
            .iter()
            .position(|record| record.is_some_and(|record| record.source == source))
            .or_else(|| set.iter().position(Option::is_none))
            .unwrap_or_else(|| oldest(set));
        let fresh = Record { source, offences: 0, first: now, last: now };
        let record = match &mut set[way] {
            Some(record) if record.source == source && now.saturating_since(record.first) < policy.window => {
                record
            }
            slot => slot.insert(fresh),
        };
        record.offences = record.offences.saturating_add(1);
        record.last = now;
        if record.offences < policy.offences_max || self.budget == 0 {
            return None;
        }
        self.budget -= 1;
        set[way] = None;
        Some(What::Offender { source, offence })
    }
}

fn oldest(set: &[Option<Record>; WAYS]) -> usize {
    (0..WAYS).min_by_key(|&way| set[way].map(|record| record.last)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(detector: &mut Detector, now: &mut Instant, packets: u32, completed: u32) -> Vec<What> {
        for _ in 0..packets {
            detector.count(Some(0), AttackKind::SynFlood);
        }
        detector.count_completed(0, completed.into());
        *now = *now + WINDOW;
        let mut found = Vec::new();
        detector.handle_tick(&Thresholds::default(), *now, |what| found.push(what));
        found
    }

    #[test]
    fn attack_is_reported_once_and_ends_after_quiet_time() {
        let mut now = Instant::ZERO;
        let mut detector = Detector::new(now);
        assert!(tick(&mut detector, &mut now, 499, 0).is_empty(), "4,990 pps is below the threshold");
        let started = tick(&mut detector, &mut now, 1_000, 0);
        let kind = AttackKind::SynFlood;
        assert_eq!(started, [What::AttackStarted { listener: Some(0), kind, rate_pps: 10_000 }]);
        assert!(detector.is_attack());
        assert!(tick(&mut detector, &mut now, 2_000, 0).is_empty(), "reported once");
        // A pulsing attack stays one attack.
        for _ in 0..10 {
            for _ in 0..40 {
                assert!(tick(&mut detector, &mut now, 0, 0).is_empty());
            }
            assert!(tick(&mut detector, &mut now, 1_000, 0).is_empty());
        }
        let mut ended = Vec::new();
        for _ in 0..51 {
            ended.extend(tick(&mut detector, &mut now, 0, 0));
        }
        let [What::AttackEnded { packets, rate_pps_max, .. }] = ended[..] else {
            panic!("expected one end: {ended:?}");
        };
        assert_eq!((packets, rate_pps_max), (13_000, 20_000));
        assert!(!detector.is_attack());
    }

    #[test]
    fn rush_of_real_visitors_is_no_attack() {
        let mut now = Instant::ZERO;
        let mut detector = Detector::new(now);
        assert!(tick(&mut detector, &mut now, 2_000, 1_500).is_empty());
        assert_eq!(tick(&mut detector, &mut now, 2_000, 100).len(), 1);
    }

    #[test]
    fn listener_outside_the_table_is_counted_in_the_last_slot() {
        let mut detector = Detector::new(Instant::ZERO);
        detector.count_many(Some(999), AttackKind::UdpFlood, 1_000);
        for _ in 0..1_000 {
            detector.count(None, AttackKind::FragmentFlood);
        }
        let mut found = Vec::new();
        detector.handle_tick(&Thresholds::default(), Instant::from_millis(100), |what| found.push(what));
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|what| matches!(what, What::AttackStarted { listener: None, .. })));
    }

    #[test]
    fn source_is_an_offender_at_the_limit_within_the_window_only() {
        let policy = OffencePolicy { offences_max: 3, window: Duration::from_secs(10) };
        let source: IpAddr = "192.0.2.1".parse().expect("address");
        let mut offenders = Offenders::default();
        let mut offend = |seconds: u64| {
            let now = Instant::from_millis(seconds * 1_000);
            offenders.handle_offence(source, 7, Offence::ConnectionRate, &policy, now)
        };
        assert_eq!(offend(0), None);
        assert_eq!(offend(5), None);
        assert_eq!(offend(11), None, "the window of the first offence is over");
        assert_eq!(offend(12), None);
        assert_eq!(offend(13), Some(What::Offender { source, offence: Offence::ConnectionRate }));
        assert_eq!(offend(13), None, "counted anew");
    }

    #[test]
    fn offenders_reported_per_tick_are_bounded() {
        let policy = OffencePolicy { offences_max: 1, window: Duration::from_secs(1) };
        let mut offenders = Offenders::default();
        let report = |offenders: &mut Offenders| {
            (0..100u32)
                .filter(|&n| {
                    let source = IpAddr::V4(n.into());
                    let hash = u64::from(n);
                    offenders
                        .handle_offence(source, hash, Offence::ConnectionLimit, &policy, Instant::ZERO)
                        .is_some()
                })
                .count()
        };
        assert_eq!(report(&mut offenders), OFFENDERS_PER_TICK_MAX as usize);
        assert_eq!(report(&mut offenders), 0);
        offenders.handle_tick();
        assert_eq!(report(&mut offenders), OFFENDERS_PER_TICK_MAX as usize);
    }

    #[test]
    fn table_of_offenders_forgets_the_oldest_and_never_grows() {
        let policy = OffencePolicy { offences_max: 2, window: Duration::from_secs(100) };
        let mut offenders = Offenders::default();
        for n in 0..=WAYS as u32 {
            let now = Instant::from_millis(u64::from(n));
            let offence = Offence::ConnectionLimit;
            assert_eq!(offenders.handle_offence(IpAddr::V4(n.into()), 1, offence, &policy, now), None);
        }
        let now = Instant::from_millis(50);
        let newest = IpAddr::V4((WAYS as u32).into());
        assert!(offenders.handle_offence(newest, 1, Offence::ConnectionLimit, &policy, now).is_some());
        let first = IpAddr::V4(0.into());
        assert!(offenders.handle_offence(first, 1, Offence::ConnectionLimit, &policy, now).is_none());
    }
}
