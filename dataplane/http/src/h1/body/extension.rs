//! Chunk extensions (RFC 9112 §7.1.1): read strictly, and dropped.
//!
//! `*( ";" name [ "=" ( token | quoted-string ) ] )` without the whitespace that the grammar tolerates as bad:
//! what stands between a size and its line end is where parsers disagree.
use crate::{error::Error, syntax};

/// Where in the extensions of one chunk the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension {
    /// After `;`: a name must begin.
    NameStart,
    Name,
    /// After `=`: a value must begin.
    ValueStart,
    Value,
    Quoted,
    /// After a backslash in a quoted string.
    Escaped,
    /// After the closing quote.
    Closed,
}

impl Extension {
    pub(super) const START: Self = Self::NameStart;

    /// `None`: the CR of the line's end has come.
    pub(super) fn take(self, byte: u8) -> Result<Option<Self>, Error> {
        let is_value = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        let next = match (self, byte) {
            (_, b'\n') => return Err(Error::BareLineEnd),
            (Self::Name | Self::Value | Self::Closed, b'\r') => return Ok(None),
            (Self::Name | Self::Value | Self::Closed, b';') => Self::NameStart,
            (Self::Name, b'=') => Self::ValueStart,
            (Self::NameStart | Self::Name, byte) if syntax::is_token_byte(byte) => Self::Name,
            (Self::ValueStart, b'"') => Self::Quoted,
            (Self::ValueStart | Self::Value, byte) if syntax::is_token_byte(byte) => Self::Value,
            (Self::Quoted, b'"') => Self::Closed,
            (Self::Quoted, b'\\') => Self::Escaped,
            (Self::Quoted | Self::Escaped, _) if is_value => Self::Quoted,
            _ => return Err(Error::ChunkExtension),
        };
        Ok(Some(next))
    }
}
