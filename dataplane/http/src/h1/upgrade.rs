//! Which upgrades are well formed (RFC 9110 §7.8, RFC 6455 §4).
//!
//! Only a WebSocket handshake in good form is passed on as an upgrade, and only a 101 that agrees opens the tunnel:
//! a proxy that opens one on a malformed handshake lets requests through uninspected.
use super::{Upgrade, parse::Facts};
use crate::{
    head::{Fields, Known, Method, Request, Response, Version},
    syntax,
};

/// `Sec-WebSocket-Key`: 16 bytes in base64.
const KEY_LEN: usize = 24;

/// What a request asks to switch to.
pub(super) fn of_request(head: &Request, facts: &Facts, has_body: bool) -> Option<Upgrade> {
    if !facts.has_upgrade {
        return None;
    }
    let is_websocket = facts.nominates_upgrade
        && !has_body
        && head.method() == Method::Get
        && head.version() == Version::Http11
        && names_websocket_alone(head.fields())
        && only(head.fields(), Known::SecWebSocketVersion) == Some(b"13")
        && only(head.fields(), Known::SecWebSocketKey).is_some_and(is_key);
    Some(if is_websocket { Upgrade::WebSocket } else { Upgrade::Other })
}

/// Whether a 101 switches to WebSocket.
pub(super) fn is_switch(head: &Response, facts: &Facts) -> bool {
    let has_framing = facts.is_chunked || facts.content_length.is_some_and(|length| length > 0);
    facts.nominates_upgrade && !has_framing && names_websocket_alone(head.fields())
}

fn names_websocket_alone(fields: &Fields) -> bool {
    let mut protocols = fields.all_known(Known::Upgrade).flat_map(syntax::list);
    protocols.next().is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
        && protocols.next().is_none()
}

fn only(fields: &Fields, known: Known) -> Option<&[u8]> {
    let mut values = fields.all_known(known);
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

fn is_key(value: &[u8]) -> bool {
    let Some(digits) = value.strip_suffix(b"==") else {
        return false;
    };
    value.len() == KEY_LEN
        && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}
