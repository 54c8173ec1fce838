//! The body of the fuzz target `waf_seclang`, shared with the corpus replay in `tests/seclang_corpus.rs`.
//!
//! Not part of the interface. Panics when a property that must hold for all bytes does not.

use super::ast::{Directive, Rule};
use super::{Files, read};
use crate::limits::{CHAIN_LINKS_MAX, DIAGNOSTICS_MAX, FILES_MAX, TRANSFORMATIONS_MAX};

/// The input is the file `main.conf`; whatever it includes is itself again, so that depth is bounded too.
struct Memory<'a>(&'a [u8]);

impl Files for Memory<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        if path.ends_with(".data") || path.ends_with(".conf") {
            return Ok(self.0.to_vec());
        }
        Err("not there".into())
    }

    fn expand(&self, pattern: &str) -> Result<Vec<String>, String> {
        Ok(vec![pattern.replace(['*', '?'], "x")])
    }
}

/// Rules from any bytes: the same when read again, within bounds, and every error on a line that the file has.
pub fn fuzz(data: &[u8]) {
    let lines = data.iter().filter(|byte| **byte == b'\n').count() + 1;
    let first = read(&["main.conf"], &Memory(data));
    let again = read(&["main.conf"], &Memory(data));
    match (first, again) {
        (Ok(configuration), Ok(again)) => {
            assert!(configuration.files.len() <= FILES_MAX);
            assert_eq!(format!("{:?}", configuration.directives), format!("{:?}", again.directives));
            for directive in &configuration.directives {
                if let Directive::Rule(rule) = directive {
                    check(rule, lines);
                }
            }
        }
        (Err(diagnostics), Err(again)) => {
            assert_eq!(diagnostics, again);
            assert!((1..=DIAGNOSTICS_MAX).contains(&diagnostics.list.len()));
            for diagnostic in &diagnostics.list {
                assert!(usize::try_from(diagnostic.line).is_ok_and(|line| line <= lines), "{diagnostic}");
                assert!(!diagnostic.message.contains('\n'), "{diagnostic}");
            }
        }
        _ => panic!("read twice, it is right once"),
    }
}

fn check(rule: &Rule, lines: usize) {
    assert!(rule.links.len() <= CHAIN_LINKS_MAX);
    for part in std::iter::once(rule).chain(&rule.links) {
        assert!(usize::try_from(part.position.line).is_ok_and(|line| (1..=lines).contains(&line)));
        let is_transformation =
            |action: &&super::ast::Action| matches!(action, super::ast::Action::Transform(_));
        assert!(part.actions.iter().filter(is_transformation).count() <= TRANSFORMATIONS_MAX);
    }
}
