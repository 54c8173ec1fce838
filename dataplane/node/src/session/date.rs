//! Times as HTTP and logs write them, made once a second.
//!
//! Owns: [`Date`], both forms of the present second. Does not own: the clock; the worker's time counts from the
//! Unix epoch.

use std::io::Write;

use secbeat_net::time::Instant;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The present second, written out.
#[derive(Debug)]
pub(super) struct Date {
    second: Option<u64>,
    http: Vec<u8>,
    rfc3339: Vec<u8>,
}

impl Date {
    pub(super) fn new() -> Self {
        Self { second: None, http: Vec::new(), rfc3339: Vec::new() }
    }

    /// For the field `Date` (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub(super) fn http(&mut self, now: Instant) -> &[u8] {
        self.update(now);
        &self.http
    }

    /// RFC 3339 without fraction and zone: `1994-11-06T08:49:37`.
    pub(super) fn rfc3339(&mut self, now: Instant) -> &[u8] {
        self.update(now);
        &self.rfc3339
    }

    fn update(&mut self, now: Instant) {
        let second = now.as_secs();
        if self.second == Some(second) {
            return;
        }
        self.second = Some(second);
        let (days, time) = (second / 86_400, second % 86_400);
        let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
        let (year, month, day) = civil(days);
        self.http.clear();
        self.rfc3339.clear();
        let name = MONTHS[(month - 1) as usize];
        // Writing to memory does not fail.
        let _ = write!(
            self.http,
            "{}, {day:02} {name} {year:04} {hour:02}:{minute:02}:{second:02} GMT",
            DAYS[(days % 7) as usize]
        );
        let _ = write!(self.rfc3339, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    }
}

/// Year, month and day of the day so many days after 1970-01-01, by counting years from March so that the leap day is
/// the last of a year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_the_calendar() {
        let mut date = Date::new();
        for (second, http, rfc3339) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT", "2000-02-29T00:00:00"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT", "2026-12-31T23:59:59"),
        ] {
            let now = Instant::from_millis(second * 1_000 + 999);
            assert_eq!(date.http(now), http.as_bytes());
            assert_eq!(date.rfc3339(now), rfc3339.as_bytes());
        }
    }
}
