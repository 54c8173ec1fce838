//! Names of `TX` variables as numbers.
//!
//! Owns: the table from name to [`TxId`], filled while rules are compiled. Names are kept in lower case: rules may
//! write them in any. Names that are only known at run time are a transaction's affair.

use std::collections::HashMap;

/// A `TX` variable whose name stands in a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TxId(pub(crate) u16);

/// How many names are captures: `TX:0` to `TX:9` are the first numbers.
pub(crate) const CAPTURE_NAMES: usize = 10;

/// All of them.
#[derive(Debug)]
pub(crate) struct Names {
    names: Vec<Box<[u8]>>,
    ids: HashMap<Box<[u8]>, TxId>,
}

impl Default for Names {
    fn default() -> Self {
        let mut names = Self { names: Vec::new(), ids: HashMap::new() };
        for digit in b'0'..=b'9' {
            names.intern(&[digit]);
        }
        names
    }
}

impl Names {
    /// The number of a name, a new one if need be; `None` when all 65,536 are taken.
    pub(crate) fn intern(&mut self, name: &[u8]) -> Option<TxId> {
        let lower = name.to_ascii_lowercase().into_boxed_slice();
        if let Some(id) = self.ids.get(&lower) {
            return Some(*id);
        }
        let id = TxId(u16::try_from(self.names.len()).ok()?);
        self.names.push(lower.clone());
        self.ids.insert(lower, id);
        Some(id)
    }

    /// The number of a name in lower case.
    pub(crate) fn find(&self, lower: &[u8]) -> Option<TxId> {
        self.ids.get(lower).copied()
    }

    pub(crate) fn name(&self, id: TxId) -> &[u8] {
        &self.names[usize::from(id.0)]
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}
