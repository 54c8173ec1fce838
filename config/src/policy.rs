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
mod check;
mod compose;
mod delta;
mod diff;
mod document;
mod file;
mod resource;
mod rules;
mod set;
pub mod wire;

pub use check::check;
pub use compose::{Composed, compose};
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

/// What the fuzzer and the replay of its corpus call: whatever the bytes, an answer; what is accepted means the same
/// after it was written and read again.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let _ = parse_file(text);
    for kind in Kind::ALL {
        let Ok(key) = Key::new(kind, "default") else { continue };
        let Ok(resource) = Resource::parse(key.clone(), text) else { continue };
        assert_eq!(Resource::parse(key, &resource.body).as_ref(), Ok(&resource), "canonical");
    }
    let Ok(document) = Document::parse("fuzz", text) else { return };
    let mut set = Set::new();
    for resource in document.resources {
        let again = Resource::parse(resource.key.clone(), &resource.body);
        assert_eq!(again.as_ref(), Ok(&resource), "both ways of reading agree");
        assert_eq!(
            resource.with_rules(&[], &[], false).map_or(resource.hash, |same| same.hash),
            resource.hash
        );
        assert!(set.insert(resource).is_ok());
    }
    let again = Document::parse("again", &Document::from_set(&set)).map(|document| document.resources);
    assert!(
        again.is_ok_and(|resources| resources.iter().map(|r| r.hash).eq(set.iter().map(|(_, r)| r.hash)))
    );
    let _ = check(&set);
    assert!(
        compose(&crate::Layers::default(), &set).is_ok_and(|composed| composed.rejected.len() <= set.len())
    );
    let held = Held::new(set, Default::default());
    assert_eq!(
        parse_file(&write_file(&held, 1, 1)).map(|(again, ..)| again.set().hash()),
        Ok(held.set().hash())
    );
}
