//! Errors in rule files, for the operator: file, line, the word, and what was perhaps meant.
//!
//! Owns: [`Diagnostics`], the choice of the nearest known word. Does not own: where errors are found.

use std::fmt;

use crate::limits::DIAGNOSTICS_MAX;

/// Longest piece of a rule file that an error repeats, characters: a line of a terminal.
const QUOTED_CHARS_MAX: usize = 60;
/// Longest word for which a near one is looked for, bytes: the longest known word has 32.
const NEAR_BYTES_MAX: usize = 48;

/// One error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Name of the file.
    pub file: String,
    /// Line, from 1; 0 when the file could not be read at all.
    pub line: u32,
    /// In words for the operator.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// All errors found, at most [`DIAGNOSTICS_MAX`], in the order read.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics {
    /// The errors.
    pub list: Vec<Diagnostic>,
    /// Whether reading stopped because there were too many.
    pub is_truncated: bool,
}

impl Diagnostics {
    pub(crate) fn push(&mut self, file: &str, line: u32, message: impl Into<String>) {
        if self.is_full() {
            self.is_truncated = true;
            return;
        }
        self.list.push(Diagnostic { file: file.to_owned(), line, message: message.into() });
    }

    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= DIAGNOSTICS_MAX
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.list.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            diagnostic.fmt(formatter)?;
        }
        if self.is_truncated {
            write!(formatter, "\nmore than {DIAGNOSTICS_MAX} errors: the rest is not told")?;
        }
        Ok(())
    }
}

/// An error inside a word: where (byte offset in the word's text) and what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    /// The same, in a text that begins so many bytes later.
    pub(super) fn shifted(self, by: usize) -> Self {
        Self { at: self.at + by, ..self }
    }
}

/// A piece of a rule file in quotes, cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    format!("'{}'", shown.escape_debug())
}

/// `unknown action 'dney', did you mean 'deny'?`
pub(super) fn unknown<'a>(what: &str, word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(word, known) {
        Some(near) => format!("unknown {what} {}, did you mean '{near}'?", quoted(word)),
        None => format!("unknown {what} {}", quoted(word)),
    }
}

fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > NEAR_BYTES_MAX {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    let edits_max = (word.len() / 3).max(1);
    known
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= edits_max)
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= edits_max)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}
