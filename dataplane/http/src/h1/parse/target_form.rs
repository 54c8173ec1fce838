//! The four forms of a request target (RFC 9112 §3.2), brought to what will be forwarded: origin-form or `*`.
use crate::{
    error::Error,
    head::{Form, Known, Method, Request, Scheme, Span},
    syntax,
};

/// Sets the target, which lies at `span` in the head's buffer, and checks it against Host.
pub(super) fn set(head: &mut Request, span: Span) -> Result<(), Error> {
    if head.method() == Method::Connect {
        return Err(Error::Connect);
    }
    let target = span.of(head.fields().bytes());
    if !syntax::is_target(target) {
        return Err(Error::Target);
    }
    match target {
        [b'/', ..] => {
            head.set_parsed_target(span, Form::Origin);
            Ok(())
        }
        b"*" if head.method() == Method::Options => {
            head.set_parsed_target(span, Form::Asterisk);
            Ok(())
        }
        _ => set_absolute(head, span),
    }
}

/// `http://authority/path?query`.
fn set_absolute(head: &mut Request, span: Span) -> Result<(), Error> {
    let target = span.of(head.fields().bytes());
    let colon = memchr::memchr(b':', target).ok_or(Error::Target)?;
    let (scheme, rest) = target.split_at(colon);
    let scheme = Scheme::of(scheme).ok_or(Error::Target)?;
    let rest = rest.strip_prefix(b"://").ok_or(Error::Target)?;
    let authority_len = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_len);
    if !syntax::is_authority(authority) {
        return Err(Error::HostInvalid);
    }
    let host = head.fields().known(Known::Host);
    if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)) {
        return Err(Error::HostMismatch);
    }
    let path_start = span.len - u32::try_from(path.len()).unwrap_or(span.len);
    let parsed = match path {
        [b'/', ..] => Span { start: span.start + path_start, len: span.len - path_start },
        [] if head.method() == Method::Options => head.push_bytes(b"*"),
        _ => {
            let rooted = [b"/", path].concat();
            head.push_bytes(&rooted)
        }
    };
    if head.fields().known(Known::Host).is_none() {
        let start = span.start + path_start - u32::try_from(authority_len).unwrap_or_default();
        head.push_host(Span { start, len: u32::try_from(authority_len).unwrap_or_default() });
    }
    head.set_scheme(scheme);
    head.set_parsed_target(parsed, Form::Absolute);
    Ok(())
}
