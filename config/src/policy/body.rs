//! Whether a body may stand as it is: the keys of its kind, read by the sections of the configuration.
//!
//! Owns: which section reads which kind, what is forbidden in a policy, the shape that canonical bodies have. The same
//! function reads a body that arrives as JSON and a table of a policy file. Does not own: whether resources fit
//! together (`check`, `compose`). Cost: linear, about a microsecond per filter rule.

use std::collections::HashSet;

use ipnet::IpNet;

use super::RULES_MAX;
use super::delta::RulePatch;
use super::resource::{Key, Kind, Resource, ResourceError};
use super::rules::Pieces;
use crate::error::{ConfigError, ConfigErrors, Place, Problem};
use crate::layers::Layers;
use crate::node::{BACKENDS_MAX, Backend, FilterRule, Limits, ListenerEntry, Waf};
use crate::reader::tree::{Entries, Item, PART_BASE, Tree};
use crate::reader::{Choice, Document, Table, json};
use crate::waf_rules::Rule;

/// Prefixes of one list: together with a name they fit into a body.
pub(super) const LIST_PREFIXES_MAX: usize = 65_536;
/// Longest id of a rule, bytes.
const RULE_ID_BYTES_MAX: usize = 128;
/// Where a filter set stands among others unless it says so.
pub(super) const PRIORITY_DEFAULT: i64 = 1_000;
/// Keys of `[waf]` that name a file of the node.
const WAF_FILES: [&str; 5] = ["rules_path", "crs_path", "before_path", "after_path", "audit_log"];

/// What a list does with its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListAction {
    Allow,
    Block,
}

impl Choice for ListAction {
    const ALL: &'static [(&'static str, Self)] = &[("allow", Self::Allow), ("block", Self::Block)];
}

/// A body as its section reads it.
pub(super) enum Typed {
    BackendGroup(Vec<Backend>),
    List { action: ListAction, prefixes: Vec<IpNet> },
    FilterSet { priority: u16, rules: Vec<FilterRule> },
    Limits,
    WafSet { keys: Vec<String>, rules: Vec<Rule> },
    Listener(ListenerEntry),
}

/// Reads the keys of a kind. After a mistake the value holds defaults and must not be used.
pub(super) fn read(t: &mut Table<'_>, kind: Kind, name: &str) -> Typed {
    match kind {
        Kind::BackendGroup => read_backends(t),
        Kind::List => read_list(t),
        Kind::FilterSet => read_filter_set(t, name),
        Kind::Limits => {
            Limits::read(t);
            Typed::Limits
        }
        Kind::WafSet => read_waf_set(t),
        Kind::Listener => Typed::Listener(ListenerEntry::read(t)),
    }
}

fn read_backends(t: &mut Table<'_>) -> Typed {
    let mut names = HashSet::new();
    let backends = t.tables("backends", BACKENDS_MAX, |t| {
        let backend = Backend::read(t);
        if t.has("group") {
            t.conflict("group", "the group is the name of the resource: leave it out");
        }
        if !names.insert(backend.name.clone()) {
            t.conflict("name", &format!("two backends are called `{}`", backend.name));
        }
        backend
    });
    if backends.is_empty() {
        t.problem("backends", Problem::Missing("a group has at least one backend".into()));
    }
    Typed::BackendGroup(backends)
}

fn read_list(t: &mut Table<'_>) -> Typed {
    let action = t.choice_optional("action", "What happens with its addresses.");
    if action.is_none() && !t.has("action") {
        t.problem("action", Problem::Missing(format!("one of {}", ListAction::words())));
    }
    let prefixes = t.list("prefixes", &[], LIST_PREFIXES_MAX, "Addresses and prefixes.");
    Typed::List { action: action.unwrap_or(ListAction::Allow), prefixes }
}

fn read_filter_set(t: &mut Table<'_>, set: &str) -> Typed {
    let priority = t.integer(
        "priority",
        PRIORITY_DEFAULT,
        0..=65_535,
        "",
        "Sets are tried in this order, lower first; those with the same one by name.",
    );
    let mut ids = HashSet::new();
    let rules = t.tables("rules", RULES_MAX, |t| {
        let id: String = t.required("id", "unnamed", "Names the rule within its set.");
        let name = t.text_optional("name", "Name in metrics and events. Without it `set/id`.");
        check_id(t, &id);
        let name = name.unwrap_or_else(|| {
            let mut name = String::with_capacity(set.len() + id.len() + 1);
            name.push_str(set);
            name.push('/');
            name.push_str(&id);
            name
        });
        if !ids.insert(id) {
            t.conflict("id", "another rule of the set has it");
        }
        FilterRule::read_called(t, name)
    });
    Typed::FilterSet { priority, rules }
}

fn check_id(t: &Table<'_>, id: &str) {
    if let Err(reason) = id_allowed(id) {
        t.invalid("id", id, &reason);
    }
}

/// Ids stand in paths and on command lines.
fn id_allowed(id: &str) -> Result<(), String> {
    let is_allowed =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'[' | b']' | b',' | b'\'');
    if !id.is_empty() && id.len() <= RULE_ID_BYTES_MAX && id.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(format!(
        "must have 1 to {RULE_ID_BYTES_MAX} letters, digits and signs, without spaces, quotes, commas and brackets"
    ))
}

fn read_waf_set(t: &mut Table<'_>) -> Typed {
    for key in WAF_FILES {
        if t.has(key) {
            t.conflict(key, "names a file of the node: it belongs into the node's own configuration");
        }
    }
    let keys = t.entries().into_iter().flat_map(|entries| &entries.0);
    let keys =
        keys.map(|entry| entry.key.to_string()).filter(|key| key != "rules" && key != "name").collect();
    let waf = Waf::read(t);
    if waf.sites.iter().any(|site| site.rules.is_some()) {
        t.conflict(
            "sites",
            "`rules` of a site names a file of the node: it belongs into the node's own configuration",
        );
    }
    for rule in &waf.rules {
        if let Err(reason) = id_allowed(&rule.id) {
            t.invalid("rules", &rule.id, &format!("as an id {reason}"));
        }
    }
    Typed::WafSet { keys, rules: waf.rules }
}

/// Checks a body and brings it into its canonical shape.
pub(super) fn check(key: &Key, body: &mut Entries<'_>) -> Result<(), ConfigErrors> {
    if key.kind == Kind::Limits && key.name.as_ref() != "default" {
        let problem =
            Problem::Conflict("a fleet has one set of limits: it is called `limits/default`".into());
        return Err(ConfigErrors(vec![ConfigError { place: Place::Whole, key: "limits".into(), problem }]));
    }
    if let Some(Tree::Text(name)) = body.get("name").map(|item| &item.tree)
        && **name == *key.name
    {
        body.take("name");
    }
    shape(key, body);
    number_rules(body);
    read_body(key, body).map(|_| ())
}

/// Members that canonical bodies always have.
pub(super) fn shape(key: &Key, body: &mut Entries<'_>) {
    if key.kind.has_rules() && body.get("rules").is_none() {
        body.set("rules".into(), Item { at: PART_BASE, tree: Tree::List(Vec::new()) });
    }
}

/// Gives every rule a place of its own, for messages.
fn number_rules(body: &mut Entries<'_>) {
    let rules = body.0.iter_mut().find(|entry| entry.key == "rules").map(|entry| &mut entry.item.tree);
    let Some(Tree::List(rules)) = rules else { return };
    for (at, rule) in (PART_BASE + 1..).zip(rules) {
        rule.at = at;
        if let Tree::Table(entries) = &mut rule.tree {
            for entry in &mut entries.0 {
                entry.at = at;
                entry.item.at = at;
            }
        }
    }
}

/// The body of a resource as its section reads it.
pub(super) fn typed(resource: &Resource) -> Result<Typed, ResourceError> {
    let key = &resource.key;
    let body = json::parse(&resource.body).map_err(|why| ResourceError::Json { key: key.clone(), why })?;
    read_body(key, &body).map_err(|errors| ResourceError::Invalid { key: key.clone(), errors })
}

fn read_body(key: &Key, body: &Entries<'_>) -> Result<Typed, ConfigErrors> {
    let layers = Layers::default();
    let name_part = |part: usize| match part.checked_sub(1) {
        None => "body".into(),
        Some(index) => rule_name(body, index),
    };
    let document = Document::of_tree(&layers, body, PART_BASE, &name_part).literal();
    let mut top = document.top();
    if key.kind == Kind::Listener && top.has("name") {
        top.conflict("name", "is not the one of the resource: leave it out");
    }
    let typed = read(&mut top, key.kind, &key.name);
    top.end();
    document.finish().1.map(|()| typed)
}

fn rule_name(body: &Entries<'_>, index: usize) -> String {
    let rule = match body.get("rules").map(|item| &item.tree) {
        Some(Tree::List(rules)) => rules.get(index).map(|item| &item.tree),
        _ => None,
    };
    match rule {
        Some(Tree::Table(entries)) => match entries.get("id").map(|item| &item.tree) {
            Some(Tree::Text(id)) => {
                format!("rules[id={}]", id.chars().take(RULE_ID_BYTES_MAX).collect::<String>())
            }
            _ => format!("rules[{index}]"),
        },
        _ => format!("rules[{index}]"),
    }
}

/// Checks what a patch brought: the head, and the rules it names. The others were checked when they came.
pub(super) fn check_patch(key: &Key, pieces: &Pieces<'_>, patch: &RulePatch) -> Result<(), ConfigErrors> {
    let places = pieces.places();
    if places.len() != pieces.rules.len() {
        let problem = Problem::Conflict("two rules have the same id".into());
        return Err(ConfigErrors(vec![ConfigError {
            place: Place::Part("body".into()),
            key: "rules".into(),
            problem,
        }]));
    }
    let rules =
        patch.upserts.iter().filter_map(|(id, _)| pieces.rules.get(*places.get(id.as_str())?)).cloned();
    let small = Pieces { head: pieces.head.clone(), rules: rules.collect() };
    let text = small.join();
    let syntax = |why| {
        let problem = Problem::Syntax(why);
        ConfigErrors(vec![ConfigError { place: Place::Part("body".into()), key: "rules".into(), problem }])
    };
    let mut body = json::parse(&text).map_err(syntax)?;
    check(key, &mut body)
}
