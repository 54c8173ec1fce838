//! The rules of ModSecurity's regression tests are read, or refused, as ModSecurity does.
//!
//! Where SecBeat differs by design, the exception and its reason stand in [`EXCEPTIONS`].
#[path = "seclang/disk.rs"]
mod disk;

use disk::{Disk, folder};
use secbeat_waf::seclang::read_text;
use serde_json::Value;

/// What SecBeat refuses although ModSecurity reads it: how the file's name begins, a piece of the error. Each stands
/// for something that would promise protection and not give it, or for a rule file that is written wrongly.
const EXCEPTIONS: &[(&str, &str)] = &[
    // No programs, no scripts, no downloads.
    ("action-exec", "action 'exec' is not supported"),
    ("collection-lua", "SecRuleScript is not supported"),
    ("config-secremoterules", "SecRemoteRules is not supported"),
    ("config-secremoterules", "SecRemoteRulesFailAction is not supported"),
    ("operator-ipMatchFromFile", "only files are read"),
    // External entities are never loaded.
    ("config-xml_external_entity", "SecXmlExternalEntity is not supported, only Off"),
    ("request-body-parser-xml", "SecXmlExternalEntity is not supported, only Off"),
    // No geographic database.
    ("variable-GEO", "SecGeoLookupDb is not supported"),
    // Regular expressions run in linear time: rules that ask whether they did not would never match.
    ("operator-rx", "MSC_PCRE_ERROR is not supported"),
    ("operator-rx", "MSC_PCRE_LIMITS_EXCEEDED is not supported"),
    // ModSecurity takes the last of two; which one is meant cannot be known.
    ("action-ctl_rule_engine", "the rule has two phases"),
    ("variable-TX", "the rule has two ids"),
    // Rules that break off; ModSecurity 3 takes what is there.
    ("issue-1831", "the double quote is not closed"),
    ("issue-1960", "the double quote is not closed"),
    ("rule-920200", "the double quote is not closed"),
    ("rule-920200", "the rule has no id"),
    ("request-body-parser-multipart", "the chain ends without its last rule"),
];

#[test]
fn rules_of_the_regression_tests() {
    let Some(folder) = folder("SECLANG_VECTORS_DIR", "seclang-vectors") else { return };
    let files = Disk(folder.join("modsecurity/test"));
    let mut names: Vec<_> = std::fs::read_dir(files.0.join("test-cases/regression"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    names.sort();
    let (mut read, mut refused, mut excepted) = (0, 0, 0);
    let mut wrong = Vec::new();
    for path in names {
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let tests: Value = serde_json::from_str(&text).unwrap();
        for test in tests.as_array().unwrap() {
            let Some(rules) = test["rules"].as_array() else { continue };
            let rules: Vec<&str> = rules.iter().map(|rule| rule.as_str().unwrap()).collect();
            let name = path.file_name().unwrap().to_string_lossy();
            let result = read_text(&name, &rules.join("\n"), &files);
            match (result, test["expected"]["parser_error"].is_string()) {
                (Ok(_), false) => read += 1,
                (Err(_), true) => refused += 1,
                (Err(errors), false) => {
                    let is_excepted = |message: &str| {
                        let is_it =
                            |(file, piece): &&(&str, &str)| name.starts_with(file) && message.contains(piece);
                        EXCEPTIONS.iter().any(|exception| is_it(&exception))
                    };
                    let wrongly = errors.list.iter().filter(|error| !is_excepted(&error.message));
                    let count = wrong.len();
                    wrong.extend(wrongly.map(|error| format!("{} ({error})", test["title"])));
                    excepted += usize::from(count == wrong.len());
                }
                (Ok(_), true) => wrong.push(format!("{}: {} is not refused", name, test["title"])),
            }
        }
    }
    println!("{read} read, {refused} refused as by ModSecurity, {excepted} refused by design");
    assert!(read > 500 && refused > 20, "{read} {refused}");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
