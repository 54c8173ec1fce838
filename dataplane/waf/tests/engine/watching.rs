//! What somebody who watches an evaluation is told.
use std::sync::{Arc, Mutex};

use secbeat_waf::transaction::Observer;
use secbeat_waf::transform::Transformation;

use crate::world::{get, world};

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Notes {
    lines: Arc<Mutex<Vec<String>>>,
    wants_all: bool,
}

impl Notes {
    fn line(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }
}

impl Observer for Notes {
    fn wants_all(&self) -> bool {
        self.wants_all
    }

    fn begin(&mut self, rule: u64, link: usize) {
        self.line(format!("{rule}.{link}"));
    }

    fn value(&mut self, name: &[u8], value: &[u8], transformations: &[Transformation], is_match: bool) {
        let steps: Vec<&str> = transformations.iter().map(|step| step.name()).collect();
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        self.line(format!("{name}={value} {} {is_match}", steps.join(",")));
    }

    fn end(&mut self, rule: u64, link: usize, is_match: bool) {
        self.line(format!("{rule}.{link} {is_match}"));
    }
}

const RULES: &str = r#"
SecAction "id:1,phase:1,pass,nolog,setvar:tx.score=3"
SecRule ARGS "@contains abc" "id:2,phase:1,pass,log,t:none,t:urlDecode,t:lowercase,chain"
  SecRule TX:score "@ge 5" ""
SecRule &TX:score "@eq 1" "id:3,phase:1,pass,log"
"#;

#[test]
fn every_value_is_shown_to_who_wants_all() {
    let mut world = world(RULES);
    let notes = Notes { wants_all: true, ..Notes::default() };
    world.evaluator.observe(Some(Box::new(notes.clone())));
    world.run(&get("/?a=xABCx&b=no"));
    assert_eq!(
        *notes.lines.lock().unwrap(),
        [
            "1.0",
            "1.0 true",
            "2.0",
            "ARGS:a=xabcx urlDecode,lowercase true",
            "ARGS:b=no urlDecode,lowercase false",
            "2.0 true",
            "2.1",
            "TX:score=3  false",
            "2.1 false",
            "3.0",
            "&TX:score=1  true",
            "3.0 true",
        ]
    );
}

#[test]
fn matches_are_shown_to_others_and_nothing_to_nobody() {
    let mut world = world(RULES);
    let notes = Notes::default();
    world.evaluator.observe(Some(Box::new(notes.clone())));
    world.run(&get("/?a=xABCx&b=no"));
    let shown: Vec<String> =
        notes.lines.lock().unwrap().iter().filter(|line| line.contains('=')).cloned().collect();
    assert_eq!(shown, ["ARGS:a=xabcx urlDecode,lowercase true", "&TX:score=1  true"]);
    notes.lines.lock().unwrap().clear();
    world.evaluator.observe(None);
    world.run(&get("/?a=xABCx&b=no"));
    assert!(notes.lines.lock().unwrap().is_empty());
}
