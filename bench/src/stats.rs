//! Numbers about numbers: medians, percentiles, and how they are printed.

use std::time::Duration;

/// The value below which `percent` of the samples lie (nearest rank), or `None` without samples.
///
/// Nearest rank never invents a value between two samples, so a p99 is a latency that really happened.
pub(crate) fn percentile<T: Copy + Ord>(sorted: &[T], percent: f64) -> Option<T> {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// The middle of the samples; the lower of the two middles of an even count. `NaN`s are left out.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = samples.iter().copied().filter(|sample| !sample.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

/// A distribution of times in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub(crate) struct Spread {
    /// Half of the samples are at most this.
    pub(crate) p50_us: u64,
    /// 90 % of the samples are at most this.
    pub(crate) p90_us: u64,
    /// 99 % of the samples are at most this.
    pub(crate) p99_us: u64,
    /// The largest sample.
    pub(crate) max_us: u64,
}

impl Spread {
    /// The spread of `samples`; all zero without samples.
    pub(crate) fn of(samples: &[Duration]) -> Self {
        let mut sorted: Vec<u64> = samples.iter().map(|sample| sample.as_micros() as u64).collect();
        sorted.sort_unstable();
        let at = |percent| percentile(&sorted, percent).unwrap_or(0);
        Self { p50_us: at(50.0), p90_us: at(90.0), p99_us: at(99.0), max_us: at(100.0) }
    }
}

/// A time for people: `850 us`, `12.3 ms`, `2.95 s`.
pub(crate) fn show_us(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

/// A rate or count for people: `950`, `12.3 k`, `2.41 M`.
pub(crate) fn show_count(count: f64) -> String {
    match count.abs() {
        size if size < 1e3 => format!("{count:.0}"),
        size if size < 1e6 => format!("{:.1} k", count / 1e3),
        size if size < 1e9 => format!("{:.2} M", count / 1e6),
        _ => format!("{:.2} G", count / 1e9),
    }
}

/// A text table: columns padded to their widest cell, the first to the left, the rest to the right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_happened() {
        let sorted: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&sorted, 50.0), Some(50));
        assert_eq!(percentile(&sorted, 99.0), Some(99));
        assert_eq!(percentile(&sorted, 100.0), Some(100));
        assert_eq!(percentile(&sorted, 0.0), Some(1));
        assert_eq!(percentile(&[7], 99.0), Some(7));
        assert_eq!(percentile::<u64>(&[], 50.0), None);
    }

    #[test]
    fn median_ignores_outliers_and_needs_samples() {
        assert_eq!(median(&[1.0, 900.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn spread_counts_in_microseconds() {
        let samples: Vec<Duration> = (1..=1000).map(Duration::from_micros).collect();
        let want = Spread { p50_us: 500, p90_us: 900, p99_us: 990, max_us: 1000 };
        assert_eq!(Spread::of(&samples), want);
        assert_eq!(Spread::of(&[]), Spread::default());
    }

    #[test]
    fn people_read_three_digits() {
        assert_eq!(show_us(850), "850 us");
        assert_eq!(show_us(2_950_000), "2.95 s");
        assert_eq!(show_count(2_410_000.0), "2.41 M");
        assert_eq!(show_count(512.0), "512");
        assert_eq!(show_count(9.87e9), "9.87 G");
    }
}
