//! Policy on the wire: to and from `secbeat.v1`.
//!
//! Owns: the conversions and their checks (kinds, names, lengths of hashes, UTF-8, bounds). What an older or newer peer
//! sends that is not known is an error of that one message. Does not own: meaning, transport.

use std::sync::Arc;

use secbeat_proto::v1;
use secbeat_proto::v1::{resource_change, resource_update, rule_patch};

use super::delta::{Content, Delta, Outcome, RulePatch, State, Update};
use super::diff::{Action, Change, FieldChange};
use super::resource::{Hash, Key, Kind, Resource, ResourceError};
use super::{BODY_BYTES_MAX, RESOURCES_MAX, RULES_MAX};

/// Bodies from here on are packed: below, there is little to win.
pub const PACKED_FROM_BYTES: usize = 16 * 1024;

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field that must be there.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// A kind that this program does not know.
    #[error("kind {0} of a resource is not known: the sender may be newer")]
    Kind(i32),
    /// A name, or the resource itself.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// Not a hash.
    #[error("`{field}` has {bytes} bytes; a hash has 32")]
    Hash {
        /// Which field.
        field: &'static str,
        /// How many bytes it has.
        bytes: usize,
    },
    /// Not an LZ4 block of the length that stands before it.
    #[error("`packed` is not a body: damaged on its way, or of a newer sender")]
    Packed,
    /// Not text.
    #[error("`{0}` is not UTF-8")]
    Text(&'static str),
    /// More than there may be.
    #[error("`{field}`: {count} are more than {count_max}")]
    TooMany {
        /// Which field.
        field: &'static str,
        /// How many there are.
        count: usize,
        /// The limit.
        count_max: usize,
    },
}

/// A kind on the wire.
pub const fn kind_to_wire(kind: Kind) -> v1::ResourceKind {
    match kind {
        Kind::BackendGroup => v1::ResourceKind::BackendGroup,
        Kind::List => v1::ResourceKind::List,
        Kind::FilterSet => v1::ResourceKind::FilterSet,
        Kind::Limits => v1::ResourceKind::Limits,
        Kind::WafSet => v1::ResourceKind::WafSet,
        Kind::Listener => v1::ResourceKind::Listener,
    }
}

/// A kind from the wire.
///
/// # Errors
/// When it is not known.
pub fn kind_from_wire(kind: i32) -> Result<Kind, WireError> {
    Kind::ALL.into_iter().find(|known| kind_to_wire(*known) as i32 == kind).ok_or(WireError::Kind(kind))
}

/// A key on the wire.
pub fn key_to_wire(key: &Key) -> v1::ResourceKey {
    v1::ResourceKey { kind: kind_to_wire(key.kind) as i32, name: key.name.to_string() }
}

/// A key from the wire.
///
/// # Errors
/// When it is missing, of an unknown kind, or its name is none.
pub fn key_from_wire(key: Option<&v1::ResourceKey>) -> Result<Key, WireError> {
    let key = key.ok_or(WireError::Missing("key"))?;
    Ok(Key::new(kind_from_wire(key.kind)?, &key.name)?)
}

/// A hash from the wire.
///
/// # Errors
/// When it has another length.
pub fn hash_from_wire(bytes: &[u8], field: &'static str) -> Result<Hash, WireError> {
    bytes.try_into().map(Hash).map_err(|_| WireError::Hash { field, bytes: bytes.len() })
}

fn text(bytes: &[u8], field: &'static str) -> Result<Arc<str>, WireError> {
    core::str::from_utf8(bytes).map(Arc::from).map_err(|_| WireError::Text(field))
}

fn bounded(field: &'static str, count: usize, count_max: usize) -> Result<(), WireError> {
    if count > count_max { Err(WireError::TooMany { field, count, count_max }) } else { Ok(()) }
}

/// A resource on the wire.
pub fn resource_to_wire(resource: &Resource, version: u64) -> v1::Resource {
    v1::Resource {
        key: Some(key_to_wire(&resource.key)),
        version,
        hash: resource.hash.0.to_vec(),
        body: resource.body.as_bytes().to_vec(),
    }
}

/// A resource as somebody asks for it: read and checked; its version and hash on the wire are ignored.
///
/// # Errors
/// When it is none, or is refused.
pub fn resource_from_wire(resource: &v1::Resource) -> Result<Resource, WireError> {
    let key = key_from_wire(resource.key.as_ref())?;
    bounded("body", resource.body.len(), BODY_BYTES_MAX)?;
    let body = core::str::from_utf8(&resource.body).map_err(|_| WireError::Text("body"))?;
    Ok(Resource::parse(key, body)?)
}

/// A digest on the wire.
pub fn digest_to_wire(key: &Key, version: u64, hash: &Hash) -> v1::ResourceDigest {
    v1::ResourceDigest { key: Some(key_to_wire(key)), version, hash: hash.0.to_vec() }
}

/// A digest from the wire.
///
/// # Errors
/// When key or hash are none.
pub fn digest_from_wire(digest: &v1::ResourceDigest) -> Result<(Key, u64, Hash), WireError> {
    Ok((key_from_wire(digest.key.as_ref())?, digest.version, hash_from_wire(&digest.hash, "hash")?))
}

/// An update on the wire.
pub fn update_to_wire(update: &Update) -> v1::ResourceUpdate {
    let content = match &update.content {
        // Rules are alike: a large set is an eighth of its size, on the wire and in the buffer of every stream.
        Content::Whole(body) if body.len() >= PACKED_FROM_BYTES => {
            resource_update::Content::Packed(lz4_flex::compress_prepend_size(body.as_bytes()))
        }
        Content::Whole(body) => resource_update::Content::Body(body.as_bytes().to_vec()),
        Content::Patch(patch) => resource_update::Content::Patch(patch_to_wire(patch)),
    };
    v1::ResourceUpdate {
        key: Some(key_to_wire(&update.key)),
        version: update.version,
        hash: update.hash.0.to_vec(),
        content: Some(content),
    }
}

/// An update from the wire.
///
/// # Errors
/// When some part of it is none.
pub fn update_from_wire(update: &v1::ResourceUpdate) -> Result<Update, WireError> {
    let content = match update.content.as_ref().ok_or(WireError::Missing("content"))? {
        resource_update::Content::Body(body) => {
            bounded("body", body.len(), BODY_BYTES_MAX)?;
            Content::Whole(text(body, "body")?)
        }
        resource_update::Content::Packed(packed) => {
            let (bytes, block) = lz4_flex::block::uncompressed_size(packed).map_err(|_| WireError::Packed)?;
            bounded("packed", bytes, BODY_BYTES_MAX)?;
            let body = lz4_flex::block::decompress(block, bytes).map_err(|_| WireError::Packed)?;
            if body.len() != bytes {
                return Err(WireError::Packed);
            }
            Content::Whole(text(&body, "packed")?)
        }
        resource_update::Content::Patch(patch) => Content::Patch(patch_from_wire(patch)?),
    };
    Ok(Update {
        key: key_from_wire(update.key.as_ref())?,
        version: update.version,
        hash: hash_from_wire(&update.hash, "hash")?,
        content,
    })
}

fn patch_to_wire(patch: &RulePatch) -> v1::RulePatch {
    let rule =
        |(id, body): &(String, Arc<str>)| rule_patch::Rule { id: id.clone(), body: body.as_bytes().to_vec() };
    v1::RulePatch {
        base_hash: patch.base.0.to_vec(),
        upserts: patch.upserts.iter().map(rule).collect(),
        removals: patch.removals.clone(),
    }
}

fn patch_from_wire(patch: &v1::RulePatch) -> Result<RulePatch, WireError> {
    // One more than rules: the set itself.
    bounded("upserts", patch.upserts.len(), RULES_MAX + 1)?;
    bounded("removals", patch.removals.len(), RULES_MAX)?;
    let rule = |rule: &rule_patch::Rule| Ok((rule.id.clone(), text(&rule.body, "upserts.body")?));
    Ok(RulePatch {
        base: hash_from_wire(&patch.base_hash, "base_hash")?,
        upserts: patch.upserts.iter().map(rule).collect::<Result<_, WireError>>()?,
        removals: patch.removals.clone(),
    })
}

/// A delta on the wire; `nonce`, `revision` and `epoch` are the sender's.
pub fn delta_to_wire(delta: &Delta, nonce: u64, revision: u64, epoch: u64) -> v1::PolicyDelta {
    v1::PolicyDelta {
        nonce,
        revision,
        upserts: delta.updates.iter().map(update_to_wire).collect(),
        removals: delta.removals.iter().map(key_to_wire).collect(),
        set_hash: delta.set_hash.0.to_vec(),
        epoch,
    }
}

/// A delta from the wire. An update or removal that is none (a kind of a newer peer, say) is left out alone, and
/// answered by what comes second: a result for each that has at least a name.
///
/// # Errors
/// When the message as a whole is none.
pub fn delta_from_wire(delta: &v1::PolicyDelta) -> Result<(Delta, Vec<v1::ResourceResult>), WireError> {
    bounded("upserts", delta.upserts.len(), RESOURCES_MAX)?;
    bounded("removals", delta.removals.len(), RESOURCES_MAX)?;
    let set_hash = hash_from_wire(&delta.set_hash, "set_hash")?;
    let mut updates = Vec::with_capacity(delta.upserts.len());
    let mut refused = Vec::new();
    for update in &delta.upserts {
        match update_from_wire(update) {
            Ok(update) => updates.push(update),
            Err(error) => refused.push(v1::ResourceResult {
                key: update.key.clone(),
                version: update.version,
                hash: update.hash.clone(),
                state: v1::ResourceState::Rejected as i32,
                error: error.to_string(),
            }),
        }
    }
    // What is of no known kind cannot be held, so that there is nothing to remove.
    let removals = delta.removals.iter().filter_map(|key| key_from_wire(Some(key)).ok()).collect();
    Ok((Delta { updates, removals, set_hash }, refused))
}

/// A state on the wire.
pub const fn state_to_wire(state: State) -> v1::ResourceState {
    match state {
        State::Applied => v1::ResourceState::Applied,
        State::Rejected => v1::ResourceState::Rejected,
        State::NeedsRestart => v1::ResourceState::NeedsRestart,
        State::NeedsWhole => v1::ResourceState::NeedsWhole,
        State::Superseded => v1::ResourceState::Superseded,
    }
}

/// A state from the wire. One that is not known counts as a refusal: nothing may rely on it.
pub fn state_from_wire(state: i32) -> State {
    const ALL: [State; 5] =
        [State::Applied, State::Rejected, State::NeedsRestart, State::NeedsWhole, State::Superseded];
    ALL.into_iter().find(|known| state_to_wire(*known) as i32 == state).unwrap_or(State::Rejected)
}

/// An outcome on the wire.
pub fn outcome_to_wire(outcome: &Outcome) -> v1::ResourceResult {
    v1::ResourceResult {
        key: Some(key_to_wire(&outcome.key)),
        version: outcome.version,
        hash: outcome.hash.0.to_vec(),
        state: state_to_wire(outcome.state) as i32,
        error: outcome.error.clone(),
    }
}

/// An outcome from the wire.
///
/// # Errors
/// When key or hash are none.
pub fn outcome_from_wire(result: &v1::ResourceResult) -> Result<Outcome, WireError> {
    Ok(Outcome {
        key: key_from_wire(result.key.as_ref())?,
        version: result.version,
        hash: hash_from_wire(&result.hash, "hash")?,
        state: state_from_wire(result.state),
        error: result.error.clone(),
    })
}

/// A change on the wire; `version` is that of the resource afterwards.
pub fn change_to_wire(change: &Change, version: u64) -> v1::ResourceChange {
    let action = match change.action {
        Action::Added => resource_change::Action::Added,
        Action::Changed => resource_change::Action::Changed,
        Action::Removed => resource_change::Action::Removed,
    };
    let field = |field: &FieldChange| v1::FieldChange {
        path: field.path.clone(),
        before: field.before.clone().unwrap_or_default(),
        after: field.after.clone().unwrap_or_default(),
    };
    v1::ResourceChange {
        action: action as i32,
        key: Some(key_to_wire(&change.key)),
        version,
        fields: change.fields.iter().map(field).collect(),
        fields_omitted: change.fields_omitted,
    }
}

/// A change from the wire, and the version of the resource afterwards.
///
/// # Errors
/// When key or action are none.
pub fn change_from_wire(change: &v1::ResourceChange) -> Result<(Change, u64), WireError> {
    let action = match change.action() {
        resource_change::Action::Added => Action::Added,
        resource_change::Action::Changed => Action::Changed,
        resource_change::Action::Removed => Action::Removed,
        resource_change::Action::Unspecified => return Err(WireError::Missing("action")),
    };
    let filled = |text: &String| (!text.is_empty()).then(|| text.clone());
    let field = |field: &v1::FieldChange| FieldChange {
        path: field.path.clone(),
        before: filled(&field.before),
        after: filled(&field.after),
    };
    let fields = change.fields.iter().map(field).collect();
    let key = key_from_wire(change.key.as_ref())?;
    Ok((Change { action, key, fields, fields_omitted: change.fields_omitted }, change.version))
}

#[cfg(test)]
mod tests;
