//! The boundary of a multipart body, from `Content-Type`.
//!
//! Owns: every check that ModSecurity v3 has of it, in its order and with its messages. A boundary that two parsers
//! could read in two ways (named twice, quoted in part, other parameters before it) is refused. Cost: once per body.
//! Sources: RFC 2046 §5.1.1.
use memchr::memmem;

use super::{
    super::{BodyError, is_space},
    Report,
};

/// Longest `Content-Type`, bytes: as ModSecurity.
const CONTENT_TYPE_BYTES_MAX: usize = 1_024;
const MIME_TYPE: &[u8] = b"multipart/form-data";
const PARAMETER: &[u8] = b"boundary";

/// The boundary, without the two hyphens.
///
/// # Errors
/// When it is not there or in doubt.
pub(super) fn parse<'a>(content_type: &'a [u8], report: &mut Report) -> Result<&'a [u8], BodyError> {
    if content_type.is_empty() {
        return refused("Multipart: Content-Type header not available", 0);
    }
    if content_type.len() > CONTENT_TYPE_BYTES_MAX {
        return refused("Multipart: Invalid boundary in C-T (length)", CONTENT_TYPE_BYTES_MAX);
    }
    if !content_type.get(..MIME_TYPE.len()).is_some_and(|start| start.eq_ignore_ascii_case(MIME_TYPE)) {
        return refused("Multipart: Invalid MIME type", 0);
    }
    if parameters(content_type) > 1 {
        return refused("Multipart: Multiple boundary parameters in C-T", 0);
    }
    let Some(name) = memmem::find(content_type, PARAMETER) else {
        return if parameters(content_type) > 0 {
            refused("Multipart: Invalid boundary in C-T (case sensitivity)", 0)
        } else {
            refused("Multipart: Boundary not found in C-T", 0)
        };
    };
    // One semicolon and white space may be before it.
    let mut has_semicolon = false;
    for (index, byte) in content_type[..name].iter().enumerate().skip(MIME_TYPE.len()) {
        match *byte {
            b';' if !has_semicolon => has_semicolon = true,
            byte if is_space(byte) => {}
            _ => return refused("Multipart: Invalid boundary in C-T (malformed)", index),
        }
    }
    report.is_semicolon_missing = !has_semicolon;
    let mut at = name + PARAMETER.len();
    while content_type.get(at).is_some_and(|byte| is_space(*byte)) {
        report.has_boundary_whitespace = true;
        at += 1;
    }
    if content_type.get(at) != Some(&b'=') {
        return if content_type[at..].contains(&b'=') {
            refused("Multipart: Invalid boundary in C-T (parameter name)", at)
        } else {
            refused("Multipart: Invalid boundary in C-T (malformed)", at)
        };
    }
    value(&content_type[at + 1..], at + 1, report)
}

/// What is after `=`.
fn value<'a>(value: &'a [u8], at: usize, report: &mut Report) -> Result<&'a [u8], BodyError> {
    if value.first().is_some_and(|byte| is_space(*byte)) {
        report.has_boundary_whitespace = true;
    }
    let boundary = if let [b'"', quoted @ .., b'"'] = value {
        report.is_boundary_quoted = true;
        quoted
    } else {
        // Parameters after it are not allowed for this type, but some clients send `; charset=UTF-8`.
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        let value = &value[..end];
        if value.starts_with(b"\"") || value.ends_with(b"\"") {
            return refused("Multipart: Invalid boundary in C-T (quote)", at);
        }
        value
    };
    if boundary.is_empty() {
        return refused("Multipart: Invalid boundary in C-T (empty)", at);
    }
    if parameters(boundary) != 0 {
        return refused("Multipart: Invalid boundary in C-T (content)", at);
    }
    if boundary.ends_with(b" ") || !boundary.iter().all(|byte| is_boundary_byte(*byte)) {
        return refused("Multipart: Invalid boundary in C-T (characters)", at);
    }
    Ok(boundary)
}

/// How often `boundary`, in any case, has a `=` somewhere after it.
fn parameters(field: &[u8]) -> usize {
    let last = memchr::memrchr(b'=', field).unwrap_or(0);
    field[..last].windows(PARAMETER.len()).filter(|window| window.eq_ignore_ascii_case(PARAMETER)).count()
}

/// RFC 2046, `bcharsnospace` and space.
const fn is_boundary_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b' ' | b'\'' | b'(' | b')' | b'+' | b'_' | b',' | b'-' | b'.' | b'/' | b':' | b'=' | b'?'
        )
}

const fn refused(message: &'static str, at: usize) -> Result<&'static [u8], BodyError> {
    Err(BodyError::new(message, at))
}
