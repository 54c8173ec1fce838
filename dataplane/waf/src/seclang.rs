//! SecLang: the operator's rule files, read into values.
//!
//! Owns: directives, includes, diagnostics with file and line. Does not own: what a rule means when it runs
//! ([`crate::ruleset`]), or files on a disk: the caller hands them in through [`Files`].
//!
//! Sources: ModSecurity reference manual v3; Coraza's list of directives; the files of the Core Rule Set 3.3 and 4.

pub mod ast;
pub mod settings;

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
