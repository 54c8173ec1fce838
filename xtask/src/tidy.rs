//! `cargo xtask tidy`: how files are written.
//!
//! `text` looks at every text file (line ends, machine paths), `rust` at sources (lengths, heads, names,
//! leftovers), `markdown` at links. Binary files are refused outside the folders of test data.

mod markdown;
mod rust;
mod text;

use crate::finding::Report;
use crate::tree::{self, File};
use anyhow::Result;
use std::path::Path;

/// Where a binary file may lie: inputs of fuzz targets and captured packets.
const BINARY_FOLDERS: &[&str] = &["fuzz/corpus/", "/fixtures/", "/testdata/", "proto/descriptor.bin"];

/// Names that say nothing about what a file or folder holds.
const NAMES_BANNED: &[&str] = &["utils", "util", "helper", "helpers", "common", "manager", "misc"];

/// Checks the whole repository.
pub(crate) fn check(root: &Path) -> Result<Report> {
    let files = tree::files(root)?;
    let mut report = Report::new(format!("tidy: {} files", files.len()));
    for file in &files {
        check_file(file, &mut report);
    }
    markdown::check(&files, &mut report);
    Ok(report)
}

fn check_file(file: &File, report: &mut Report) {
    check_name(&file.path, report);
    let Some(content) = file.text() else {
        if !BINARY_FOLDERS.iter().any(|folder| file.path.contains(folder)) {
            report.error(&file.path, 0, "a binary file outside fuzz/corpus and fixtures: build it instead");
        }
        return;
    };
    if file.path.starts_with("fuzz/corpus/") || file.path == "Cargo.lock" || file.path == "fuzz/Cargo.lock" {
        return;
    }
    text::check(file, content, report);
    if file.extension() == "rs" {
        rust::check(&file.path, content, report);
    }
}

fn check_name(path: &str, report: &mut Report) {
    let parts = path.split('/').map(|part| part.split('.').next().unwrap_or(part));
    for part in parts.filter(|part| NAMES_BANNED.contains(part)) {
        report.error(path, 0, format!("`{part}` says nothing: name it after what it holds"));
    }
    // Under tests/ a file of its own would be a test program; there mod.rs is the only way to share.
    if path.ends_with("/mod.rs") && !path.contains("/tests/") {
        report.error(path, 0, "modules are foo.rs + foo/bar.rs, not foo/mod.rs");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, bytes: &[u8]) -> Vec<String> {
        let mut report = Report::new("test");
        check_file(&File { path: path.into(), bytes: bytes.to_vec() }, &mut report);
        report.texts().iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn names_must_say_something() {
        assert_eq!(findings("dataplane/net/src/utils.rs", b"").len(), 1);
        assert_eq!(findings("dataplane/net/src/utils/x.rs", b"").len(), 1);
        assert_eq!(findings("dataplane/net/src/wire/mod.rs", b"").len(), 1);
        assert_eq!(findings("dataplane/net/src/wire.rs", b"").len(), 0);
    }

    #[test]
    fn binary_files_live_with_test_data() {
        assert_eq!(findings("bench/tool", b"\x7fELF\0").len(), 1);
        assert_eq!(findings("fuzz/corpus/net_headers/a", b"\0\x01").len(), 0);
        assert_eq!(findings("dataplane/net/tests/fixtures/syn.pcap", b"\0\x01").len(), 0);
    }
}
