//! A hierarchical timer wheel: one deadline per slot of a table, set and cleared in constant time.
//!
//! Owns: four levels of 64 slots with a tick of 1 ms, and the links of the entries, taken once at `new`. Does
//! not own: what a deadline means. The intended use is lazy: an owner whose deadline moved *later* leaves its entry
//! alone and schedules again when it fires, so that a busy flow does not touch the wheel.
//!
//! ```text
//! level 0: 64 slots of 1 ms   level 1: 64 ms   level 2: 4.1 s   level 3: 4.4 min, in all 4 h 39 min
//! ```
//! An entry moves down a level when its time comes near ("cascade"). It never fires early, except that a deadline
//! beyond the last level fires at its end; the owner then schedules it again. It fires at most one tick late.
//! Cost: about 10 ns to schedule, 16 bytes per entry.

use core::time::Duration;

use crate::time::Instant;

/// Length of a tick. Shorter would only make more empty ticks: the shortest timer of the data plane is 250 ms.
pub const TICK: Duration = Duration::from_millis(1);

const LEVELS: usize = 4;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Ticks that the wheel spans.
const SPAN_TICKS: u64 = 1 << (SLOT_BITS * LEVELS as u32);
/// End of a list, and "in no list".
const NONE: u32 = u32::MAX;
/// `Entry::list` of an entry that is due.
const DUE: u32 = (LEVELS * SLOTS) as u32;

#[derive(Clone, Copy, Debug)]
struct Entry {
    next: u32,
    previous: u32,
    /// `level * SLOTS + slot`, `DUE`, or `NONE` when not scheduled.
    list: u32,
    /// Lower half of the deadline in ticks: the span is far below 2^31, so the present tells the upper half.
    tick: u32,
}

/// Deadlines of the entries `0..capacity`.
#[derive(Debug)]
pub struct TimerWheel {
    /// The first tick not yet handled.
    tick: u64,
    entries: Box<[Entry]>,
    heads: [u32; LEVELS * SLOTS + 1],
    /// Per level one bit per slot that is not empty.
    occupied: [u64; LEVELS],
}

impl TimerWheel {
    /// A wheel for the entries `0..capacity`, none scheduled, at `now`.
    pub fn new(capacity: u32, now: Instant) -> Self {
        let entry = Entry { next: NONE, previous: NONE, list: NONE, tick: 0 };
        Self {
            tick: now.as_millis(),
            entries: vec![entry; capacity as usize].into_boxed_slice(),
            heads: [NONE; LEVELS * SLOTS + 1],
            occupied: [0; LEVELS],
        }
    }

    /// Sets an empty wheel to the present, so that deadlines are measured from it; does nothing to one in use.
    pub fn skip_to(&mut self, now: Instant) {
        if self.occupied == [0; LEVELS] && self.heads[DUE as usize] == NONE {
            self.tick = self.tick.max(now.as_millis());
        }
    }

    /// Sets the deadline of `index`, replacing an earlier one. An index beyond the capacity is ignored.
    pub fn schedule(&mut self, index: u32, at: Instant) {
        self.cancel(index);
        // Rounded up: never early.
        let tick = at.as_nanos().div_ceil(TICK.as_nanos() as u64);
        self.insert(index, tick);
    }

    /// Clears the deadline of `index`.
    pub fn cancel(&mut self, index: u32) {
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        let Entry { next, previous, list, .. } = *entry;
        if list == NONE {
            return;
        }
        *entry = Entry { next: NONE, previous: NONE, list: NONE, tick: 0 };
        match previous {
            NONE => self.heads[list as usize] = next,
            previous => self.entries[previous as usize].next = next,
        }
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if self.heads[list as usize] == NONE && list != DUE {
            self.occupied[list as usize / SLOTS] &= !(1 << (list as usize % SLOTS));
        }
    }

    /// Whether `index` has a deadline.
    pub fn is_scheduled(&self, index: u32) -> bool {
        self.entries.get(index as usize).is_some_and(|entry| entry.list != NONE)
    }

    /// Takes one entry whose deadline has passed; it is no longer scheduled.
    pub fn poll_expired(&mut self, now: Instant) -> Option<u32> {
        let now = now.as_millis();
        loop {
            let due = self.heads[DUE as usize];
            if due != NONE {
                self.cancel(due);
                return Some(due);
            }
            match self.next_tick() {
                Some(next) if next <= now => self.advance(next),
                _ => {
                    self.tick = self.tick.max(now + 1);
                    return None;
                }
            }
        }
    }

    /// The earliest time at which [`TimerWheel::poll_expired`] may have something. A lower bound: at that time
    /// entries may only move down a level.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.heads[DUE as usize] != NONE {
            return Some(Instant::from_millis(self.tick.saturating_sub(1)));
        }
        self.next_tick().map(Instant::from_millis)
    }

    /// The first tick at which a slot must be looked at.
    fn next_tick(&self) -> Option<u64> {
        let mut first = None;
        for (level, occupied) in self.occupied.iter().enumerate() {
            if *occupied == 0 {
                continue;
            }
            let shift = SLOT_BITS * level as u32;
            // The next turn of this level's hand; slots before it were emptied when the hand passed.
            let base = self.tick.div_ceil(1 << shift);
            let distance = occupied.rotate_right((base % SLOTS as u64) as u32).trailing_zeros();
            let tick = (base + u64::from(distance)) << shift;
            first = Some(first.map_or(tick, |first: u64| first.min(tick)));
        }
        first
    }

    /// Goes to `tick`, at or before which no other slot needs a look: cascades, then makes its entries due.
    fn advance(&mut self, tick: u64) {
        self.tick = tick;
        for level in (1..LEVELS).rev() {
            let shift = SLOT_BITS * level as u32;
            if tick.is_multiple_of(1 << shift) {
                let mut index = self.take_list(level, (tick >> shift) as usize % SLOTS);
                while index != NONE {
                    let Entry { next, tick: low, .. } = self.entries[index as usize];
                    self.insert(index, tick + u64::from(low.wrapping_sub(tick as u32)));
                    index = next;
                }
            }
        }
        let first = self.take_list(0, tick as usize % SLOTS);
        self.heads[DUE as usize] = first;
        let mut index = first;
        while index != NONE {
            let entry = &mut self.entries[index as usize];
            entry.list = DUE;
            index = entry.next;
        }
        self.tick = tick + 1;
    }

    fn take_list(&mut self, level: usize, slot: usize) -> u32 {
        self.occupied[level] &= !(1 << slot);
        core::mem::replace(&mut self.heads[level * SLOTS + slot], NONE)
    }

    fn insert(&mut self, index: u32, tick: u64) {
        let tick = tick.clamp(self.tick, self.tick + SPAN_TICKS - 1);
        let distance = tick - self.tick;
        // The level whose slots are just short enough to tell `tick` from the present.
        let level = (distance.max(1).ilog2() / SLOT_BITS) as usize;
        let slot = (tick >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        let list = level * SLOTS + slot;
        let head = self.heads[list];
        let Some(entry) = self.entries.get_mut(index as usize) else { return };
        *entry = Entry { next: head, previous: NONE, list: list as u32, tick: tick as u32 };
        if head != NONE {
            self.entries[head as usize].previous = index;
        }
        self.heads[list] = index;
        self.occupied[level] |= 1 << slot;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn expired(wheel: &mut TimerWheel, now: u64) -> Vec<u32> {
        let mut fired: Vec<u32> = core::iter::from_fn(|| wheel.poll_expired(at(now))).collect();
        fired.sort_unstable();
        fired
    }

    #[test]
    fn entry_fires_at_its_deadline_on_every_level() {
        for deadline in [0, 1, 63, 64, 65, 4_095, 4_096, 262_143, 262_144, 9_999_999] {
            let mut wheel = TimerWheel::new(1, at(0));
            wheel.schedule(0, at(deadline));
            if deadline > 0 {
                assert_eq!(expired(&mut wheel, deadline - 1), [], "early for {deadline}");
            }
            assert_eq!(expired(&mut wheel, deadline), [0], "not at {deadline}");
            assert_eq!(wheel.poll_timeout(), None);
        }
    }

    #[test]
    fn fraction_of_a_tick_is_rounded_up() {
        let mut wheel = TimerWheel::new(1, at(0));
        wheel.schedule(0, Instant::from_nanos(1_000_001));
        assert_eq!(wheel.poll_expired(Instant::from_nanos(1_999_999)), None);
        assert_eq!(wheel.poll_expired(at(2)), Some(0));
    }

    #[test]
    fn past_deadline_fires_in_the_next_tick() {
        let mut wheel = TimerWheel::new(1, at(1_000));
        assert_eq!(wheel.poll_expired(at(1_000)), None);
        wheel.schedule(0, at(3));
        assert_eq!(wheel.poll_expired(at(1_001)), Some(0));
    }

    #[test]
    fn deadline_beyond_the_span_fires_at_its_end() {
        let mut wheel = TimerWheel::new(1, at(0));
        wheel.schedule(0, at(10 * SPAN_TICKS));
        assert_eq!(expired(&mut wheel, SPAN_TICKS - 1), [0]);
    }

    #[test]
    fn cancelled_entry_does_not_fire_even_when_due() {
        let mut wheel = TimerWheel::new(3, at(0));
        for index in 0..3 {
            wheel.schedule(index, at(5));
        }
        let first = wheel.poll_expired(at(5)).unwrap();
        let other = (first + 1) % 3;
        wheel.cancel(other);
        wheel.cancel(other);
        assert!(!wheel.is_scheduled(other));
        assert_eq!(expired(&mut wheel, 5), [3 - first - other]);
    }

    #[test]
    fn entry_scheduled_while_firing_waits_for_the_next_tick() {
        let mut wheel = TimerWheel::new(1, at(0));
        wheel.schedule(0, at(5));
        assert_eq!(wheel.poll_expired(at(5)), Some(0));
        wheel.schedule(0, at(5));
        assert_eq!(wheel.poll_expired(at(5)), None);
        assert_eq!(wheel.poll_expired(at(6)), Some(0));
    }

    #[test]
    fn empty_wheel_skips_to_the_present() {
        let mut wheel = TimerWheel::new(1, at(0));
        wheel.skip_to(at(100 * SPAN_TICKS));
        wheel.schedule(0, at(100 * SPAN_TICKS + 50));
        wheel.skip_to(at(200 * SPAN_TICKS));
        assert_eq!(expired(&mut wheel, 100 * SPAN_TICKS + 49), []);
        assert_eq!(expired(&mut wheel, 100 * SPAN_TICKS + 50), [0]);
    }

    #[test]
    fn index_beyond_the_capacity_is_ignored() {
        let mut wheel = TimerWheel::new(1, at(0));
        wheel.schedule(7, at(1));
        wheel.cancel(7);
        assert_eq!(wheel.poll_timeout(), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Schedule(u32, u64),
        Cancel(u32),
        Pass(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let delay = prop_oneof![0u64..70, 0u64..5_000, 0u64..300_000, 0u64..16_000_000];
        let step = prop_oneof![
            (0u32..20, delay.clone()).prop_map(|(index, delay)| Step::Schedule(index, delay)),
            (0u32..20).prop_map(Step::Cancel),
            delay.prop_map(Step::Pass),
        ];
        prop::collection::vec(step, 1..80)
    }

    proptest! {
        #[test]
        fn wheel_agrees_with_a_sorted_list(steps in steps()) {
            let mut now = 12_345;
            let mut wheel = TimerWheel::new(20, at(now));
            let mut model: [Option<u64>; 20] = [None; 20];
            for step in steps {
                match step {
                    Step::Schedule(index, delay) => {
                        wheel.schedule(index, at(now + delay));
                        model[index as usize] = Some(now + delay);
                    }
                    Step::Cancel(index) => {
                        wheel.cancel(index);
                        model[index as usize] = None;
                    }
                    Step::Pass(delay) => {
                        // Stop short of the next call the wheel asks for, then go on: nothing may be missed.
                        now += delay.max(1);
                        let fired = expired(&mut wheel, now);
                        let expected: Vec<u32> = (0..20)
                            .filter(|index| model[*index as usize].is_some_and(|deadline| deadline <= now))
                            .collect();
                        // What was scheduled for the present tick may fire one tick later.
                        for index in &fired {
                            prop_assert!(expected.contains(index), "{index} early");
                            model[*index as usize] = None;
                        }
                        for index in expected {
                            prop_assert!(fired.contains(&index), "{index} late");
                        }
                        let earliest = model.iter().flatten().min();
                        prop_assert_eq!(wheel.poll_timeout().is_some(), earliest.is_some());
                        if let (Some(bound), Some(earliest)) = (wheel.poll_timeout(), earliest) {
                            prop_assert!(bound <= at(*earliest));
                        }
                    }
                }
            }
        }
    }
}
