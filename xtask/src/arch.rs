//! `cargo xtask arch`: who may depend on whom, and what may stand where.
//!
//! Reads the workspace through `cargo metadata` (edges between our crates, placement of runtimes) and the
//! sources (unsafe, clocks, random numbers, logs, module placement). The rules themselves are in `rules`.

mod rules;

use crate::finding::Report;
use crate::source::{Source, has_word};
use crate::tree::{self, File};
use anyhow::{Context, Result, ensure};
use rules::{CRATES, CrateRule, PLACED_CRATES, PURE_BANNED, UNSAFE_FILES, WORD_PLACES};
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// The part of a package that the rules look at.
#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or nothing for an ordinary dependency.
    kind: Option<String>,
    /// Set for a dependency inside the workspace.
    path: Option<String>,
}

/// Checks the whole repository.
pub(crate) fn check(root: &Path) -> Result<Report> {
    let metadata = metadata(root)?;
    let mut report = Report::new(format!("arch: {} crates", metadata.packages.len()));
    for package in &metadata.packages {
        check_package(package, &mut report);
    }
    for file in tree::files(root)?.iter().filter(|file| file.extension() == "rs") {
        check_file(file, &mut report);
    }
    Ok(report)
}

fn metadata(root: &Path) -> Result<Metadata> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("running cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("reading cargo metadata")
}

fn check_package(package: &Package, report: &mut Report) {
    let Some(rule) = CRATES.iter().find(|rule| rule.name == package.name) else {
        let text = format!("{} is in no layer: add it to xtask/src/arch/rules.rs", package.name);
        report.error("Cargo.toml", 0, text);
        return;
    };
    let manifest = format!("{}/Cargo.toml", rule.folder);
    for dependency in &package.dependencies {
        let is_dev = dependency.kind.as_deref() == Some("dev");
        if dependency.path.is_some() {
            let used = dependency.name.as_str();
            let is_allowed = rule.may_use.contains(&used) || is_dev && rule.tests_may_use.contains(&used);
            if !is_allowed {
                report.error(&manifest, 0, edge_text(rule, used));
            }
        } else if !is_dev {
            check_placement(rule, &manifest, &dependency.name, report);
        }
    }
}

fn edge_text(rule: &CrateRule, used: &str) -> String {
    let allowed =
        if rule.may_use.is_empty() { "no crate of ours".to_owned() } else { rule.may_use.join(", ") };
    format!("{} must not depend on {used}: {} (it may use {allowed})", rule.name, rule.reason)
}

fn check_placement(rule: &CrateRule, manifest: &str, dependency: &str, report: &mut Report) {
    let placed = PLACED_CRATES.iter().find(|placed| placed.matches(dependency));
    if let Some(placed) = placed.filter(|placed| !placed.only_in.contains(&rule.name)) {
        let text = format!("{dependency} belongs only in {}: {}", placed.only_in.join(", "), placed.reason);
        report.error(manifest, 0, text);
    }
}

fn check_file(file: &File, report: &mut Report) {
    // A crate may lie inside another's folder: the innermost has the file.
    let holds = |rule: &&CrateRule| file.path.starts_with(&format!("{}/", rule.folder));
    let Some(rule) = CRATES.iter().filter(holds).max_by_key(|rule| rule.folder.len()) else {
        return;
    };
    let source = Source::parse(file.text().unwrap_or_default());
    check_unsafe(rule, &file.path, &source, report);
    if rule.is_pure && is_product(rule, &file.path) {
        check_pure(&file.path, &source, report);
    }
    check_words(rule, &file.path, &source, report);
}

/// Whether the file is part of what ships: under `src/`, and not a tests module.
fn is_product(rule: &CrateRule, path: &str) -> bool {
    path.starts_with(&format!("{}/src/", rule.folder))
        && !path.ends_with("/tests.rs")
        && !path.contains("/tests/")
}

fn check_unsafe(rule: &CrateRule, path: &str, source: &Source, report: &mut Report) {
    if rule.may_be_unsafe || UNSAFE_FILES.iter().any(|file| file.path == path) {
        return;
    }
    for (index, line) in source.code.iter().enumerate() {
        if has_word(line, "unsafe") {
            let text = format!("unsafe in {}: only hugepages and pktio may hold unsafe code", rule.name);
            report.error(path, index + 1, text);
        }
    }
    let is_root = ["src/lib.rs", "src/main.rs"].iter().any(|root| *path == format!("{}/{root}", rule.folder));
    if is_root && !source.code.iter().any(|line| line.contains("#![forbid(unsafe_code)]")) {
        report.error(path, 0, "a crate root outside hugepages and pktio must say #![forbid(unsafe_code)]");
    }
}

fn check_pure(path: &str, source: &Source, report: &mut Report) {
    for (number, line) in source.product_code() {
        for banned in PURE_BANNED {
            if has_word(line, banned.word) {
                let text = format!("`{}` in a pure crate: {}", banned.word, banned.instead);
                report.error(path, number, text);
            }
        }
    }
}

fn check_words(rule: &CrateRule, path: &str, source: &Source, report: &mut Report) {
    for place in WORD_PLACES {
        let is_allowed = place.only_under.iter().any(|prefix| path.starts_with(prefix));
        if is_allowed || rule.name == "secbeat-xtask" {
            continue;
        }
        for (number, line) in source.product_code() {
            if has_word(line, place.word) {
                let text = format!(
                    "`{}` belongs only under {}: {}",
                    place.word,
                    place.only_under.join(", "),
                    place.reason
                );
                report.error(path, number, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>, bool)]) -> Package {
        let dependencies = dependencies.iter().map(|&(name, kind, is_ours)| Dependency {
            name: name.into(),
            kind: kind.map(Into::into),
            path: is_ours.then(|| "/somewhere".into()),
        });
        Package { name: name.into(), dependencies: dependencies.collect() }
    }

    fn findings(package: &Package) -> usize {
        let mut report = Report::new("test");
        check_package(package, &mut report);
        report.texts().len()
    }

    fn file_findings(path: &str, text: &str) -> Vec<String> {
        let mut report = Report::new("test");
        check_file(&File { path: path.into(), bytes: text.as_bytes().to_vec() }, &mut report);
        report.texts().iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn arrows_go_down_only() {
        assert_eq!(findings(&package("secbeat-node", &[("secbeat-net", None, true)])), 0);
        assert_eq!(findings(&package("secbeat-net", &[("secbeat-node", None, true)])), 1);
        assert_eq!(findings(&package("secbeat-net", &[("secbeat-config", None, true)])), 1);
        assert_eq!(findings(&package("secbeat-unknown", &[])), 1);
    }

    #[test]
    fn runtimes_stay_where_they_belong() {
        assert_eq!(findings(&package("secbeat-net", &[("tokio", None, false)])), 1);
        assert_eq!(findings(&package("secbeat-bench", &[("mio", None, false)])), 1);
        assert_eq!(findings(&package("secbeat-node", &[("mio", None, false), ("serde", None, false)])), 0);
        assert_eq!(findings(&package("secbeat-net", &[("rand", Some("dev"), false)])), 0);
    }

    #[test]
    fn unsafe_is_refused_outside_its_two_crates() {
        assert_eq!(file_findings("dataplane/net/src/flow.rs", "fn f() { unsafe {} }").len(), 1);
        assert_eq!(file_findings("dataplane/net/tests/a.rs", "fn f() { unsafe {} }").len(), 1);
        assert_eq!(file_findings("hugepages/src/lib.rs", "fn f() { unsafe {} }").len(), 0);
        assert_eq!(file_findings(UNSAFE_FILES[0].path, "fn f() { unsafe {} }").len(), 0);
        assert_eq!(file_findings("dataplane/net/src/lib.rs", "fn f() {}").len(), 1);
        assert_eq!(file_findings("dataplane/net/src/lib.rs", "#![forbid(unsafe_code)]\nfn f() {}").len(), 0);
    }

    #[test]
    fn pure_crates_read_no_clock_outside_tests() {
        let text = "fn f() { let t = SystemTime::now(); }\n#[cfg(test)]\nmod tests {\n    use std::env;\n}\n";
        assert_eq!(file_findings("dataplane/net/src/flow.rs", text).len(), 1);
        assert_eq!(file_findings("dataplane/node/src/worker.rs", text).len(), 0);
        assert_eq!(file_findings("dataplane/net/src/flow/tests.rs", text).len(), 0);
        assert_eq!(file_findings("dataplane/net/src/flow.rs", "/// reads std::env\nfn f() {}").len(), 0);
    }

    #[test]
    fn every_folder_of_a_rule_is_told_apart() {
        for rule in CRATES {
            assert!(CRATES.iter().filter(|other| other.folder == rule.folder).count() == 1);
            assert!(rule.may_use.iter().all(|used| CRATES.iter().any(|other| other.name == *used)));
        }
    }
}
