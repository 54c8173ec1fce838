//! One compiled set, seen by many sites.
//!
//! Owns: [`Site`]: which rules of a shared set a host or path does without, which targets they do not look at there,
//! and what its `TX` variables begin with. A hundred sites cost a hundred times a few hundred bytes, not a hundred
//! sets. A site is written in SecLang: `SecRuleEngine`, `SecRuleRemoveBy...`, `SecRuleUpdateTargetBy...` with
//! exclusions, and `SecAction` with `setvar`.

use super::selection::Wanted;
use super::target::TargetList;
use super::{RuleBits, Ruleset};
use crate::seclang::ast::{Action, Configuration, Directive, EngineMode, SetVarOperation, Target};
use crate::variable::Variable;

/// Why a site's rules were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct SiteError {
    /// Name of the file.
    pub file: String,
    /// Line, from 1; 0 where the directive has none.
    pub line: u32,
    /// In words for the operator.
    pub message: String,
}

/// How a host or path differs from the set it shares.
#[derive(Debug, Default)]
pub struct Site {
    pub(crate) engine: Option<EngineMode>,
    pub(crate) removed: RuleBits,
    /// For these rules, these targets are left out.
    pub(crate) untargeted: Vec<(RuleBits, TargetList)>,
    /// What `TX` variables hold at the start: names in lower case.
    pub(crate) variables: Vec<NamedValue>,
}

/// A name in lower case, and a value.
type NamedValue = (Box<[u8]>, Box<[u8]>);

impl Site {
    /// Compiles a site's directives against the set it shares.
    ///
    /// # Errors
    /// A directive that a site cannot have.
    pub fn compile(ruleset: &Ruleset, configuration: &Configuration) -> Result<Self, SiteError> {
        let words = ruleset.rules.len().div_ceil(64);
        let mut site = Self { removed: vec![0; words].into(), ..Self::default() };
        if configuration.settings.engine != EngineMode::Off || configuration.settings.is_engine_set {
            site.engine = Some(configuration.settings.engine);
        }
        for directive in &configuration.directives {
            match directive {
                Directive::RemoveById(ids) => site.remove(ruleset, &Wanted::Ids(ids)),
                Directive::RemoveByTag(tag) => site.remove(ruleset, &Wanted::Tag(tag)),
                Directive::RemoveByMsg(message) => site.remove(ruleset, &Wanted::Message(message)),
                Directive::UpdateTargetById(ids, targets) => {
                    site.untarget(ruleset, &Wanted::Ids(ids), targets)?;
                }
                Directive::UpdateTargetByTag(tag, targets) => {
                    site.untarget(ruleset, &Wanted::Tag(tag), targets)?;
                }
                Directive::UpdateTargetByMsg(message, targets) => {
                    site.untarget(ruleset, &Wanted::Message(message), targets)?;
                }
                Directive::Rule(rule) if rule.operator.is_none() && rule.links.is_empty() => {
                    for action in &rule.actions {
                        site.set(action).map_err(|message| SiteError {
                            file: configuration
                                .files
                                .get(usize::from(rule.position.file))
                                .cloned()
                                .unwrap_or_default(),
                            line: rule.position.line,
                            message,
                        })?;
                    }
                }
                Directive::Rule(_)
                | Directive::Marker(_)
                | Directive::DefaultAction(_)
                | Directive::UpdateActionById(..) => {
                    return Err(refused(
                        "a site shares its rules: it may remove some, take targets from some, and set TX variables",
                    ));
                }
            }
        }
        Ok(site)
    }

    fn remove(&mut self, ruleset: &Ruleset, meant: &Wanted<'_>) {
        for (word, more) in
            self.removed.iter_mut().zip(meant.bits(&ruleset.descriptions, ruleset.rules.len()))
        {
            *word |= more;
        }
    }

    fn untarget(
        &mut self,
        ruleset: &Ruleset,
        meant: &Wanted<'_>,
        targets: &[Target],
    ) -> Result<(), SiteError> {
        if targets.iter().any(|target| !target.is_exclusion) {
            return Err(refused("a site may take targets from rules (!ARGS:name), not give them new ones"));
        }
        let list =
            TargetList::compile(targets, None).map_err(|error| refused(&format!("selector: {error}")))?;
        self.untargeted.push((meant.bits(&ruleset.descriptions, ruleset.rules.len()), list));
        Ok(())
    }

    fn set(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::SetVar(set) if set.collection == Variable::Tx => {
                let SetVarOperation::Set(value) = &set.operation else {
                    return Err("a site sets TX variables to a value".to_owned());
                };
                let (Some(name), Some(value)) = (set.name.as_text(), value.as_text()) else {
                    return Err("a site's TX variables have no macros".to_owned());
                };
                self.variables.push((name.to_ascii_lowercase().into_bytes().into(), value.as_bytes().into()));
                Ok(())
            }
            Action::Id(_) | Action::Phase(_) | Action::Pass | Action::NoLog | Action::TransformNone => Ok(()),
            _ => Err("a site's SecAction may only set TX variables".to_owned()),
        }
    }
}

fn refused(message: &str) -> SiteError {
    SiteError { file: String::new(), line: 0, message: message.to_owned() }
}
