//! Policy: what a fleet is told to do, as resources that are versioned, pushed and acknowledged one by one.
//!
//! Owns: kinds of resources, their strict reading (shared by both planes), canonical form and hash, sets of them,
//! differences between sets, the changes that bring a node up to date, and how a node's configuration is made of its
//! file and a set. Does not own: transport (`wire` converts, nothing else), who may change what, bans
//! (`crate::ban`: they merge instead of being replaced).
//!
//! ```text
//!  policy file (TOML)  --Document::parse-->  Resource*  --Set-->  diff, delta  --wire-->  node: Held::apply
//!                                                                                          |
//!                      configuration file (TOML)  ----------------------- compose ---------+--> NodeConfig
//! ```
//!
//! A resource's body is the table of the configuration file that it replaces, as canonical JSON: what may stand in a
//! policy is what may stand in a configuration, checked by the same code.

mod body;
mod compose;
mod delta;
mod diff;
mod document;
mod file;
mod json;
mod resource;
mod rules;
mod set;
pub mod wire;

pub use compose::{Composed, check, compose};
pub use delta::{Content, Delta, Held, Outcome, RulePatch, State, Update, delta};
pub use diff::{Action, Change, FIELDS_MAX, FieldChange, diff};
pub use document::{BAN_REASON_BYTES_MAX, BANS_MAX, BanSpec, Document};
pub use file::{FileError, parse_file, write_file};
pub use resource::{Hash, Key, Kind, Resource, ResourceError};
pub use set::{Set, TooMany};

/// Resources of a policy. Each kind has few by nature; 4,096 bounds what a push may hold in memory.
pub const RESOURCES_MAX: usize = 4_096;
/// Bytes of one body: 16,384 filter rules of 250 bytes fit.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Rules of one filter set or WAF set.
pub const RULES_MAX: usize = 16_384;
/// Bytes of all bodies of a set together: what a node keeps in memory and on disk.
pub const SET_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of a policy file.
pub const DOCUMENT_BYTES_MAX: usize = 16 * 1024 * 1024;
