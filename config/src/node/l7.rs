//! `[geo]`: where requests come from.

use std::path::PathBuf;

use crate::reader::{Choice, Table};

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
