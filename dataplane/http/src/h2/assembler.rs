//! From a list of decoded fields to a request head that means one thing only (RFC 9113 §8.2, §8.3).
//!
//! Owns: every check between HPACK and [`Request`]: pseudo-header fields, bytes of names and values, fields of the
//! connection, Content-Length, authority; joining of cookie crumbs. Does not own: frames, body counting.
//! What passes here can be written as HTTP/1.1 without meaning anything else there ("downgrade smuggling": CR, LF,
//! NUL, Transfer-Encoding, a second Content-Length, a Host that differs, a target with blanks).
//! Cost: one pass, no allocation but for cookies that came in pieces.

use super::limits::Limits;
use super::violation::Violation;
use crate::head::{Field, Fields, Form, Known, Method, Request, Scheme, Span, Version};
use crate::syntax;

/// What a request's framing says beside its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Framing {
    /// Content-Length, checked.
    pub(super) content_length: Option<u64>,
}

/// Takes the fields of one header block in order. The first violation is kept; decoding goes on, because the
/// dynamic table must follow.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    method: Option<Span>,
    path: Option<Span>,
    scheme: Option<Scheme>,
    authority: Option<Span>,
    host: Option<Span>,
    content_length: Option<u64>,
    cookie_count: u32,
    has_regular: bool,
    is_trailers: bool,
    list_bytes: usize,
    field_count: u32,
    violation: Option<Violation>,
}

impl Assembler {
    /// For the head of a request.
    pub(super) fn head() -> Self {
        Self::default()
    }

    /// For a trailer section: no pseudo-header fields, nothing that frames or routes.
    pub(super) fn trailers() -> Self {
        Self { is_trailers: true, ..Self::default() }
    }

    /// The first thing found wrong.
    pub(super) fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// The next field of a request head.
    pub(super) fn request_field(&mut self, head: &mut Request, limits: &Limits, name: &[u8], value: &[u8]) {
        if !self.counts(limits, name, value) {
            return;
        }
        let outcome = match name {
            b":path" if value.len() > limits.target_bytes_max as usize => Err(Violation::TargetBytes),
            [b':', ..] => self.pseudo(head, name, value),
            _ => self.regular(head.fields_mut(), name, value),
        };
        if let Err(violation) = outcome {
            self.violation.get_or_insert(violation);
        }
    }

    /// The next field of a trailer section.
    pub(super) fn trailer_field(&mut self, fields: &mut Fields, limits: &Limits, name: &[u8], value: &[u8]) {
        if !self.counts(limits, name, value) {
            return;
        }
        let outcome = match name {
            [b':', ..] => Err(Violation::Trailers),
            _ => self.regular(fields, name, value),
        };
        if let Err(violation) = outcome {
            self.violation.get_or_insert(violation);
        }
    }

    /// The head is complete: what its framing is, or what is wrong with it.
    ///
    /// # Errors
    /// The first violation.
    pub(super) fn finish(&mut self, head: &mut Request, end: bool) -> Result<Framing, Violation> {
        if let Some(violation) = self.violation {
            return Err(violation);
        }
        self.finish_target(head)?;
        self.finish_authority(head)?;
        if self.cookie_count > 1 {
            join_cookies(head.fields_mut())?;
        }
        if end && self.content_length.is_some_and(|length| length != 0) {
            return Err(Violation::ContentLength);
        }
        if head.method() == Method::Trace && !end {
            return Err(Violation::TraceBody);
        }
        head.set_version(Version::Http2);
        Ok(Framing { content_length: self.content_length })
    }

    /// RFC 9113 §6.5.2: what SETTINGS_MAX_HEADER_LIST_SIZE counts. Past the limit nothing more is stored.
    fn counts(&mut self, limits: &Limits, name: &[u8], value: &[u8]) -> bool {
        self.list_bytes = self.list_bytes.saturating_add(name.len() + value.len() + 32);
        self.field_count = self.field_count.saturating_add(1);
        let (bytes_max, count_max) = match self.is_trailers {
            true => (limits.trailer_list_bytes_max, limits.trailers_max),
            false => (limits.header_list_bytes_max, limits.header_fields_max),
        };
        let is_over = self.list_bytes > bytes_max as usize || self.field_count > count_max;
        if is_over {
            // Whatever else is wrong: what we answer is 431.
            self.violation = Some(Violation::HeaderListSize);
        }
        self.violation.is_none()
    }

    fn pseudo(&mut self, head: &mut Request, name: &[u8], value: &[u8]) -> Result<(), Violation> {
        if self.has_regular {
            return Err(Violation::PseudoHeader);
        }
        match name {
            b":method" if self.method.is_none() && syntax::is_token(value) => {
                let span = head.fields_mut().push_bytes(value);
                head.set_parsed_method(span, Method::of(value));
                self.method = Some(span);
            }
            b":path" if self.path.is_none() && syntax::is_target(value) => {
                self.path = Some(head.fields_mut().push_bytes(value));
            }
            b":scheme" if self.scheme.is_none() => {
                self.scheme = Some(Scheme::of(value).ok_or(Violation::PseudoHeader)?);
            }
            b":authority" if self.authority.is_none() => {
                if !syntax::is_authority(value) {
                    return Err(Violation::Authority);
                }
                self.authority = Some(head.fields_mut().push_bytes(value));
            }
            // Doubled, unknown, of a response, or with bytes it may not hold.
            _ => return Err(Violation::PseudoHeader),
        }
        Ok(())
    }

    fn regular(&mut self, fields: &mut Fields, name: &[u8], value: &[u8]) -> Result<(), Violation> {
        self.has_regular = true;
        if !is_name(name) || !is_value(value) {
            return Err(Violation::FieldBytes);
        }
        let known = Known::of(name);
        match known {
            Known::Connection
            | Known::Http2Settings
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade => return Err(Violation::ConnectionField),
            Known::Expect if !value.eq_ignore_ascii_case(b"100-continue") => {
                return Err(Violation::Expectation);
            }
            Known::Other if Known::is_alias(name) => return Err(Violation::FieldBytes),
            Known::Te if value != b"trailers" => return Err(Violation::ConnectionField),
            Known::ContentLength => {
                let length = digits(value).ok_or(Violation::ContentLength)?;
                if self.is_trailers || self.content_length.replace(length).is_some() {
                    return Err(Violation::ContentLength);
                }
            }
            Known::Host => {
                if self.is_trailers || self.host.is_some() || !syntax::is_authority(value) {
                    return Err(Violation::Authority);
                }
                // Kept aside: finish_authority writes the one Host field.
                self.host = Some(fields.push_bytes(value));
                return Ok(());
            }
            Known::Cookie => self.cookie_count += 1,
            _ => {}
        }
        if self.is_trailers && !(Field { name, value, known }).may_trail() {
            // Dropped, as HTTP/1.1 trailers are.
            return Ok(());
        }
        let name = fields.push_bytes(name);
        let value = fields.push_bytes(value);
        fields.push_parsed(name, value);
        Ok(())
    }

    fn finish_target(&self, head: &mut Request) -> Result<(), Violation> {
        if self.method.is_none() {
            return Err(Violation::PseudoHeader);
        }
        if head.method() == Method::Connect {
            return Err(Violation::Connect);
        }
        let (Some(path), Some(scheme)) = (self.path, self.scheme) else {
            return Err(Violation::PseudoHeader);
        };
        let form = match path.of(head.fields().bytes()) {
            [b'/', ..] => Form::Origin,
            b"*" if head.method() == Method::Options => Form::Asterisk,
            _ => return Err(Violation::PseudoHeader),
        };
        head.set_parsed_target(path, form);
        head.set_scheme(scheme);
        Ok(())
    }

    /// One Host field, first of all, from :authority or from Host; both must say the same (RFC 9113 §8.3.1).
    fn finish_authority(&self, head: &mut Request) -> Result<(), Violation> {
        let authority = match (self.authority, self.host) {
            (Some(authority), Some(host)) => {
                let bytes = head.fields().bytes();
                if !authority.of(bytes).eq_ignore_ascii_case(host.of(bytes)) {
                    return Err(Violation::Authority);
                }
                authority
            }
            (Some(authority), None) => authority,
            (None, Some(host)) => host,
            (None, None) => return Err(Violation::Authority),
        };
        let fields = head.fields_mut();
        let name = fields.push_bytes(b"host");
        fields.push_parsed(name, authority);
        fields.last_to_front();
        Ok(())
    }
}

/// A token without upper case (RFC 9113 §8.2.1).
fn is_name(name: &[u8]) -> bool {
    name.len() <= usize::from(u16::MAX) && syntax::is_token(name) && !name.iter().any(u8::is_ascii_uppercase)
}

/// No CR, LF, NUL or other control byte, no blank at either end (RFC 9113 §8.2.1).
fn is_value(value: &[u8]) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    syntax::is_field_value(value) && !is_blank(value.first()) && !is_blank(value.last())
}

/// `1*DIGIT` up to 2^63 - 1, as HTTP/1.1 reads it.
fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length = value
        .iter()
        .try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit & 0x0f)))?;
    (length <= i64::MAX as u64).then_some(length)
}

/// Clients may send a cookie in pieces so that they compress better; HTTP/1.1 knows one field (RFC 9113 §8.2.3).
fn join_cookies(fields: &mut Fields) -> Result<(), Violation> {
    let mut joined = Vec::new();
    for crumb in fields.all_known(Known::Cookie) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(crumb);
    }
    fields.set(b"cookie", &joined).map_err(|_| Violation::FieldBytes)
}
