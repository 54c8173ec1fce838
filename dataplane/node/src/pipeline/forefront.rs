//! Listeners whose SYNs are answered before the workers: when that begins and ends, and what it counts for.
//!
//! ```text
//!   every worker, each ms   no half-open connection of a listener? -> ready
//!   the first worker leads  wanted (always, or its switch or another's is on, and connections are taken)?
//!                             -> answered in front; all ready? -> gate shut
//!                           counts of the front -> counters, attack rates, its switch
//! ```
//! Owns: these decisions. Does not own: the phases that workers agree by (`crate::forefront::Board`), the switch of one
//! worker (`net::halfopen::CookieSwitch`). Nothing here runs per packet, but for [`Pipeline::note_valid_cookie`].

use core::time::Duration;
use std::sync::Arc;

use secbeat_config::node::SynCookies;
use secbeat_net::halfopen::TIMEOUTS;
use secbeat_net::time::Instant;
use secbeat_pktio::program::{COOKIE_SLOTS_MAX, CookieCounts, CookieSlot};

use super::Pipeline;
use crate::attack::LISTENERS_WATCHED_MAX;
use crate::event::{AttackKind, ListenerId, What, WorkerId};
use crate::forefront::Forefront;
use crate::policy::Handshake;
use crate::telemetry::counters::{Counter, Gauge};

/// The worker that leads.
const LEADER: WorkerId = 0;

/// What a worker remembers about the front.
#[derive(Debug)]
pub(super) struct FrontState {
    /// Until then a half-open connection may be counted for another listener than the one it is of: a reload has given
    /// listeners other numbers.
    mixed_until: Instant,
    /// Of the leader, by slot: what was counted of it.
    counted: Box<[CookieCounts]>,
    /// Of the leader, by listener: valid cookies that were counted.
    valid: Box<[u64]>,
    /// Of the leader, by listener: whether the gate is shut.
    gated: Box<[bool]>,
}

impl FrontState {
    /// The memory of a worker; nothing to speak of for one that does not lead.
    pub(super) fn new(id: WorkerId, has_front: bool) -> Self {
        let (slots, listeners) =
            if has_front && id == LEADER { (COOKIE_SLOTS_MAX, LISTENERS_WATCHED_MAX) } else { (0, 0) };
        Self {
            mixed_until: Instant::ZERO,
            counted: vec![CookieCounts::default(); slots].into_boxed_slice(),
            valid: vec![0; listeners].into_boxed_slice(),
            gated: vec![false; listeners].into_boxed_slice(),
        }
    }
}

/// How long half-open connections live at most.
fn half_open_lifetime() -> Duration {
    TIMEOUTS.iter().sum()
}

impl Pipeline {
    /// A cookie of this listener was valid. Those of a front are counted together, where its SYNs are.
    pub(super) fn note_valid_cookie(&mut self, listener: ListenerId, now: Instant) {
        self.page.count(Counter::CookiesValid);
        if self.shared.board.is_answering(listener) {
            self.shared.board.note_valid(listener);
            return;
        }
        self.detector.count_completed(listener, 1);
        if let Some(switch) = self.switches.get_mut(usize::from(listener)).filter(|switch| switch.is_on()) {
            switch.on_cookie_valid(now);
        }
    }

    /// This worker's switch of a listener went on: the front shall answer, where it can.
    pub(super) fn want_front(&self, listener: ListenerId) {
        if self.policy.front_slots.iter().any(|(other, _)| *other == listener) {
            self.shared.board.want(listener);
        }
    }

    /// Whether this worker leaves its switch of a listener to the leader.
    pub(super) fn is_led(&self, listener: ListenerId) -> bool {
        self.id != LEADER && self.shared.board.is_answering(listener)
    }

    /// What need not be done for each packet. Once a millisecond.
    pub(super) fn keep_front(&mut self, now: Instant) {
        let Some(front) = self.shared.forefront.clone() else { return };
        self.tell_ready(now);
        if self.id != LEADER {
            return;
        }
        let policy = Arc::clone(&self.policy);
        for slots in policy.front_slots.chunk_by(|(one, _), (other, _)| one == other) {
            let Some(&(listener, _)) = slots.first() else { continue };
            let wanted = self.is_front_wanted(listener, now);
            self.lead(&*front, listener, slots, wanted);
        }
    }

    /// Says which listeners this worker holds no half-open connection of.
    fn tell_ready(&self, now: Instant) {
        let is_sure = now >= self.front.mixed_until || self.half_open.is_empty();
        for &(listener, _) in &self.policy.front_slots {
            let is_ready = is_sure && self.half_open.of_listener(listener) == 0;
            self.shared.board.set_ready(listener, self.id, is_ready);
        }
    }

    fn is_front_wanted(&mut self, listener: ListenerId, now: Instant) -> bool {
        let is_asked = self.shared.board.take_wanted(listener);
        if self.is_draining() {
            return false;
        }
        let handshake = self.policy.listener(listener).map(|listener| listener.handshake);
        match handshake {
            Some(Handshake::Proxied(cookies) | Handshake::PassThrough(cookies)) => match cookies {
                SynCookies::Always => true,
                SynCookies::Never => false,
                SynCookies::Auto => {
                    let Some(switch) = self.switches.get_mut(usize::from(listener)) else { return false };
                    if is_asked && switch.turn_on(now) {
                        self.page.count(Counter::CookieSwitches);
                        self.report(What::Cookies { listener, active: true }, now);
                        return true;
                    }
                    switch.is_on()
                }
            },
            None => false,
        }
    }

    /// Brings the front into the wanted state. The gate is open before SYNs reach workers again.
    fn lead(
        &mut self,
        front: &dyn Forefront,
        listener: ListenerId,
        slots: &[(ListenerId, CookieSlot)],
        wanted: bool,
    ) {
        let board = &self.shared.board;
        if wanted && !board.is_answering(listener) {
            board.set_answering(listener, true);
            slots.iter().for_each(|(_, slot)| front.set_answering(*slot, true));
        }
        let is_adopted = self.shared.adopted_by_all() >= self.policy.generation;
        let gated = wanted && is_adopted && board.is_gate_safe(listener);
        if let Some(is_gated) = self.front.gated.get_mut(usize::from(listener)).filter(|old| **old != gated) {
            *is_gated = gated;
            slots.iter().for_each(|(_, slot)| front.set_gate(*slot, gated));
        }
        if !wanted && board.is_answering(listener) {
            slots.iter().for_each(|(_, slot)| front.set_answering(*slot, false));
            board.set_answering(listener, false);
        }
    }

    /// A new policy is in place: listeners may have other numbers, slots other listeners. `old`: slots until now. To be
    /// called before the others hear that it was adopted.
    pub(super) fn adopt_front(&mut self, old: &[(ListenerId, CookieSlot)], now: Instant) {
        let Some(front) = self.shared.forefront.clone() else { return };
        let policy = Arc::clone(&self.policy);
        let slots = &policy.front_slots;
        if old != slots.as_slice() {
            self.front.mixed_until = now + half_open_lifetime();
        }
        self.tell_ready(now);
        if self.id != LEADER || old == slots.as_slice() {
            return;
        }
        for (listener, _) in old.iter().filter(|(listener, _)| slots.iter().all(|(new, _)| new != listener)) {
            // Its slots are switched off already: the program was told first.
            self.shared.board.set_answering(*listener, false);
        }
        // Nothing stays shut over a change: who is ready was said of other numbers.
        self.front.gated.fill(false);
        for &(listener, slot) in slots {
            front.set_gate(slot, false);
            front.set_answering(slot, self.shared.board.is_answering(listener));
            let is_new = old.iter().all(|(_, other)| *other != slot);
            if let Some(counted) = self.front.counted.get_mut(slot.index()).filter(|_| is_new) {
                *counted = front.counts(slot);
            }
        }
    }

    /// Adds what the front did to what this worker counts. The leader, before attack rates are judged.
    pub(super) fn count_front(&mut self, now: Instant) {
        let Some(front) = self.shared.forefront.clone().filter(|_| self.id == LEADER) else { return };
        let policy = Arc::clone(&self.policy);
        for slots in policy.front_slots.chunk_by(|(one, _), (other, _)| one == other) {
            let Some(&(listener, _)) = slots.first() else { continue };
            let mut sum = CookieCounts::default();
            for (_, slot) in slots {
                let Some(counted) = self.front.counted.get_mut(slot.index()) else { continue };
                let counts = front.counts(*slot);
                let grown = |now: u64, before: u64| now.saturating_sub(before);
                sum.answered += grown(counts.answered, counted.answered);
                sum.forged += grown(counts.forged, counted.forged);
                sum.no_flow += grown(counts.no_flow, counted.no_flow);
                *counted = counts;
            }
            self.count_front_of(listener, &sum, now);
        }
        let unlisted = front.overflowed().saturating_sub(self.page.get(Counter::XdpFlowsUnlisted));
        self.page.add(Counter::XdpFlowsUnlisted, unlisted);
    }

    fn count_front_of(&mut self, listener: ListenerId, sum: &CookieCounts, now: Instant) {
        let total = self.shared.board.valid(listener);
        let valid = self.front.valid.get_mut(usize::from(listener)).map_or(0, |seen| {
            let valid = total.saturating_sub(*seen);
            *seen = total;
            valid
        });
        for (counter, count) in [
            (Counter::SynReceived, sum.answered),
            (Counter::SynAckSent, sum.answered),
            (Counter::CookiesSent, sum.answered),
            (Counter::XdpSynsAnswered, sum.answered),
            (Counter::XdpAcksForged, sum.forged),
            (Counter::XdpSegmentsStray, sum.no_flow),
        ] {
            self.page.add(counter, count);
        }
        self.page.add_attack(AttackKind::AckFlood, sum.forged);
        self.page.add_attack(AttackKind::RstFlood, sum.no_flow);
        self.detector.count_many(Some(listener), AttackKind::SynFlood, sum.answered);
        self.detector.count_many(Some(listener), AttackKind::AckFlood, sum.forged);
        self.detector.count_many(Some(listener), AttackKind::RstFlood, sum.no_flow);
        self.detector.count_completed(listener, valid);
        if let Some(switch) = self.switches.get_mut(usize::from(listener)).filter(|switch| switch.is_on()) {
            switch.on_cookies(sum.answered, valid, now);
        }
    }

    /// Listeners answered in front, and those whose gate is shut. Of the leader.
    pub(super) fn set_front_gauges(&self) {
        if self.id != LEADER || self.shared.forefront.is_none() {
            return;
        }
        let listeners = 0..self.policy.listeners.len();
        let answering = listeners.filter(|&id| self.shared.board.is_answering(id as ListenerId));
        self.page.set(Gauge::XdpCookieListeners, answering.count() as u64);
        let gated = self.front.gated.iter().filter(|is_gated| **is_gated);
        self.page.set(Gauge::XdpGatedListeners, gated.count() as u64);
    }
}
