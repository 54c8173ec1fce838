//! `TIME` and its parts, in UTC: a node has no other zone than the one its operator reads logs in.

use super::data::Data;
use super::value::ValueId;
use crate::variable::Variable;

pub(super) const fn is_time(variable: Variable) -> bool {
    matches!(
        variable,
        Variable::Time
            | Variable::TimeDay
            | Variable::TimeEpoch
            | Variable::TimeHour
            | Variable::TimeMin
            | Variable::TimeMon
            | Variable::TimeSec
            | Variable::TimeWday
            | Variable::TimeYear
    )
}

pub(super) fn value(data: &mut Data, variable: Variable) -> ValueId {
    let now = data.time_unix_s;
    let (hour, minute, second) = (now / 3_600 % 24, now / 60 % 60, now % 60);
    let days = now / 86_400;
    let (year, month, day) = date(days);
    match variable {
        Variable::Time => {
            let digits = |number: u64| [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
            data.values.add_parts(&[&digits(hour), b":", &digits(minute), b":", &digits(second)])
        }
        Variable::TimeDay => data.number(day),
        Variable::TimeHour => data.number(hour),
        Variable::TimeMin => data.number(minute),
        Variable::TimeMon => data.number(month - 1),
        Variable::TimeSec => data.number(second),
        // 1 January 1970 was a Thursday.
        Variable::TimeWday => data.number((days + 4) % 7),
        Variable::TimeYear => data.number(year),
        _ => data.number(now),
    }
}

/// Year, month (1-12) and day (1-31) of a day since 1970: the civil calendar counted from 1 March of year 0, in eras of
/// 400 years.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(19_782), (2024, 2, 29));
        assert_eq!(date(19_783), (2024, 3, 1));
        assert_eq!(date(20_088), (2024, 12, 31));
        assert_eq!(date(47_540), (2100, 2, 28));
        assert_eq!(date(47_541), (2100, 3, 1));
    }
}
