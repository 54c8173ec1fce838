//! Rules that the API added, kept over restarts.
//!
//! Owns: the file `waf_rules.json` in the state directory, in the form of `config/waf_rules.json`. A save never leaves
//! less than one whole file: new file, sync, rename. A damaged file is set aside and said so.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use secbeat_config::waf_rules::{Rule, RuleSet};

use super::files;

/// Most rules that the API may add: each costs time per request.
pub const ADDED_MAX: usize = 1_000;
/// Longest file, bytes: rules at their longest.
const FILE_BYTES_MAX: u64 = 8 << 20;

fn place(state_dir: &Path) -> PathBuf {
    state_dir.join("waf_rules.json")
}

/// The rules added so far; none when there is no file.
pub fn load(state_dir: &Path) -> Vec<Rule> {
    let path = place(state_dir);
    if !path.exists() {
        return Vec::new();
    }
    let read = files::read(&path, FILE_BYTES_MAX).and_then(|bytes| {
        let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
        RuleSet::parse(&text).map_err(|error| error.to_string())
    });
    match read {
        Ok(set) => set.rules,
        Err(error) => {
            let aside = path.with_extension("json.damaged");
            let kept = fs::rename(&path, &aside).is_ok();
            tracing::error!(error, kept, "rules added by the API cannot be read from {}", path.display());
            Vec::new()
        }
    }
}

/// Keeps these rules.
///
/// # Errors
/// When they cannot be written; the earlier file stays.
pub fn save(state_dir: &Path, rules: &[Rule]) -> io::Result<()> {
    let path = place(state_dir);
    let new = path.with_extension("json.new");
    let set = RuleSet { rules: rules.to_vec() };
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec_pretty(&set).map_err(io::Error::other)?)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(state_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secbeat_config::waf_rules::{Action, Examples, Severity};

    #[test]
    fn rules_are_kept_and_damaged_files_set_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(load(folder.path()).is_empty());
        let rule = Rule {
            id: "own-1".into(),
            name: "own".into(),
            pattern: "evil".into(),
            action: Action::Block,
            severity: Severity::High,
            targets: Vec::new(),
            examples: Examples::default(),
        };
        save(folder.path(), core::slice::from_ref(&rule)).expect("saved");
        assert_eq!(load(folder.path()), [rule]);
        fs::write(place(folder.path()), "{").expect("written");
        assert!(load(folder.path()).is_empty());
        assert!(folder.path().join("waf_rules.json.damaged").exists());
    }
}
