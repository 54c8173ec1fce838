//! Whether a body may stand as it is: the keys of its kind, read by the sections of the configuration.

use super::delta::RulePatch;
use super::resource::Key;
use super::rules::Pieces;
use crate::ConfigErrors;
use crate::reader::tree::{Entries, Item, Tree};

/// Checks a body and brings it into its canonical shape.
pub(super) fn check(key: &Key, body: &mut Entries<'_>) -> Result<(), ConfigErrors> {
    if key.kind.has_rules() && body.get("rules").is_none() {
        body.set("rules".into(), Item { at: 0, tree: Tree::List(Vec::new()) });
    }
    Ok(())
}

pub(super) fn check_patch(_key: &Key, _pieces: &Pieces<'_>, _patch: &RulePatch) -> Result<(), ConfigErrors> {
    Ok(())
}
