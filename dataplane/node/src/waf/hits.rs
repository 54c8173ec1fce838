//! How often each rule matched.
//!
//! Owns: [`Hits`], counts by the name of a rule, kept over reloads. Workers add to a count that they were given; the
//! lock is for loading and for whoever reads the numbers. Bounded by the rules of the set in force.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts by rule.
#[derive(Debug, Default)]
pub struct Hits(Mutex<BTreeMap<Arc<str>, Arc<AtomicU64>>>);

impl Hits {
    /// The count of a rule.
    pub fn place(&self, name: &Arc<str>) -> Arc<AtomicU64> {
        Arc::clone(self.lock().entry(Arc::clone(name)).or_default())
    }

    /// Forgets rules that are not there any more and never matched.
    pub fn keep(&self, is_there: impl Fn(&str) -> bool) {
        self.lock().retain(|name, count| count.load(Ordering::Relaxed) > 0 || is_there(name));
    }

    /// Rules that matched, with how often.
    pub fn counts(&self) -> Vec<(String, u64)> {
        let all = self.lock();
        let counts = all.iter().map(|(name, count)| (name.to_string(), count.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, Arc<AtomicU64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_outlive_the_rules_that_made_them() {
        let hits = Hits::default();
        let (one, two): (Arc<str>, Arc<str>) = ("942100".into(), "942110".into());
        hits.place(&one).fetch_add(3, Ordering::Relaxed);
        hits.place(&two);
        hits.keep(|_| false);
        assert_eq!(hits.counts(), [("942100".to_owned(), 3)]);
        hits.place(&one).fetch_add(1, Ordering::Relaxed);
        assert_eq!(hits.counts(), [("942100".to_owned(), 4)]);
    }
}
