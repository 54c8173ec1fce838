//! Times: milliseconds since 1970 inside, RFC 3339 outside.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// The last millisecond of the year 9999, the last that RFC 3339 can write.
const MS_MAX: u64 = 253_402_300_799_999;

/// A moment in UTC, to the millisecond (RFC 3339, ending in `Z`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-03-01T12:00:00.000Z")]
pub(super) struct Moment(u64);

impl Moment {
    /// The moment of a time that is 0 when there is none.
    pub(super) fn of(ms: u64) -> Option<Self> {
        (ms != 0).then_some(Self(ms.min(MS_MAX)))
    }

    /// Milliseconds since 1970 of a moment, or 0.
    pub(super) fn ms(moment: Option<Self>) -> u64 {
        moment.map_or(0, |moment| moment.0)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(self.0);
        serializer.collect_str(&humantime::format_rfc3339_millis(time))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || {
            serde::de::Error::custom("must be a time in UTC such as 2026-03-01T12:00:00Z, from 1970 to 9999")
        };
        let time = humantime::parse_rfc3339(&text).map_err(|_| wrong())?;
        let since = time.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| wrong())?;
        let ms = u64::try_from(since.as_millis()).map_err(|_| wrong())?;
        if ms > MS_MAX {
            return Err(wrong());
        }
        Ok(Self(ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_and_read_alike() {
        for (ms, text) in [
            (1, "\"1970-01-01T00:00:00.001Z\""),
            (1_772_366_400_000, "\"2026-03-01T12:00:00.000Z\""),
            (MS_MAX, "\"9999-12-31T23:59:59.999Z\""),
        ] {
            let moment = Moment::of(ms).unwrap();
            assert_eq!(serde_json::to_string(&moment).unwrap(), text);
            assert_eq!(serde_json::from_str::<Moment>(text).unwrap(), moment);
        }
        assert_eq!(Moment::of(0), None);
        assert_eq!(Moment::of(u64::MAX), Moment::of(MS_MAX));
    }

    #[test]
    fn what_is_no_time_in_utc_is_refused() {
        for bad in
            ["", "now", "2026-03-01", "2026-13-01T00:00:00Z", "1969-12-31T23:59:59Z", "12026-01-01T00:00:00Z"]
        {
            assert!(serde_json::from_value::<Moment>(bad.into()).is_err(), "{bad}");
        }
    }
}
