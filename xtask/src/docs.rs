//! `cargo xtask docs`: documents that are rendered from tables in the code, so that they cannot be wrong.
//!
//! Rendering needs the crates whose tables it prints, which build for minutes; the other checks need none of them.
//! So those crates stand behind the feature `documents`, and without it this command runs itself again with it.

use crate::finding::Report;
use anyhow::Result;
use std::path::Path;

/// What to do with the rendered documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Compare them with what is committed.
    Compare,
    /// Write them.
    Write,
}

#[cfg(feature = "documents")]
pub(crate) fn run(root: &Path, mode: Mode) -> Result<Report> {
    let documents = [
        ("docs/configuration.md", secbeat_config::reference::markdown()),
        ("docs/metrics.md", secbeat_node::telemetry::docs()),
    ];
    let mut report = Report::new(format!("docs: {} generated", documents.len()));
    for (path, text) in documents {
        let file = root.join(path);
        let is_same = std::fs::read_to_string(&file).is_ok_and(|old| old == text);
        match mode {
            Mode::Write if !is_same => std::fs::write(&file, text)?,
            Mode::Compare if !is_same => {
                report.error(path, 0, "differs from the code: run `cargo xtask docs`")
            }
            _ => {}
        }
    }
    Ok(report)
}

#[cfg(not(feature = "documents"))]
pub(crate) fn run(root: &Path, mode: Mode) -> Result<Report> {
    let mut command = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["run", "--quiet", "--package", "secbeat-xtask", "--features", "documents", "--", "docs"]);
    if mode == Mode::Compare {
        command.arg("--check");
    }
    let status = command.current_dir(root).status()?;
    // What is wrong was said already.
    std::process::exit(status.code().unwrap_or(1));
}
