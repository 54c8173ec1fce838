//! `SecRule`, `SecAction`, `SecDefaultAction`: one directive's words into a rule, with the checks that need no other
//! rule.
//!
//! Owns: which actions may stand where. Does not own: chains across directives ([`super::reader`]).
//!
//! Sources: ModSecurity 3's and Coraza's errors; ModSecurity 2 for the logging phase.

use super::action::{self, Actions};
use super::ast::{Action, DefaultAction, Phase, Position, Rule};
use super::line::Word;
use super::target::empty_reason;
use super::{operator, target};

/// An error on a line of the file that is being read.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) line: u32,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn new(line: u32, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// A rule, whether it begins or goes on with a chain, what is wrong, what is empty.
pub(super) struct Reading {
    pub(super) rule: Rule,
    pub(super) is_chain: bool,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<&'static str>,
}

/// The words after `SecRule` or `SecAction`.
pub(super) fn read(is_action: bool, words: &[Word], position: Position, is_link: bool) -> Reading {
    let mut reading = Reading {
        rule: Rule { position, targets: Vec::new(), operator: None, actions: Vec::new(), links: Vec::new() },
        is_chain: false,
        problems: Vec::new(),
        notes: Vec::new(),
    };
    let actions = match (is_action, words) {
        (true, [actions]) => Some(actions),
        (true, _) => {
            reading.problem(
                position.line,
                format!("SecAction takes actions and nothing else, not {} words", words.len()),
            );
            return reading;
        }
        (false, [targets, operator, rest @ ..]) if rest.len() < 2 => {
            reading.targets(targets);
            reading.operator(operator);
            rest.first()
        }
        (false, _) => {
            let message =
                format!("SecRule takes targets, an operator and actions, not {} words", words.len());
            reading.problem(position.line, message);
            return reading;
        }
    };
    if let Some(word) = actions {
        let (actions, faults) = action::parse(&word.text);
        reading
            .problems
            .extend(faults.into_iter().map(|fault| Problem::new(word.line(fault.at), fault.message)));
        reading.problems.extend(misplaced(&actions, word, is_link));
        reading.is_chain = actions.is_chain;
        if actions
            .list
            .iter()
            .any(|action| matches!(action, Action::Control(super::ast::Control::DebugLogLevel(_))))
        {
            reading.notes.push("ctl:debugLogLevel: there is no debug log of rules");
        }
        reading.rule.actions = actions.list;
    }
    let has_id = reading.rule.actions.iter().any(|action| matches!(action, Action::Id(_)));
    // As ModSecurity 3: only SecAction may do without.
    if !is_action && !is_link && !has_id && reading.problems.is_empty() {
        reading.problem(position.line, "the rule has no id");
    }
    reading
}

impl Reading {
    fn problem(&mut self, line: u32, message: impl Into<String>) {
        self.problems.push(Problem::new(line, message));
    }

    fn targets(&mut self, word: &Word) {
        match target::parse(&word.text) {
            Ok(targets) => {
                self.notes.extend(targets.iter().filter_map(|target| empty_reason(target.variable)));
                if targets.iter().all(|target| target.is_exclusion) {
                    self.problem(word.line(0), "the rule looks at nothing: all its targets are excluded");
                }
                self.rule.targets = targets;
            }
            Err(fault) => self.problem(word.line(fault.at), fault.message),
        }
    }

    fn operator(&mut self, word: &Word) {
        match operator::parse(&word.text) {
            Ok(operator) => self.rule.operator = Some(operator),
            Err(fault) => self.problem(word.line(fault.at), fault.message),
        }
    }
}

/// Actions that may not stand in this rule.
fn misplaced(actions: &Actions, word: &Word, is_link: bool) -> Vec<Problem> {
    let is_logging = actions.list.contains(&Action::Phase(Phase::Logging));
    let ids = actions.list.iter().filter(|action| matches!(action, Action::Id(_))).count();
    let phases = actions.list.iter().filter(|action| matches!(action, Action::Phase(_))).count();
    let mut problems = Vec::new();
    if ids > 1 {
        problems.push(Problem::new(word.line(0), "the rule has two ids"));
    }
    if phases > 1 {
        problems.push(Problem::new(word.line(0), "the rule has two phases"));
    }
    for (action, at) in actions.list.iter().zip(&actions.offsets) {
        if !action.is_disruptive() {
            continue;
        }
        if is_link {
            problems.push(Problem::new(
                word.line(*at),
                "only the first rule of a chain may block, pass, allow, deny, drop, redirect, proxy or challenge",
            ));
        } else if is_logging && !matches!(action, Action::Block | Action::Pass | Action::Allow(_)) {
            problems.push(Problem::new(word.line(*at), "nothing can be blocked in phase 5"));
        }
    }
    problems
}

/// The word after `SecDefaultAction`.
pub(super) fn default_action(word: &Word, position: Position) -> Result<DefaultAction, Vec<Problem>> {
    let (actions, faults) = action::parse(&word.text);
    let mut problems: Vec<Problem> =
        faults.into_iter().map(|fault| Problem::new(word.line(fault.at), fault.message)).collect();
    if actions.is_chain {
        problems.push(Problem::new(position.line, "'chain' cannot be a default action"));
    }
    let mut phase = None;
    let mut list = Vec::new();
    for (action, at) in actions.list.into_iter().zip(actions.offsets) {
        let name = match action {
            Action::Phase(found) => {
                phase = Some(found);
                continue;
            }
            Action::Id(_) => Some("id"),
            Action::Rev(_) => Some("rev"),
            Action::Ver(_) => Some("ver"),
            Action::Severity(_) => Some("severity"),
            Action::Maturity(_) => Some("maturity"),
            Action::Accuracy(_) => Some("accuracy"),
            Action::Skip(_) => Some("skip"),
            Action::SkipAfter(_) => Some("skipAfter"),
            Action::XmlNamespace(..) => Some("xmlns"),
            Action::TransformNone => Some("t:none"),
            _ => None,
        };
        match name {
            Some(name) => {
                problems.push(Problem::new(word.line(at), format!("'{name}' cannot be a default action")));
            }
            None => list.push(action),
        }
    }
    let is_decided = list.iter().any(|action| action.is_disruptive() && *action != Action::Block);
    if !is_decided && problems.is_empty() {
        problems.push(Problem::new(
            position.line,
            "SecDefaultAction needs a disruptive action (pass, deny, drop ...)",
        ));
    }
    match phase {
        Some(phase) if problems.is_empty() => Ok(DefaultAction { phase, actions: list, position }),
        None if problems.is_empty() => {
            Err(vec![Problem::new(position.line, "SecDefaultAction needs a phase")])
        }
        _ => Err(problems),
    }
}
