//! What a check found, and how it is printed.
//!
//! A finding names the file, the line and the rule in words, so that it can be mended without opening the
//! design document. A warning is printed and does not fail the check.

use std::fmt;

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Path from the root of the repository.
    pub(crate) path: String,
    /// Line from 1; 0 when the finding concerns the whole file.
    pub(crate) line: usize,
    /// Whether it fails the check.
    pub(crate) is_error: bool,
    /// What is wrong and which rule says so.
    pub(crate) text: String,
}

/// All findings of one check.
#[derive(Debug, Default)]
pub(crate) struct Report {
    findings: Vec<Finding>,
    /// What was looked at, for the closing line.
    pub(crate) subject: String,
}

impl Report {
    pub(crate) fn new(subject: impl Into<String>) -> Self {
        Self { findings: Vec::new(), subject: subject.into() }
    }

    pub(crate) fn error(&mut self, path: &str, line: usize, text: impl Into<String>) {
        self.push(path, line, true, text.into());
    }

    pub(crate) fn warn(&mut self, path: &str, line: usize, text: impl Into<String>) {
        self.push(path, line, false, text.into());
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.is_error)
    }

    fn push(&mut self, path: &str, line: usize, is_error: bool, text: String) {
        self.findings.push(Finding { path: path.to_owned(), line, is_error, text });
    }

    #[cfg(test)]
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.findings.iter().map(|finding| finding.text.as_str()).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted: Vec<&Finding> = self.findings.iter().collect();
        sorted.sort();
        for finding in &sorted {
            let kind = if finding.is_error { "error" } else { "warning" };
            match finding.line {
                0 => writeln!(f, "{}: {kind}: {}", finding.path, finding.text)?,
                line => writeln!(f, "{}:{line}: {kind}: {}", finding.path, finding.text)?,
            }
        }
        let errors = sorted.iter().filter(|finding| finding.is_error).count();
        writeln!(f, "{}: {errors} errors, {} warnings", self.subject, sorted.len() - errors)
    }
}
