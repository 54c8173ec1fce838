//! One resource: kind, name, canonical body, hash.
//!
//! Owns: the strict reading of a body, and its canonical form. Cost: linear in the body.

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::rules::Pieces;
use super::{BODY_BYTES_MAX, body, document};
use crate::error::{ConfigError, ConfigErrors, Place, Problem};
use crate::reader::json;
use crate::reader::tree::Entries;

/// What a resource is. The order is that of application: what others refer to comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Backends that listeners and routes name: `[[backends]]` of a configuration.
    BackendGroup,
    /// Addresses with an action: `[lists] allow` or `block`.
    List,
    /// Rules on packets: `[[filter.rules]]`.
    FilterSet,
    /// `[limits]`.
    Limits,
    /// `[waf]` and JSON rules.
    WafSet,
    /// One of `[[listeners]]`.
    Listener,
}

impl Kind {
    /// Every kind, in the order of application.
    pub const ALL: [Self; 6] =
        [Self::BackendGroup, Self::List, Self::FilterSet, Self::Limits, Self::WafSet, Self::Listener];

    /// The word in names and paths.
    pub const fn word(self) -> &'static str {
        match self {
            Self::BackendGroup => "backend-group",
            Self::List => "list",
            Self::FilterSet => "filter-set",
            Self::Limits => "limits",
            Self::WafSet => "waf-set",
            Self::Listener => "listener",
        }
    }

    /// Whether it is a set of rules with ids, of which single ones can be changed.
    pub const fn has_rules(self) -> bool {
        matches!(self, Self::FilterSet | Self::WafSet)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Names a resource: `filter-set/edge`. In paths of URLs `filter-set:edge` is read too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What it is.
    pub kind: Kind,
    /// Which: 1 to 63 letters, digits, `-`, `_`, `.`.
    pub name: Arc<str>,
}

/// Longest name of a resource, in bytes.
const NAME_BYTES_MAX: usize = 63;

impl Key {
    /// A key.
    ///
    /// # Errors
    /// When the name is empty, too long, or has other characters.
    pub fn new(kind: Kind, name: &str) -> Result<Self, ResourceError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_allowed) {
            return Err(ResourceError::Name(name.chars().take(80).collect()));
        }
        Ok(Self { kind, name: name.into() })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl FromStr for Key {
    type Err = ResourceError;

    fn from_str(text: &str) -> Result<Self, ResourceError> {
        let (kind, name) = text
            .split_once(['/', ':'])
            .ok_or_else(|| ResourceError::Name(text.chars().take(80).collect()))?;
        let kind = Kind::ALL
            .into_iter()
            .find(|known| known.word() == kind)
            .ok_or_else(|| ResourceError::Kind(kind.chars().take(80).collect()))?;
        Self::new(kind, name)
    }
}

/// SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Of these parts, each with its length before it.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A resource, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its name.
    pub key: Key,
    /// Canonical JSON: keys sorted, no spaces, what was written and nothing else.
    pub body: Arc<str>,
    /// Over kind, name and body.
    pub hash: Hash,
}

impl Resource {
    /// Reads a body: unknown keys, wrong types and values out of range are errors with key, value, what is allowed and
    /// what was probably meant.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(key: Key, body_json: &str) -> Result<Self, ResourceError> {
        if body_json.len() > BODY_BYTES_MAX {
            return Err(ResourceError::TooLarge { key, bytes: body_json.len(), bytes_max: BODY_BYTES_MAX });
        }
        match json::parse(body_json) {
            Ok(body) => Self::of_tree(key, body, body_json.len()),
            Err(why) => Err(ResourceError::Json { key, why }),
        }
    }

    /// Of a body as a tree.
    fn of_tree(key: Key, mut body: Entries<'_>, bytes_expected: usize) -> Result<Self, ResourceError> {
        if let Err(errors) = body::check(&key, &mut body) {
            return Err(ResourceError::Invalid { key, errors });
        }
        Self::of_text(key, json::write(&body, bytes_expected))
    }

    /// Of a body that was checked.
    pub(super) fn of_checked(key: Key, body: &Entries<'_>) -> Result<Self, ResourceError> {
        Self::of_text(key, json::write(body, 1_024))
    }

    fn of_text(key: Key, text: String) -> Result<Self, ResourceError> {
        if text.len() > BODY_BYTES_MAX {
            return Err(ResourceError::TooLarge { key, bytes: text.len(), bytes_max: BODY_BYTES_MAX });
        }
        let hash = Self::hash_of(&key, &text);
        Ok(Self { key, body: text.into(), hash })
    }

    /// The hash of a resource with this body.
    pub(super) fn hash_of(key: &Key, body: &str) -> Hash {
        Hash::of([key.kind.word().as_bytes(), key.name.as_bytes(), body.as_bytes()])
    }

    /// The body.
    pub fn value(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// As it would stand in a policy file.
    pub fn to_toml(&self) -> String {
        document::to_toml(self)
    }

    /// The rules of a filter set or WAF set in their order, each with its id; nothing of other kinds.
    pub fn rules(&self) -> Vec<(String, serde_json::Value)> {
        let Some(pieces) = Pieces::of(&self.body).filter(|_| self.key.kind.has_rules()) else {
            return Vec::new();
        };
        let value = |text: &str| serde_json::from_str(text).unwrap_or_default();
        pieces.rules.iter().map(|rule| (rule.id.clone().into_owned(), value(&rule.text))).collect()
    }

    /// A filter set or WAF set without rules.
    ///
    /// # Errors
    /// When the kind has no rules.
    pub fn empty_rules(key: Key) -> Result<Self, ResourceError> {
        if !key.kind.has_rules() {
            return Err(no_rules(key));
        }
        Self::parse(key, r#"{"rules":[]}"#)
    }

    /// With rules added, replaced (those whose id is known keep their place, others follow at the end) or removed.
    /// `replace` removes every rule that is not in `upserts` and brings them into that order.
    ///
    /// # Errors
    /// When the kind has no rules, a rule is wrong, there is no rule to remove, or there would be too many.
    pub fn with_rules(
        &self,
        upserts: &[&str],
        removals: &[&str],
        replace: bool,
    ) -> Result<Self, ResourceError> {
        let pieces = Pieces::of(&self.body).filter(|_| self.key.kind.has_rules());
        let Some(mut pieces) = pieces else { return Err(no_rules(self.key.clone())) };
        pieces.change(upserts, removals, replace).map_err(|problem| self.rule_error(problem))?;
        Self::parse(self.key.clone(), &pieces.join())
    }

    fn rule_error(&self, (id, problem): (String, Problem)) -> ResourceError {
        let error = ConfigError { place: Place::Part("rules".into()), key: id, problem };
        ResourceError::Invalid { key: self.key.clone(), errors: ConfigErrors(vec![error]) }
    }
}

fn no_rules(key: Key) -> ResourceError {
    let problem = Problem::Conflict("only filter-set and waf-set have rules".into());
    let error = ConfigError { place: Place::Part("body".into()), key: "rules".into(), problem };
    ResourceError::Invalid { key, errors: ConfigErrors(vec![error]) }
}

/// Why a resource is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// Not a name.
    #[error("`{0}` is not a name of a resource: 1 to 63 letters, digits, `-`, `_`, `.`, after `kind/`")]
    Name(String),
    /// Not a kind.
    #[error("`{0}` is not a kind: one of backend-group, list, filter-set, limits, waf-set, listener")]
    Kind(String),
    /// Not JSON, or not an object.
    #[error("{key}: the body is not a JSON object: {why}")]
    Json {
        /// Which.
        key: Key,
        /// What the parser says.
        why: String,
    },
    /// Too large.
    #[error("{key}: {bytes} bytes are more than the {bytes_max} that one resource may have")]
    TooLarge {
        /// Which.
        key: Key,
        /// How large.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Mistakes in its keys.
    #[error("{key}: {errors}")]
    Invalid {
        /// Which.
        key: Key,
        /// All of them.
        errors: crate::ConfigErrors,
    },
}
