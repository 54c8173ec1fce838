//! `[waf]`, `[geo]`: what is looked for in requests, and where they come from.

use std::path::PathBuf;

use crate::reader::{Choice, Table};

/// `[waf]`.
#[derive(Clone, Debug)]
pub struct Waf {
    /// Inspect requests.
    pub enable: bool,
    /// JSON rules.
    pub rules_path: Option<PathBuf>,
    /// Directory of the OWASP Core Rule Set.
    pub crs_path: Option<PathBuf>,
    /// Paranoia level of the Core Rule Set.
    pub paranoia_level: u8,
    /// Block what rules call suspicious, not only what they call an attack.
    pub block_suspicious: bool,
    /// Requests per second from one source; `None` = no limit.
    pub rate_limit_rps: Option<u32>,
}

impl Waf {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            enable: t.boolean("enable", false, "Inspect requests. Needs a listener of mode `l7`."),
            rules_path: t.value_optional("rules_path", "JSON rules, e.g. `config/waf_rules.json`."),
            crs_path: t.value_optional("crs_path", "Directory of the OWASP Core Rule Set."),
            paranoia_level: t.integer(
                "paranoia_level",
                1,
                1..=4,
                "",
                "Paranoia level of the Core Rule Set: higher finds more and errs more.",
            ),
            block_suspicious: t.boolean("block_suspicious", true, "Block what rules find; false only logs."),
            rate_limit_rps: t.limit(
                "rate_limit_rps",
                100,
                1_000_000_000,
                "requests/s",
                "Requests per second from one source to `l7` listeners; more are answered with 429. 0 = no limit. \
                 Works without `enable`; the burst is `[limits] request_burst`.",
            ),
        }
    }
}

/// What happens to a source that `[geo]` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeoAction {
    /// Listed countries and networks are dropped.
    Block,
    /// Only listed ones are let in.
    Allow,
}

impl Choice for GeoAction {
    const ALL: &'static [(&'static str, Self)] = &[("block", Self::Block), ("allow", Self::Allow)];
}

/// `[geo]`.
#[derive(Clone, Debug)]
pub struct Geo {
    /// Look sources up.
    pub enable: bool,
    /// Country database, MMDB.
    pub country_path: Option<PathBuf>,
    /// Network (AS) database, MMDB.
    pub asn_path: Option<PathBuf>,
    /// What happens to listed sources.
    pub action: GeoAction,
    /// ISO 3166 country codes, two capitals.
    pub countries: Vec<String>,
    /// Autonomous system numbers.
    pub asns: Vec<u32>,
}

impl Geo {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let geo = Self {
            enable: t.boolean("enable", false, "Look sources up in the databases below."),
            country_path: t.value_optional("country_path", "Country database in MMDB format."),
            asn_path: t.value_optional("asn_path", "Network (AS) database in MMDB format."),
            action: t.choice(
                "action",
                GeoAction::Block,
                "Drop listed sources (`block`), or let in only them (`allow`).",
            ),
            countries: t.list("countries", &[], 256, "Country codes (ISO 3166, two capital letters)."),
            asns: t.list("asns", &[], 4_096, "Autonomous system numbers."),
        };
        for code in &geo.countries {
            if !(code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase())) {
                t.invalid("countries", code, "must be two capital letters (ISO 3166)");
            }
        }
        geo
    }
}
