//! The rules of the node: read from files, compiled once, shared by all workers.
//!
//! ```text
//!  [waf] --layout--> SecLang text --secbeat_waf--> rule set --.
//!  JSON rules, API --json--> rules ---------------'           +--> Waf (immutable, swapped whole) --> session::inspect
//!  [[waf.sites]] --site--> differences from the set ----------'
//! ```
//! Owns: [`Waf`], [`load`]. Does not own: SecLang and its evaluation (`secbeat_waf`), what becomes of verdicts
//! (`session::inspect`). Compiling takes up to a second and is never done on a worker.

pub mod added;
mod csrf;
pub mod explain;
pub mod files;
pub mod hits;
mod json;
mod kind;
mod layout;
mod site;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use secbeat_config::node::{AtLimit, AuditFormat, LogTarget, Waf as Config};
use secbeat_config::waf_rules::{Rule, RuleSet};
use secbeat_waf::ruleset::{Ruleset, Site};
use secbeat_waf::seclang::ast::EngineMode;
use secbeat_waf::seclang::{Diagnostics, read_text};
use secbeat_waf::transaction::{Budget, Persistent};

use crate::event::AttackKind;
use files::Disk;
use hits::Hits;
pub use json::FIRST_ID as JSON_FIRST_ID;
pub use site::Mode;
use site::Sites;

/// Longest JSON rule file, bytes: 10,000 rules of 400 bytes.
const JSON_BYTES_MAX: u64 = 4 << 20;

/// Why rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is not there, or not what it should be.
    #[error("{path}: {message}")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// Mistakes in SecLang.
    #[error("{0}")]
    Rules(Diagnostics),
    /// Mistakes of a site.
    #[error("[[waf.sites]] {number}: {message}")]
    Site {
        /// Which, from 1.
        number: usize,
        /// What is wrong.
        message: String,
    },
}

/// What outlives a rule set: collections, counts.
#[derive(Debug, Default)]
pub struct Lasting {
    /// `IP`, `GLOBAL` and the like.
    pub persistent: Arc<Persistent>,
    /// How often rules matched.
    pub hits: Arc<Hits>,
}

/// How records are written.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The form.
    pub format: AuditFormat,
    /// What they hold, as ModSecurity names it.
    pub parts: Box<str>,
}

/// The rules in force.
#[derive(Debug)]
pub struct Waf {
    /// The rule set.
    pub ruleset: Arc<Ruleset>,
    /// What transactions may cost.
    pub budget: Budget,
    /// What outlives this set.
    pub lasting: Arc<Lasting>,
    /// Records of transactions; `None` = none are written.
    pub audit: Option<Audit>,
    /// Backends are asked for responses that can be looked at.
    pub wants_plain_responses: bool,
    /// Bytes of bodies held at once, per worker.
    pub held_bytes_max: u64,
    /// Answers held back at once, per worker.
    pub tarpit_max: u32,
    /// The JSON rules in it.
    pub json: Vec<Rule>,
    /// How many of them the API added: the last ones.
    pub added: usize,
    /// What was read and has no effect, for the operator.
    pub notes: Vec<String>,
    sites: Sites,
    rules: HashMap<u64, Known>,
}

/// What the node knows of a rule.
#[derive(Clone, Debug)]
pub struct Known {
    /// As logs and events call it.
    pub name: Arc<str>,
    /// What it finds; `None` = nothing by itself (scores, set-up).
    pub kind: Option<AttackKind>,
    /// Place of its count.
    pub hit: Arc<core::sync::atomic::AtomicU64>,
}

impl Waf {
    /// What is known of a rule.
    pub fn rule(&self, id: u64) -> Option<&Known> {
        self.rules.get(&id)
    }

    /// The site of a request, in the mode that its route or listener wants; `Err` = rules are not asked there.
    pub fn site(&self, host: &[u8], path: &[u8], wanted: Option<Mode>) -> Result<Option<&Arc<Site>>, Off> {
        self.sites.find(host, path, wanted)
    }
}

/// Rules are not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Off;

/// Reads and compiles what the configuration names. `added` are rules that the API added.
///
/// # Errors
/// Everything that is wrong.
pub fn load(config: &Config, added: &[Rule], lasting: &Arc<Lasting>) -> Result<Arc<Waf>, Error> {
    let text = layout::text(config)?;
    let mut read = read_text("[waf]", &text, &Disk).map_err(Error::Rules)?;
    if !config.block_suspicious && read.settings.engine == EngineMode::On {
        read.settings.engine = EngineMode::DetectionOnly;
    }
    let mut json = match &config.rules_path {
        Some(path) => json_rules(path)?,
        None => Vec::new(),
    };
    let name = config.rules_path.as_ref().map_or_else(String::new, |path| path.display().to_string());
    // A rule takes the place of an earlier one with its id: the configuration's (a policy's are among them) those of
    // the file, the API's all others.
    let mut given = config.rules.clone();
    given.retain(|rule| added.iter().all(|other| other.id != rule.id));
    json.retain(|rule| given.iter().chain(added).all(|other| other.id != rule.id));
    let mut at = 0;
    for (name, rules) in [(name.as_str(), &*json), ("[[waf.rules]]", &given), ("[rules of the API]", added)] {
        json::append(&mut read, name, rules, at);
        at += rules.len();
    }
    json.extend(given);
    json.extend_from_slice(added);
    let ruleset = Arc::new(Ruleset::compile(&read).map_err(Error::Rules)?);
    let notes = ruleset.settings().without_effect.iter().map(|(position, note)| {
        let file = read.files.get(usize::from(position.file)).map_or("", String::as_str);
        format!("{file}:{}: {note}", position.line)
    });
    let notes = notes.collect();
    let sites = Sites::compile(config, &ruleset)?;
    let rules = known(&ruleset, &json, &lasting.hits);
    let refuses = config.at_limit == AtLimit::Block;
    Ok(Arc::new(Waf {
        budget: Budget {
            work_bytes_max: config.work_bytes_max,
            matches_max: config.matches_max,
            data_bytes_max: usize::try_from(config.data_bytes_max).unwrap_or(usize::MAX),
            refuses,
        },
        lasting: Arc::clone(lasting),
        audit: (config.audit_log != LogTarget::Off)
            .then(|| Audit { format: config.audit_format, parts: config.audit_parts.as_str().into() }),
        wants_plain_responses: config.response_decompression && config.inspect_responses,
        held_bytes_max: config.held_bytes_max,
        tarpit_max: config.tarpit_max,
        added: added.len(),
        json,
        notes,
        sites,
        rules,
        ruleset,
    }))
}

/// What every rule is called and finds.
fn known(ruleset: &Ruleset, json: &[Rule], hits: &Hits) -> HashMap<u64, Known> {
    let mut rules = HashMap::new();
    for rule in ruleset.rules() {
        let own = json::index(rule.id).and_then(|index| json.get(index));
        let kind = match own {
            Some(own) => Some(kind::of_json(&own.id)),
            None => kind::of_tags(ruleset.tags(rule.id)),
        };
        let name = rule.label.map_or_else(|| rule.id.to_string().into(), Into::into);
        let hit = hits.place(&name);
        rules.insert(rule.id, Known { hit, kind, name });
    }
    hits.keep(|name| rules.values().any(|known| &*known.name == name));
    rules
}

fn json_rules(path: &Path) -> Result<Vec<Rule>, Error> {
    let failed = |message: String| Error::File { path: path.display().to_string(), message };
    let text = files::read(path, JSON_BYTES_MAX).map_err(failed)?;
    let text = String::from_utf8(text).map_err(|error| failed(error.to_string()))?;
    RuleSet::parse(&text).map(|set| set.rules).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests;
