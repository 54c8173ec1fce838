//! Whether one backend is usable: active checks, passive ejection, drain.
//!
//! ```text
//!   checks:    Unknown --fall failures--> Down --rise successes--> Up --fall failures--> Down
//!   ejection:  In --failures in a row--> Out(until) --until passed--> In     (back-off doubles each time)
//!   usable  =  has an address, not Down, not Out, not drained
//! ```
//!
//! Owns: the two state machines, pure. Does not own: the connections that feed them (`upstream::monitor`), nor the
//! rule that a group keeps one usable backend (`upstream::pool`).

use core::time::Duration;

use secbeat_net::time::Instant;

use super::settings::{EjectionSettings, HealthSettings};

/// What the checks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Checked {
    /// Not checked yet: taken as up, so that a node serves from its first packet.
    #[default]
    Unknown,
    /// The last checks succeeded.
    Up,
    /// The last checks failed.
    Down,
}

/// One backend's state.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    checked: Checked,
    /// Checks in a row that disagree with `checked`.
    streak: u32,
    ejected_until: Option<Instant>,
    /// Ejections so far, for the back-off; forgotten after a quiet time.
    ejections: u32,
    /// When the last ejection ended.
    returned_at: Option<Instant>,
}

impl Health {
    pub(super) fn checked(&self) -> Checked {
        self.checked
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.ejected_until.is_some()
    }

    /// Whether connections may be tried, address and drain aside.
    pub(super) fn is_usable(&self) -> bool {
        self.checked != Checked::Down && self.ejected_until.is_none()
    }

    /// When [`Health::on_tick`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.ejected_until
    }

    /// Notes one check. True when the state changed.
    pub(super) fn on_check(&mut self, success: bool, settings: &HealthSettings) -> bool {
        let (agrees, needed, next) = match (self.checked, success) {
            (Checked::Up, true) | (Checked::Down, false) => (true, 0, self.checked),
            (Checked::Down, true) => (false, settings.rise, Checked::Up),
            // The first success is enough after a start: it only confirms what is assumed.
            (Checked::Unknown, true) => (false, 1, Checked::Up),
            (Checked::Up | Checked::Unknown, false) => (false, settings.fall, Checked::Down),
        };
        if agrees {
            self.streak = 0;
            return false;
        }
        self.streak += 1;
        if self.streak < needed.max(1) {
            return false;
        }
        self.streak = 0;
        self.checked = next;
        true
    }

    /// Takes the backend out because connections to it failed in a row. True when it was in.
    pub(super) fn eject(&mut self, now: Instant, settings: &EjectionSettings) -> bool {
        if self.ejected_until.is_some() {
            return false;
        }
        if self.returned_at.is_some_and(|at| now.saturating_since(at) > settings.backoff_max) {
            self.ejections = 0;
        }
        let doublings = self.ejections.min(16);
        let backoff: Duration = settings.backoff.saturating_mul(1 << doublings).min(settings.backoff_max);
        self.ejections += 1;
        self.ejected_until = Some(now + backoff);
        true
    }

    /// Lets the backend back in when its time is over. True when it did.
    pub(super) fn on_tick(&mut self, now: Instant) -> bool {
        let over = self.ejected_until.is_some_and(|until| now >= until);
        if over {
            self.readmit(now);
        }
        over
    }

    /// Lets the backend back in at once.
    pub(super) fn readmit(&mut self, now: Instant) {
        self.ejected_until = None;
        self.returned_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKS: HealthSettings = HealthSettings {
        enable: true,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rise: 2,
        fall: 3,
    };
    const EJECTION: EjectionSettings = EjectionSettings {
        failures: 5,
        backoff: Duration::from_secs(10),
        backoff_max: Duration::from_secs(30),
    };

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1_000)
    }

    #[test]
    fn backend_is_usable_before_its_first_check() {
        assert!(Health::default().is_usable());
    }

    #[test]
    fn fall_failures_in_a_row_bring_it_down_and_rise_successes_up() {
        let mut health = Health::default();
        assert!(health.on_check(true, &CHECKS));
        for _ in 0..2 {
            assert!(!health.on_check(false, &CHECKS));
        }
        // One success in between starts the count again.
        assert!(!health.on_check(true, &CHECKS));
        for _ in 0..2 {
            assert!(!health.on_check(false, &CHECKS));
        }
        assert!(health.on_check(false, &CHECKS));
        assert!(!health.is_usable());
        assert!(!health.on_check(true, &CHECKS));
        assert!(health.on_check(true, &CHECKS));
        assert!(health.is_usable());
    }

    #[test]
    fn each_ejection_lasts_twice_as_long_up_to_the_maximum() {
        let mut health = Health::default();
        let mut now = at(0);
        for secs in [10, 20, 30, 30] {
            assert!(health.eject(now, &EJECTION));
            assert!(!health.eject(now, &EJECTION), "it is out already");
            assert!(!health.is_usable());
            now = now + Duration::from_secs(secs - 1);
            assert!(!health.on_tick(now));
            now = now + Duration::from_secs(1);
            assert!(health.on_tick(now));
            assert!(health.is_usable());
        }
    }

    #[test]
    fn quiet_time_forgets_earlier_ejections() {
        let mut health = Health::default();
        health.eject(at(0), &EJECTION);
        health.on_tick(at(10));
        health.eject(at(100), &EJECTION);
        assert_eq!(health.poll_timeout(), Some(at(110)));
    }
}
