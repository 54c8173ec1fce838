//! The policy file that operators write: TOML, one table per resource.
//!
//! Owns: its layout, reading it with lines and suggestions as a configuration, and writing it. Does not own: what the
//! keys of a resource mean (`body`). `${NAME}` is not expanded: a policy is the same on every node.
//!
//! ```toml
//! [[listeners]]                  # listener/web
//! name = "web"
//! bind_address = "0.0.0.0:443"
//! [[backend_groups]]             # backend-group/app
//! name = "app"
//! backends = [{ address = "192.0.2.10:443" }]
//! [[filter_sets]]                # filter-set/edge
//! name = "edge"
//! rules = [{ id = "deny-ssh", destination_ports = ["22"] }]
//! [limits]                       # limits/default
//! source_rate = 50
//! [[waf_sets]]                   # waf-set/api
//! name = "api"
//! paranoia_level = 2
//! [[lists]]                      # list/office
//! name = "office"
//! action = "allow"
//! prefixes = ["198.51.100.0/24"]
//! [[bans]]
//! prefix = "203.0.113.7"
//! for = "1h"
//! reason = "scanner"
//! ```

use core::time::Duration;
use std::collections::HashSet;

use ipnet::IpNet;
use serde_json::{Map, Value};
use toml::de::DeTable;

use super::resource::{Key, Kind, Resource};
use super::set::Set;
use super::{DOCUMENT_BYTES_MAX, RESOURCES_MAX, body};
use crate::error::{ConfigError, ConfigErrors, Place, Problem};
use crate::layers::Layers;
use crate::node::syntax_errors;
use crate::reader::tree::Entries;
use crate::reader::{Document as Reading, Table, Unit};

/// Most bans of one file; longer lists go through `secbeat ban import`.
pub const BANS_MAX: usize = 65_536;
/// Longest reason of a ban, bytes.
pub const BAN_REASON_BYTES_MAX: usize = 500;
/// Longest ban that has an end.
const BAN_TIME_MAX: Duration = Duration::from_secs(315_576_000);

/// Tables of a policy file and the kinds they hold; `[limits]` is one table.
const TABLES: [(&str, Kind); 5] = [
    ("listeners", Kind::Listener),
    ("backend_groups", Kind::BackendGroup),
    ("filter_sets", Kind::FilterSet),
    ("waf_sets", Kind::WafSet),
    ("lists", Kind::List),
];

/// A policy file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// Its resources, in the order of application.
    pub resources: Vec<Resource>,
    /// Its bans, which are merged into those of the fleet.
    pub bans: Vec<BanSpec>,
}

/// A ban as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanSpec {
    /// Whom it keeps out.
    pub prefix: IpNet,
    /// How long; `None` = as the configuration says.
    pub duration: Option<Duration>,
    /// Why.
    pub reason: String,
}

impl Document {
    /// Reads a file; `name` stands in messages.
    ///
    /// # Errors
    /// Everything that is wrong, each with its line.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigErrors> {
        if text.len() > DOCUMENT_BYTES_MAX {
            let value = format!("{} bytes", text.len());
            let problem = Problem::OutOfRange { value, allowed: format!("at most {DOCUMENT_BYTES_MAX}") };
            return Err(ConfigErrors(vec![ConfigError { place: Place::Whole, key: name.into(), problem }]));
        }
        let (root, syntax) = DeTable::parse_recoverable(text);
        if !syntax.is_empty() {
            return Err(syntax_errors(name, text, &syntax));
        }
        let layers = Layers { file: Some((name.into(), text.into())), ..Layers::default() };
        let reading = Reading::new(&layers, Some(root.get_ref()), false).literal();
        let mut top = reading.top();
        let found = read(&mut top);
        let bans = top.tables("bans", BANS_MAX, read_ban);
        top.end();
        let made = found.into_iter().map(|(key, entries)| {
            let mut entries = entries.cloned().unwrap_or_default();
            entries.take("name");
            body::shape(&key, &mut entries);
            Resource::of_checked(key, &entries)
        });
        let made: Result<Vec<Resource>, _> = made.collect();
        reading.finish().1?;
        let mut resources = made.map_err(|error| {
            let problem = Problem::Conflict(error.to_string());
            ConfigErrors(vec![ConfigError { place: Place::Whole, key: name.into(), problem }])
        })?;
        resources.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { resources, bans })
    }

    /// The file of a set.
    pub fn from_set(set: &Set) -> String {
        set.iter().map(|(_, resource)| resource.to_toml()).collect::<Vec<_>>().join("\n")
    }
}

/// Every resource of a file: its key, and its table.
fn read<'d>(top: &mut Table<'d>) -> Vec<(Key, Option<&'d Entries<'d>>)> {
    let mut found = Vec::new();
    let mut keys = HashSet::new();
    for (table, kind) in TABLES {
        let tables = top.tables(table, RESOURCES_MAX, |t| {
            let name: String = t.required("name", "unnamed", "Names the resource.");
            body::read(t, kind, &name);
            match Key::new(kind, &name) {
                Ok(key) => {
                    if !keys.insert(key.clone()) {
                        t.conflict("name", &format!("`{key}` is in the file twice"));
                    }
                    Some((key, t.entries()))
                }
                Err(_) => {
                    t.invalid("name", &name, "must have 1 to 63 letters, digits, `-`, `_`, `.`");
                    None
                }
            }
        });
        found.extend(tables.into_iter().flatten());
    }
    let limits = top.section("limits", |t| {
        body::read(t, Kind::Limits, "default");
        t.entries()
    });
    if let (Some(entries), Ok(key)) = (limits, Key::new(Kind::Limits, "default")) {
        found.push((key, Some(entries)));
    }
    if found.len() > RESOURCES_MAX {
        top.conflict("listeners", &format!("{} resources are more than {RESOURCES_MAX}", found.len()));
    }
    found
}

fn read_ban(t: &mut Table<'_>) -> BanSpec {
    let prefix = t.required("prefix", "192.0.2.1", "Whom it keeps out: an address or prefix.");
    let duration = t.duration_optional(
        "for",
        Duration::from_secs(1)..=BAN_TIME_MAX,
        Unit::Seconds,
        "How long; without it as `[lists] manual_ban_time` says.",
    );
    let reason = t.text("reason", "", "Why.");
    if reason.len() > BAN_REASON_BYTES_MAX {
        let value = format!("{} bytes", reason.len());
        t.problem(
            "reason",
            Problem::OutOfRange { value, allowed: format!("at most {BAN_REASON_BYTES_MAX}") },
        );
    }
    BanSpec { prefix, duration, reason }
}

/// A resource as it stands in a policy file.
pub(super) fn to_toml(resource: &Resource) -> String {
    let Value::Object(members) = resource.value() else { return String::new() };
    let mut file = Map::new();
    match TABLES.iter().find(|(_, kind)| *kind == resource.key.kind) {
        Some((table, _)) => {
            let mut named = Map::new();
            named.insert("name".into(), Value::String(resource.key.name.to_string()));
            named.extend(members);
            file.insert((*table).into(), Value::Array(vec![Value::Object(named)]));
        }
        None => {
            file.insert("limits".into(), Value::Object(members));
        }
    }
    toml::to_string(&file).unwrap_or_default()
}
