//! Whether a figure has changed, or only its noise has.
//!
//! Owns: the statistics. Samples are few (five, or one), so three things must come together before a change counts:
//!
//! 1. it is larger than the tolerance;
//! 2. it is larger than [`DEVIATIONS`] standard errors of a difference of medians, the spread taken from the row itself
//!    and at least that of its kind of figure over all rows (five samples often lie close by chance);
//! 3. zero lies outside the bootstrap interval of the difference of medians, where there are three samples or more.
//!
//! Times and rates are compared as logarithms, so halving and doubling weigh the same. Shares of connections
//! are compared in points, their noise that of counting, or of the repetitions when that is larger.

use std::collections::BTreeMap;

use crate::flood::Random;
use crate::stats;

/// Standard errors that a change must exceed. With some hundred figures in a file, two would always find something.
const DEVIATIONS: f64 = 3.5;
/// A median's standard error is that of a mean times this (normal noise).
const MEDIAN_FACTOR: f64 = 1.253;
/// Standard deviation of a logarithm that no measurement here falls below.
const DEVIATION_MIN: f64 = 0.01;
/// The same where nothing is known of the spread: figures with one sample.
const DEVIATION_OF_ONE: f64 = 0.15;
/// Share of resamplings outside the bootstrap interval, on each side.
const OUTSIDE: f64 = 0.005;
/// Resamplings of the bootstrap.
const RESAMPLINGS: usize = 1_000;
/// Peers' rows that must agree on how the machine has changed.
const DRIFT_ROWS_MIN: usize = 3;
/// A share must change by so many points to count at all.
const POINTS_MIN: f64 = 0.5;
/// From a median absolute deviation to a standard deviation (normal noise).
const MAD_FACTOR: f64 = 1.4826;

/// How a figure is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// By its ratio.
    Ratio,
    /// By its difference in percentage points.
    Points,
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A regression.
    Worse,
    /// Within noise or tolerance.
    Same,
    /// An improvement.
    Better,
}

impl Verdict {
    /// For the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Worse => "WORSE",
            Self::Same => "",
            Self::Better => "better",
        }
    }
}

/// Typical spread of each kind of figure: the median over all rows, as the deviation of the logarithm.
#[derive(Clone, Debug, Default)]
pub(super) struct Typical(BTreeMap<String, f64>);

impl Typical {
    /// From all rows of both results.
    pub(super) fn of<'a>(figures: impl Iterator<Item = (&'a String, &'a Vec<f64>)>) -> Self {
        let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (metric, samples) in figures {
            if let Some(deviation) = deviation(&logarithms(samples)) {
                all.entry(metric.clone()).or_default().push(deviation);
            }
        }
        Self(all.into_iter().filter_map(|(metric, found)| Some((metric, stats::median(&found)?))).collect())
    }

    /// Of one figure; a broad guess when every row has one sample.
    pub(super) fn of_metric(&self, metric: &str) -> f64 {
        self.0.get(metric).copied().unwrap_or(DEVIATION_OF_ONE).max(DEVIATION_MIN)
    }
}

/// How the machine has changed, as a logarithm, and how sure that is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Drift {
    change: f64,
    error: f64,
}

impl Drift {
    /// The middle of the peers' changes; none when they are too few.
    pub(super) fn of(changes: &[f64]) -> Option<Self> {
        let change = stats::median(changes).filter(|_| changes.len() >= DRIFT_ROWS_MIN)?;
        let distances: Vec<f64> = changes.iter().map(|one| (one - change).abs()).collect();
        let deviation = MAD_FACTOR * stats::median(&distances).unwrap_or(0.0);
        Some(Self { change, error: MEDIAN_FACTOR * deviation / (changes.len() as f64).sqrt() })
    }
}

/// A figure before and now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    /// Median before.
    pub(super) before: f64,
    /// Median now.
    pub(super) now: f64,
    /// The change without the machine's: logarithm of a ratio, or points.
    pub(super) change: f64,
    /// What chance alone may make of it.
    pub(super) noise: f64,
    /// The machine's change that was taken out.
    pub(super) drift: f64,
    /// Bootstrap interval of the change, when there were samples enough.
    pub(super) interval: Option<(f64, f64)>,
}

impl Change {
    /// Of times, rates and sizes.
    pub(super) fn of_ratio(before: &[f64], now: &[f64], typical: f64, drift: Drift) -> Self {
        let (old, new) = (logarithms(before), logarithms(now));
        let middle = |samples: &[f64]| stats::median(samples).unwrap_or(0.0);
        let pooled = match (deviation(&old), deviation(&new)) {
            (Some(old), Some(new)) => ((old * old + new * new) / 2.0).sqrt(),
            (old, new) => old.or(new).unwrap_or(typical),
        };
        let spread = pooled.max(typical);
        let counts = 1.0 / old.len().max(1) as f64 + 1.0 / new.len().max(1) as f64;
        let error = ((MEDIAN_FACTOR * spread).powi(2) * counts + drift.error.powi(2)).sqrt();
        let (change, noise) = (middle(&new) - middle(&old) - drift.change, DEVIATIONS * error);
        // Resampling is slow, and a change within the noise is none whatever it says.
        let interval = (old.len() >= 3 && new.len() >= 3 && change.abs() > noise)
            .then(|| bootstrap(&old, &new))
            .map(|(low, high)| (low - drift.change, high - drift.change));
        Self { before: middle(before), now: middle(now), change, noise, drift: drift.change, interval }
    }

    /// Of shares: (succeeded, count) of each repetition.
    pub(super) fn of_share(before: Vec<(f64, f64)>, now: Vec<(f64, f64)>) -> Self {
        let (old, old_count, old_error) = share(&before);
        let (new, new_count, new_error) = share(&now);
        // Half a success and half a failure more: no share is certain.
        let pooled = (old * old_count + new * new_count + 0.5) / (old_count + new_count + 1.0);
        let counting = pooled * (1.0 - pooled) * (1.0 / old_count.max(1.0) + 1.0 / new_count.max(1.0));
        let error = counting.max(old_error.powi(2) + new_error.powi(2)).sqrt();
        Self {
            before: 100.0 * old,
            now: 100.0 * new,
            change: 100.0 * (new - old),
            noise: 100.0 * DEVIATIONS * error,
            drift: 0.0,
            interval: None,
        }
    }

    /// Whether that is a change for the better, the worse or none.
    pub(super) fn judge(&self, scale: Scale, higher_is_better: bool, tolerance: f64) -> Verdict {
        let least = match scale {
            Scale::Ratio => tolerance.ln_1p(),
            Scale::Points => POINTS_MIN,
        };
        let beyond = self.interval.is_none_or(|(low, high)| low > 0.0 || high < 0.0);
        if self.change.abs() <= least.max(self.noise) || !beyond {
            return Verdict::Same;
        }
        if (self.change > 0.0) == higher_is_better { Verdict::Better } else { Verdict::Worse }
    }
}

/// The share of all repetitions, how many there were, and the standard error that the repetitions show.
fn share(parts: &[(f64, f64)]) -> (f64, f64, f64) {
    let succeeded: f64 = parts.iter().map(|part| part.0).sum();
    let count: f64 = parts.iter().map(|part| part.1).sum();
    let shares: Vec<f64> = parts.iter().filter(|part| part.1 > 0.0).map(|part| part.0 / part.1).collect();
    let error = deviation(&shares).unwrap_or(0.0) / (shares.len().max(1) as f64).sqrt();
    (succeeded / count.max(1.0), count, error)
}

/// Zero has no logarithm: such a sample counts as one of the smallest unit.
fn logarithms(samples: &[f64]) -> Vec<f64> {
    samples.iter().map(|sample| sample.max(1e-3).ln()).collect()
}

/// Standard deviation of the samples; `None` for fewer than two.
fn deviation(samples: &[f64]) -> Option<f64> {
    if samples.len() < 2 {
        return None;
    }
    let mean = samples.iter().sum::<f64>() / samples.len() as f64;
    let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
    Some((squares / (samples.len() - 1) as f64).sqrt())
}

/// Interval of the difference of medians under resampling. The seed is fixed: the same files give the same verdict.
fn bootstrap(old: &[f64], new: &[f64]) -> (f64, f64) {
    let mut random = Random::new(0x5ecb_ea70);
    let mut draw = |samples: &[f64]| {
        let drawn: Vec<f64> =
            samples.iter().map(|_| samples[random.below(samples.len() as u64) as usize]).collect();
        stats::median(&drawn).unwrap_or(0.0)
    };
    let mut differences: Vec<f64> = (0..RESAMPLINGS).map(|_| draw(new) - draw(old)).collect();
    differences.sort_by(f64::total_cmp);
    let at = |share: f64| differences[((RESAMPLINGS - 1) as f64 * share).round() as usize];
    (at(OUTSIDE), at(1.0 - OUTSIDE))
}
