//! Table or cookies: the switch of `syn_cookies = "auto"`, one per listener and worker.
//!
//! ```text
//!                half-open >= high
//!       TABLE  ---------------------->  COOKIES
//!              <----------------------
//!                unanswered < low, and at least `dwell` since the switch
//! ```
//! While cookies are sent nothing is half open, so the way back is decided by how many *would* be: cookies sent in the
//! last 15 s (as long as a table entry lives) less those that came back valid. `low < high` and the dwell time
//! keep it from flapping.
//!
//! Owns: the state and that estimate. Does not own: the table. Cost: two additions per SYN.

use core::time::Duration;

use crate::time::Instant;

/// Seconds over which unanswered cookies are summed: the life of a half-open entry.
const WINDOW_SECS: usize = 15;

/// When to switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchLimits {
    /// Half-open connections from which cookies are used.
    pub high: u32,
    /// Unanswered SYN-ACKs below which the table is used again.
    pub low: u32,
    /// Shortest time with cookies.
    pub dwell: Duration,
}

impl SwitchLimits {
    /// For a backlog of `backlog` entries: on when it is full, off at an eighth, no sooner than after 10 s.
    pub const fn for_backlog(backlog: u32) -> Self {
        let high = if backlog == 0 { 1 } else { backlog };
        Self { high, low: high.div_ceil(8), dwell: Duration::from_secs(10) }
    }
}

/// A change of the switch, to be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switched {
    /// From the table to cookies.
    ToCookies,
    /// From cookies back to the table.
    ToTable,
}

/// The switch of one listener.
#[derive(Clone, Debug)]
pub struct CookieSwitch {
    on: bool,
    changed: Instant,
    /// Cookies sent less cookies validated, by second modulo the window.
    seconds: [i64; WINDOW_SECS],
    /// The newest second in `seconds`.
    second: u64,
}

impl CookieSwitch {
    /// A switch that starts with the table.
    pub const fn new(now: Instant) -> Self {
        Self { on: false, changed: now, seconds: [0; WINDOW_SECS], second: now.as_secs() }
    }

    /// Whether SYNs are answered with cookies.
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// A cookie was sent.
    #[inline]
    pub fn on_cookie_sent(&mut self, now: Instant) {
        self.add(1, now);
    }

    /// A cookie came back and was valid.
    #[inline]
    pub fn on_cookie_valid(&mut self, now: Instant) {
        self.add(-1, now);
    }

    /// Cookies were sent and came back where nobody could tell at once.
    pub fn on_cookies(&mut self, sent: u64, valid: u64, now: Instant) {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.add(count(sent).saturating_sub(count(valid)), now);
    }

    /// Cookies are to be used whatever is half open here: another worker's table is full. True when this is a change.
    pub fn turn_on(&mut self, now: Instant) -> bool {
        let is_change = !self.on;
        if is_change {
            self.on = true;
            self.changed = now;
        }
        is_change
    }

    /// Cookies of the last 15 s that did not come back.
    pub fn unanswered(&mut self, now: Instant) -> u64 {
        self.forget_before(now);
        u64::try_from(self.seconds.iter().sum::<i64>()).unwrap_or(0)
    }

    /// Decides again, knowing how many connections of this listener are half open in the table. To be asked at each
    /// SYN that is to go to the table, and now and then while cookies are on.
    pub fn decide(&mut self, half_open: u32, limits: &SwitchLimits, now: Instant) -> Option<Switched> {
        if !self.on {
            if half_open < limits.high {
                return None;
            }
            self.on = true;
            self.changed = now;
            return Some(Switched::ToCookies);
        }
        let quiet = self.unanswered(now) < u64::from(limits.low) && half_open < limits.high;
        if !quiet || now - self.changed < limits.dwell {
            return None;
        }
        self.on = false;
        self.changed = now;
        Some(Switched::ToTable)
    }

    #[inline]
    fn add(&mut self, count: i64, now: Instant) {
        self.forget_before(now);
        if let Some(sum) = self.seconds.get_mut((self.second % WINDOW_SECS as u64) as usize) {
            *sum = sum.saturating_add(count);
        }
    }

    /// Clears the seconds that have left the window.
    #[inline]
    fn forget_before(&mut self, now: Instant) {
        let steps = now.as_secs().saturating_sub(self.second).min(WINDOW_SECS as u64);
        for _ in 0..steps {
            self.second += 1;
            if let Some(sum) = self.seconds.get_mut((self.second % WINDOW_SECS as u64) as usize) {
                *sum = 0;
            }
        }
        self.second = self.second.max(now.as_secs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SwitchLimits = SwitchLimits { high: 100, low: 10, dwell: Duration::from_secs(10) };

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1000)
    }

    #[test]
    fn a_full_backlog_switches_cookies_on_at_once() {
        let mut switch = CookieSwitch::new(at(0));
        assert_eq!(switch.decide(99, &LIMITS, at(1)), None);
        assert!(!switch.is_on());
        assert_eq!(switch.decide(100, &LIMITS, at(1)), Some(Switched::ToCookies));
        assert!(switch.is_on());
        assert_eq!(switch.decide(100, &LIMITS, at(1)), None);
    }

    #[test]
    fn cookies_stay_on_while_they_go_unanswered() {
        let mut switch = CookieSwitch::new(at(0));
        assert!(switch.decide(100, &LIMITS, at(0)).is_some());
        for second in 0..60 {
            for _ in 0..5 {
                switch.on_cookie_sent(at(second));
            }
            assert_eq!(switch.decide(0, &LIMITS, at(second)), None, "second {second}");
        }
        // The attack ends at 60 s; its last cookies leave the window 15 s later.
        assert_eq!(switch.unanswered(at(60)), 70);
        assert_eq!(switch.decide(0, &LIMITS, at(72)), None);
        assert_eq!(switch.decide(0, &LIMITS, at(73)), Some(Switched::ToTable));
    }

    #[test]
    fn answered_cookies_do_not_keep_it_on_but_the_dwell_time_does() {
        let mut switch = CookieSwitch::new(at(0));
        assert!(switch.decide(100, &LIMITS, at(0)).is_some());
        for second in 0..10 {
            for _ in 0..1000 {
                switch.on_cookie_sent(at(second));
                switch.on_cookie_valid(at(second));
            }
            assert_eq!(switch.decide(0, &LIMITS, at(second)), None);
        }
        assert_eq!(switch.decide(0, &LIMITS, at(10)), Some(Switched::ToTable));
    }

    #[test]
    fn a_table_still_full_keeps_cookies_on() {
        let mut switch = CookieSwitch::new(at(0));
        assert!(switch.decide(100, &LIMITS, at(0)).is_some());
        assert_eq!(switch.decide(100, &LIMITS, at(20)), None);
        assert_eq!(switch.decide(99, &LIMITS, at(20)), Some(Switched::ToTable));
    }

    #[test]
    fn cookies_counted_elsewhere_keep_it_on_and_a_wish_turns_it_on_once() {
        let mut switch = CookieSwitch::new(at(0));
        assert!(switch.turn_on(at(0)));
        assert!(!switch.turn_on(at(1)), "it is on already");
        switch.on_cookies(500, 200, at(1));
        assert_eq!(switch.unanswered(at(1)), 300);
        assert_eq!(switch.decide(0, &LIMITS, at(12)), None);
        switch.on_cookies(u64::MAX, 0, at(12));
        switch.on_cookies(0, u64::MAX, at(12));
        assert_eq!(switch.decide(0, &LIMITS, at(40)), Some(Switched::ToTable));
        assert!(switch.turn_on(at(41)));
    }

    #[test]
    fn a_long_pause_clears_the_whole_window() {
        let mut switch = CookieSwitch::new(at(0));
        switch.on_cookie_sent(at(3));
        assert_eq!(switch.unanswered(at(17)), 1);
        assert_eq!(switch.unanswered(at(18)), 0);
        switch.on_cookie_sent(at(18));
        assert_eq!(switch.unanswered(at(1_000_000)), 0);
        assert_eq!(SwitchLimits::for_backlog(0).high, 1);
    }
}
