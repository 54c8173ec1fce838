//! The protocol's enumerations and keys as words, in both directions.
//!
//! Owns: one word per kind, state, severity and origin, as tables, JSON and arguments have it. What a newer server
//! sends and this program does not know is `unknown`, never an error.

use clap::ValueEnum;
use secbeat_proto::v1::{
    BanOrigin, NodeState, ResourceKey, ResourceKind, ResourceState, Severity, resource_change, rollout_status,
};

use crate::output::Tone;

/// Kinds by their words, as in `filter-set/edge`.
const KINDS: [(ResourceKind, &str); 6] = [
    (ResourceKind::Listener, "listener"),
    (ResourceKind::BackendGroup, "backend-group"),
    (ResourceKind::FilterSet, "filter-set"),
    (ResourceKind::Limits, "limits"),
    (ResourceKind::WafSet, "waf-set"),
    (ResourceKind::List, "list"),
];

/// `filter-set/edge`.
pub(crate) fn key(key: Option<&ResourceKey>) -> String {
    key.map_or_else(|| "-".to_owned(), |key| format!("{}/{}", kind(key.kind), key.name))
}

fn kind(number: i32) -> &'static str {
    KINDS.iter().find(|(kind, _)| *kind as i32 == number).map_or("unknown", |(_, word)| word)
}

/// Reads `filter-set/edge`, for arguments.
pub(crate) fn parse_key(text: &str) -> Result<ResourceKey, String> {
    let known = || KINDS.map(|(_, word)| word).join(", ");
    let (word, name) = text.split_once(['/', ':']).ok_or_else(|| {
        format!("a resource is named KIND/NAME, as in filter-set/edge; kinds are {}", known())
    })?;
    let Some((kind, _)) = KINDS.iter().find(|(_, known)| *known == word) else {
        return Err(format!("`{word}` is not a kind: {}", known()));
    };
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > 63 || !name.bytes().all(is_allowed) {
        return Err("a name has 1 to 63 letters, digits, `-`, `_`, `.`".to_owned());
    }
    Ok(ResourceKey { kind: *kind as i32, name: name.to_owned() })
}

/// Reads the key of something that holds rules.
pub(crate) fn parse_rules_key(text: &str) -> Result<ResourceKey, String> {
    let key = parse_key(text)?;
    match key.kind() {
        ResourceKind::FilterSet | ResourceKind::WafSet => Ok(key),
        _ => Err("only filter-set/NAME and waf-set/NAME hold rules".to_owned()),
    }
}

pub(crate) fn node_state(number: i32) -> (&'static str, Tone) {
    match NodeState::try_from(number) {
        Ok(NodeState::Starting) => ("starting", Tone::Warning),
        Ok(NodeState::Active) => ("active", Tone::Good),
        Ok(NodeState::Draining) => ("draining", Tone::Warning),
        Ok(NodeState::Dead) => ("dead", Tone::Bad),
        _ => ("unknown", Tone::Warning),
    }
}

pub(crate) fn resource_state(number: i32) -> (&'static str, Tone) {
    match ResourceState::try_from(number) {
        Ok(ResourceState::Applied) => ("applied", Tone::Good),
        Ok(ResourceState::Rejected) => ("rejected", Tone::Bad),
        Ok(ResourceState::NeedsRestart) => ("needs-restart", Tone::Warning),
        Ok(ResourceState::NeedsWhole) => ("needs-whole", Tone::Warning),
        Ok(ResourceState::Superseded) => ("superseded", Tone::Dim),
        _ => ("unknown", Tone::Warning),
    }
}

pub(crate) fn severity(number: i32) -> (&'static str, Tone) {
    match Severity::try_from(number) {
        Ok(Severity::Info) => ("info", Tone::Plain),
        Ok(Severity::Warn) => ("warn", Tone::Warning),
        Ok(Severity::Error) => ("error", Tone::Bad),
        _ => ("unknown", Tone::Dim),
    }
}

pub(crate) fn origin(number: i32) -> &'static str {
    match BanOrigin::try_from(number) {
        Ok(BanOrigin::Operator) => "operator",
        Ok(BanOrigin::Node) => "node",
        Ok(BanOrigin::Expert) => "expert",
        Ok(BanOrigin::NodeApi) => "node-api",
        _ => "unknown",
    }
}

pub(crate) fn rollout_state(number: i32) -> &'static str {
    use rollout_status::State;
    match State::try_from(number) {
        Ok(State::Running) => "running",
        Ok(State::AwaitingConfirmation) => "awaiting-confirmation",
        Ok(State::Done) => "done",
        Ok(State::RolledBack) => "rolled-back",
        Ok(State::Superseded) => "superseded",
        _ => "unknown",
    }
}

pub(crate) fn change_action(number: i32) -> (&'static str, &'static str, Tone) {
    use resource_change::Action;
    match Action::try_from(number) {
        Ok(Action::Added) => ("added", "+", Tone::Good),
        Ok(Action::Changed) => ("changed", "~", Tone::Warning),
        Ok(Action::Removed) => ("removed", "-", Tone::Bad),
        _ => ("unknown", "?", Tone::Plain),
    }
}

/// Lowest severity, as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SeverityWord {
    Info,
    Warn,
    Error,
}

impl From<SeverityWord> for Severity {
    fn from(word: SeverityWord) -> Self {
        match word {
            SeverityWord::Info => Self::Info,
            SeverityWord::Warn => Self::Warn,
            SeverityWord::Error => Self::Error,
        }
    }
}

/// State of a node, as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NodeStateWord {
    Starting,
    Active,
    Draining,
    Dead,
}

impl From<NodeStateWord> for NodeState {
    fn from(word: NodeStateWord) -> Self {
        match word {
            NodeStateWord::Starting => Self::Starting,
            NodeStateWord::Active => Self::Active,
            NodeStateWord::Draining => Self::Draining,
            NodeStateWord::Dead => Self::Dead,
        }
    }
}

/// Who set a ban, as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OriginWord {
    Operator,
    Node,
    Expert,
    NodeApi,
}

impl From<OriginWord> for BanOrigin {
    fn from(word: OriginWord) -> Self {
        match word {
            OriginWord::Operator => Self::Operator,
            OriginWord::Node => Self::Node,
            OriginWord::Expert => Self::Expert,
            OriginWord::NodeApi => Self::NodeApi,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        for (kind, word) in KINDS {
            let text = format!("{word}/edge.1");
            let read = parse_key(&text).unwrap();
            assert_eq!((read.kind(), key(Some(&read))), (kind, text));
        }
    }

    #[test]
    fn a_wrong_key_is_told_what_is_right() {
        assert!(parse_key("edge").unwrap_err().contains("KIND/NAME"));
        assert!(parse_key("filter/edge").unwrap_err().contains("filter-set"));
        assert!(parse_key("list/a b").unwrap_err().contains("63"));
        assert!(parse_rules_key("list/a").unwrap_err().contains("waf-set"));
    }

    #[test]
    fn what_a_newer_server_sends_is_unknown() {
        assert_eq!(node_state(99).0, "unknown");
        assert_eq!(rollout_state(-1), "unknown");
        assert_eq!(key(Some(&ResourceKey { kind: 99, name: "x".into() })), "unknown/x");
    }
}
