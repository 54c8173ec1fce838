//! The last value of every metric of a node.
//!
//! Owns: the decoding of telemetry: a whole report brings names, later ones only numbers of names. Nodes of one
//! version report the same names, so lists of names are kept once and shared: a node costs 8 bytes for each sample.

use std::sync::{Arc, Weak};

use secbeat_proto::v1;

/// Samples that are kept of a node; what a node exports is a few hundred. More are left out and counted.
pub(super) const SAMPLES_MAX: usize = 4_096;
/// Bytes of a sample's name; longer ones are left out and counted.
pub(super) const NAME_BYTES_MAX: usize = 512;
/// Different lists of names that are looked through for one to share: one for each version and mode in a fleet.
const LISTS_MAX: usize = 32;

type Names = Arc<Vec<Option<String>>>;

/// Lists of names in use.
#[derive(Debug, Default)]
pub struct NamesShelf {
    lists: Vec<Weak<Vec<Option<String>>>>,
}

impl NamesShelf {
    fn share(&mut self, names: Vec<Option<String>>) -> Names {
        self.lists.retain(|list| list.strong_count() > 0);
        if let Some(known) = self.lists.iter().filter_map(Weak::upgrade).find(|known| **known == names) {
            return known;
        }
        let names = Arc::new(names);
        if self.lists.len() < LISTS_MAX {
            self.lists.push(Arc::downgrade(&names));
        }
        names
    }
}

/// Samples of one node.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    names: Names,
    values: Vec<f64>,
    /// Samples left out: too many, a name too long, a number without a name.
    pub dropped: u64,
}

impl Samples {
    /// Takes a report.
    pub fn take(&mut self, telemetry: &v1::Telemetry, shelf: &mut NamesShelf) {
        if telemetry.is_whole {
            self.replace(&telemetry.samples, shelf);
        } else {
            self.upsert(&telemetry.samples, shelf);
        }
        for sample in &telemetry.indexed {
            match self.values.get_mut(sample.index as usize) {
                Some(value) => *value = sample.value,
                None => self.dropped += 1,
            }
        }
    }

    fn replace(&mut self, samples: &[v1::Sample], shelf: &mut NamesShelf) {
        let kept = &samples[..samples.len().min(SAMPLES_MAX)];
        self.dropped += (samples.len() - kept.len()) as u64;
        // A refused name keeps its number: the numbers of later reports count it.
        let names = kept.iter().map(|sample| self.admit(&sample.name)).collect();
        self.values = kept.iter().map(|sample| sample.value).collect();
        self.names = shelf.share(names);
    }

    /// Samples by name outside a whole report: known names change, new ones come to the end.
    fn upsert(&mut self, samples: &[v1::Sample], shelf: &mut NamesShelf) {
        if samples.is_empty() {
            return;
        }
        let mut names: Vec<Option<String>> = self.names.to_vec();
        let known = names.len();
        for sample in samples {
            let at = names.iter().position(|name| name.as_deref() == Some(sample.name.as_str()));
            if let Some(value) = at.and_then(|at| self.values.get_mut(at)) {
                *value = sample.value;
            } else if names.len() < SAMPLES_MAX {
                let name = self.admit(&sample.name);
                names.push(name);
                self.values.push(sample.value);
            } else {
                self.dropped += 1;
            }
        }
        if names.len() > known {
            self.names = shelf.share(names);
        }
    }

    fn admit(&mut self, name: &str) -> Option<String> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            self.dropped += 1;
            return None;
        }
        Some(name.to_owned())
    }

    /// All of them, in the node's order.
    pub fn wire(&self) -> Vec<v1::Sample> {
        let named = self.names.iter().zip(&self.values);
        named.filter_map(|(name, value)| Some(v1::Sample { name: name.clone()?, value: *value })).collect()
    }
}
