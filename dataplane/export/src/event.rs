//! What the events of both planes fill of a record in the same way.
//!
//! Owns: which details have a field of their own, what was done by an event's kind and name. Does not own: the events;
//! a node has them as its own values, an orchestrator as messages.

use crate::Kind;
use crate::record::{Field, Record};

/// Details with a field of their own.
const FIELDS: &[(&str, Field)] = &[
    ("listener", Field::Listener),
    ("site", Field::Site),
    ("request_id", Field::RequestId),
    ("method", Field::Method),
    ("host", Field::Host),
    ("target", Field::Target),
    ("reason", Field::Reason),
    ("error", Field::Reason),
];

impl Record {
    /// Says what was done, where the kind tells; the name tells a ban from its end.
    pub fn set_action(&mut self, is_blocked: bool) {
        let action = match self.kind {
            Kind::Attack | Kind::Request if is_blocked => "blocked",
            Kind::Attack | Kind::Request => "observed",
            Kind::Ban if self.name().ends_with("ended") || self.name().ends_with("lifted") => "unbanned",
            Kind::Ban => "banned",
            Kind::Backend | Kind::Node | Kind::Policy | Kind::Audit | Kind::Export => return,
        };
        self.set(Field::Action, action);
    }

    /// Takes in a detail of an event: into its field, as the count, or as it is.
    pub fn take_detail(&mut self, key: &str, value: &str) {
        match FIELDS.iter().find(|(name, _)| *name == key) {
            Some((_, field)) => self.set(*field, value),
            None if key == "packets" => self.count = value.parse().ok(),
            None => self.add_detail(key, value),
        }
    }
}
