//! SecLang: the operator's rule files, read into values.
//!
//! Owns: directives, includes, diagnostics with file and line. Does not own: what a rule means when it runs
//! ([`crate::ruleset`]), or files on a disk: the caller hands them in through [`Files`].
//!
//! Nothing is passed over in silence: a word that is not known is an error that names file, line, word and the nearest
//! known word; what is read without effect is listed in [`settings::Settings::without_effect`].
//!
//! Cost: one pass over the files. Memory is bounded by [`crate::limits`] (files, bytes, rules, targets, actions).
//!
//! Sources: ModSecurity reference manual v3; Coraza's list of directives; the files of the Core Rule Set 3.3 and 4.

mod action;
mod assignment;
pub mod ast;
mod change;
mod check;
mod control;
mod diagnostics;
mod foreign;
pub mod fuzz;
mod line;
mod operator;
mod reader;
mod rule;
mod setting;
pub mod settings;
mod target;
mod template;
mod unicode_map;

pub use diagnostics::{Diagnostic, Diagnostics};
pub use reader::{read, read_text};

/// Where rule files come from: a disk, or a map in memory.
pub trait Files {
    /// The bytes of a file.
    ///
    /// # Errors
    /// In words for the operator: not there, not readable, too long.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// The paths that a pattern with `*` and `?` in its last component names, sorted; a path without them names itself.
    ///
    /// # Errors
    /// In words for the operator.
    fn expand(&self, pattern: &str) -> Result<Vec<String>, String>;
}

/// Where a file that another names is looked for, in this order: beside the one that names it, then as it is written.
pub(crate) fn candidates(naming: &str, path: &str) -> Vec<String> {
    let beside =
        naming.rfind('/').and_then(|slash| naming.get(..=slash)).map(|folder| format!("{folder}{path}"));
    match beside {
        Some(beside) if !path.starts_with('/') && beside != path => vec![beside, path.to_owned()],
        _ => vec![path.to_owned()],
    }
}
