//! What rules look at, compiled.
//!
//! Owns: [`TargetList`], shared by all rules that write the same targets, and [`Group`], a list seen through a
//! pipeline. Does not own: the values.

use std::sync::atomic::{AtomicU64, Ordering};

use super::name::{Names, TxId};
use super::pipeline::Node;
use crate::operator::rx::{Rx, RxError};
use crate::seclang::ast::{Selector, Target};
use crate::variable::{Kind, Variable};

/// Which members of a collection.
#[derive(Debug)]
pub(crate) enum Select {
    All,
    /// In lower case.
    Name(Box<[u8]>),
    Tx(TxId),
    Pattern(Box<Pattern>),
}

impl Select {
    /// Whether a member's name is meant.
    pub(crate) fn takes(&self, name: &[u8], cache: &mut SelectCache) -> bool {
        match self {
            Self::All => true,
            Self::Name(wanted) => name.eq_ignore_ascii_case(wanted),
            // Looked up by number, never by name.
            Self::Tx(_) => false,
            Self::Pattern(pattern) => pattern.rx.matches(name, cache.of(pattern), None),
        }
    }
}

/// An expression that selects members, with a number of its own: caches are kept by it.
#[derive(Debug)]
pub(crate) struct Pattern {
    rx: Rx,
    number: u64,
}

impl Pattern {
    /// Names are compared in any case.
    fn compile(pattern: &str) -> Result<Self, RxError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let rx = Rx::compile(&format!("(?i:{pattern})"))?;
        Ok(Self { rx, number: NEXT.fetch_add(1, Ordering::Relaxed) })
    }
}

/// Caches of selectors' expressions, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct SelectCache {
    caches: std::collections::HashMap<u64, Box<regex_automata::meta::Cache>>,
}

impl SelectCache {
    fn of(&mut self, pattern: &Pattern) -> &mut regex_automata::meta::Cache {
        self.caches.entry(pattern.number).or_insert_with(|| Box::new(pattern.rx.cache()))
    }
}

/// A target that is looked at.
#[derive(Debug)]
pub(crate) struct Include {
    pub(crate) variable: Variable,
    pub(crate) select: Select,
    pub(crate) is_count: bool,
}

/// What some rules look at.
#[derive(Debug)]
pub(crate) struct TargetList {
    pub(crate) includes: Box<[Include]>,
    /// What is left out again.
    pub(crate) excludes: Box<[(Variable, Select)]>,
    /// Whether what it holds may change between two rules.
    pub(crate) is_volatile: bool,
}

/// A list seen through a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    pub(crate) list: u32,
    pub(crate) node: Node,
}

impl TargetList {
    pub(crate) fn compile(targets: &[Target], mut names: Option<&mut Names>) -> Result<Self, RxError> {
        let mut includes = Vec::new();
        let mut excludes = Vec::new();
        for target in targets {
            let select = selection(target, names.as_deref_mut())?;
            if target.is_exclusion {
                excludes.push((target.variable, select));
            } else {
                includes.push(Include { variable: target.variable, select, is_count: target.is_count });
            }
        }
        let is_volatile = includes.iter().any(|include| is_volatile(include.variable));
        Ok(Self { includes: includes.into(), excludes: excludes.into(), is_volatile })
    }

    /// Whether a member is left out.
    pub(crate) fn excludes(&self, variable: Variable, name: &[u8], cache: &mut SelectCache) -> bool {
        self.excludes.iter().any(|(excluded, select)| *excluded == variable && select.takes(name, cache))
    }
}

fn selection(target: &Target, names: Option<&mut Names>) -> Result<Select, RxError> {
    Ok(match &target.selector {
        Selector::All => Select::All,
        Selector::Name(name) if target.variable == Variable::Tx && !target.is_exclusion => {
            match names.and_then(|names| names.intern(name.as_bytes())) {
                Some(id) => Select::Tx(id),
                None => Select::Name(name.to_ascii_lowercase().into_bytes().into()),
            }
        }
        Selector::Name(name) => Select::Name(name.to_ascii_lowercase().into_bytes().into()),
        Selector::Pattern(pattern) => Select::Pattern(Box::new(Pattern::compile(pattern)?)),
    })
}

/// What rules themselves change while a phase runs.
const fn is_volatile(variable: Variable) -> bool {
    variable.is_persistent()
        || matches!(
            variable,
            Variable::Tx
                | Variable::MatchedVar
                | Variable::MatchedVarName
                | Variable::MatchedVars
                | Variable::MatchedVarsNames
                | Variable::HighestSeverity
                | Variable::Duration
                | Variable::Env
                | Variable::Geo
                | Variable::Rule
                | Variable::Sessionid
                | Variable::Userid
        )
        || matches!(variable.kind(), Kind::Single)
            && matches!(variable, Variable::ReqbodyProcessor | Variable::RequestBody)
}
