//! What the fields of a head say about its framing and its connection, gathered in one pass.
//!
//! Owns: Content-Length and Transfer-Encoding (RFC 9112 §6.1-6.3), Connection (RFC 9110 §7.6.1), Expect, Upgrade.
use crate::{
    error::Error,
    head::{Fields, Known, Version},
    syntax,
};

/// Content lengths over this are refused: no sum of ours may ever wrap.
const CONTENT_LENGTH_MAX: u64 = i64::MAX as u64;

/// What was found.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::h1) struct Facts {
    pub(in crate::h1) content_length: Option<u64>,
    pub(in crate::h1) is_chunked: bool,
    pub(in crate::h1) hosts: u16,
    pub(in crate::h1) asks_close: bool,
    pub(in crate::h1) asks_keep_alive: bool,
    pub(in crate::h1) nominates_upgrade: bool,
    pub(in crate::h1) has_upgrade: bool,
    pub(in crate::h1) expects_continue: bool,
    nominates_others: bool,
}

impl Facts {
    /// Reads all fields, and takes out those that `Connection` nominates: who inspects the head and who receives it
    /// then see the same, and a field that is set later cannot be nominated away.
    pub(in crate::h1) fn gather(fields: &mut Fields, version: Version) -> Result<Self, Error> {
        let mut facts = Self::default();
        let mut transfer_encodings = 0;
        for field in fields.iter() {
            match field.known {
                Known::Other if Known::is_alias(field.name) => return Err(Error::FieldName),
                Known::ContentLength => {
                    if facts.content_length.is_some() {
                        return Err(Error::ContentLengthRepeated);
                    }
                    facts.content_length = Some(content_length(field.value)?);
                }
                Known::TransferEncoding => {
                    transfer_encodings += 1;
                    facts.is_chunked = field.value.eq_ignore_ascii_case(b"chunked");
                }
                Known::Host => facts.hosts = facts.hosts.saturating_add(1),
                Known::Connection => facts.read_connection(field.value)?,
                Known::Upgrade => facts.has_upgrade = true,
                Known::Expect if version == Version::Http11 => {
                    if !field.value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(Error::Expectation);
                    }
                    facts.expects_continue = true;
                }
                _ => {}
            }
        }
        facts.check_transfer_encoding(transfer_encodings, version)?;
        if facts.nominates_others {
            remove_nominated(fields);
        }
        Ok(facts)
    }

    /// Whether the connection may carry another message after this one (RFC 9112 §9.3).
    pub(in crate::h1) fn keep_alive(&self, version: Version) -> bool {
        match version {
            Version::Http10 => self.asks_keep_alive && !self.asks_close,
            _ => !self.asks_close,
        }
    }

    fn check_transfer_encoding(&self, count: u32, version: Version) -> Result<(), Error> {
        match count {
            0 => Ok(()),
            _ if version == Version::Http10 => Err(Error::TransferEncodingInHttp10),
            _ if self.content_length.is_some() => Err(Error::ContentLengthWithTransferEncoding),
            1 if self.is_chunked => Ok(()),
            1 => Err(Error::TransferEncoding),
            _ => Err(Error::TransferEncodingRepeated),
        }
    }

    fn read_connection(&mut self, value: &[u8]) -> Result<(), Error> {
        for option in syntax::list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.asks_close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.asks_keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.nominates_upgrade = true;
            } else if !syntax::is_token(option)
                || matches!(Known::of(option), Known::ContentLength | Known::Host | Known::TransferEncoding)
            {
                return Err(Error::ConnectionOption);
            } else {
                self.nominates_others = true;
            }
        }
        Ok(())
    }
}

/// Digits alone: no sign, no list, no whitespace (RFC 9110 §8.6).
fn content_length(value: &[u8]) -> Result<u64, Error> {
    if value.is_empty() {
        return Err(Error::ContentLength);
    }
    let mut length = 0u64;
    for byte in value {
        if !byte.is_ascii_digit() {
            return Err(Error::ContentLength);
        }
        length = length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(byte - b'0')))
            .filter(|length| *length <= CONTENT_LENGTH_MAX)
            .ok_or(Error::ContentLength)?;
    }
    Ok(length)
}

/// Takes out what `Connection` nominates; known hop-by-hop fields stay visible, the encoder leaves them out.
fn remove_nominated(fields: &mut Fields) {
    // Only malformed or hostile heads come here often; their names are copied so that the list can be changed.
    let names: Vec<Vec<u8>> = fields
        .all_known(Known::Connection)
        .flat_map(syntax::list)
        .filter(|name| !Known::of(name).is_hop_by_hop())
        .map(<[u8]>::to_vec)
        .collect();
    for name in names {
        fields.remove(&name);
    }
}
