//! The head of a request.
//!
//! Invariant: at most one Host field, and its value is the authority; HTTP/2's `:authority` becomes it.
use super::{Fields, Form, Known, Method, Scheme, Span, Version};
use crate::{error::Error, syntax};

/// The head of a request. Reuse it: `clear` keeps the room.
#[derive(Debug, Clone, Default)]
pub struct Request {
    fields: Fields,
    method_span: Span,
    /// `/path?query` or `*`: what will be forwarded.
    target: Span,
    path_len: u32,
    method: Method,
    version: Version,
    scheme: Scheme,
    form: Form,
}

impl Request {
    /// An empty head; it allocates when first filled.
    pub fn new() -> Self {
        Self::default()
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method's bytes.
    pub fn method_bytes(&self) -> &[u8] {
        self.method_span.of(self.fields.bytes())
    }

    /// What will be forwarded as request target: `/path?query`, or `*`.
    pub fn target(&self) -> &[u8] {
        self.target.of(self.fields.bytes())
    }

    /// The target up to `?`, percent-encoded as it came.
    pub fn path(&self) -> &[u8] {
        Span { len: self.path_len, ..self.target }.of(self.fields.bytes())
    }

    /// The target after `?`, when there is one.
    pub fn query(&self) -> Option<&[u8]> {
        self.target().get(self.path_len as usize + 1..)
    }

    /// Host and port as the client names them; empty for HTTP/1.0 without Host.
    pub fn authority(&self) -> &[u8] {
        self.fields.known(Known::Host).unwrap_or_default()
    }

    /// The authority without its port; an IPv6 address keeps its brackets.
    pub fn host(&self) -> &[u8] {
        syntax::split_authority(self.authority()).0
    }

    /// The scheme; what the client claims until the session says what its connection is.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The version it came in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The form its target came in.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Its fields, Host among them.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Its fields, to change. Host is changed by [`Request::set_authority`] alone.
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// Forgets everything but the room.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

    /// Sets the method; refuses what is no token.
    pub fn set_method(&mut self, method: &[u8]) -> Result<(), Error> {
        if !syntax::is_token(method) {
            return Err(Error::Method);
        }
        self.method = Method::of(method);
        self.method_span = self.fields.push_bytes(method);
        Ok(())
    }

    /// Sets the target: `/path?query`, or `*` with OPTIONS. Refuses other forms and bytes a target may not hold.
    pub fn set_target(&mut self, target: &[u8]) -> Result<(), Error> {
        let form = match target {
            b"*" if self.method == Method::Options => Form::Asterisk,
            [b'/', ..] if syntax::is_target(target) => Form::Origin,
            _ => return Err(Error::Target),
        };
        let span = self.fields.push_bytes(target);
        self.set_parsed_target(span, form);
        Ok(())
    }

    /// Sets the authority, and the Host field with it, in front of all others.
    pub fn set_authority(&mut self, authority: &[u8]) -> Result<(), Error> {
        if !syntax::is_authority(authority) {
            return Err(Error::HostInvalid);
        }
        self.fields.remove(b"host");
        self.fields.append(b"host", authority)?;
        self.fields.last_to_front();
        Ok(())
    }

    /// Sets the scheme.
    pub fn set_scheme(&mut self, scheme: Scheme) {
        self.scheme = scheme;
    }

    /// Sets the version it came in.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) -> Span {
        self.fields.push_bytes(bytes)
    }

    /// Makes a checked authority in the buffer the Host field.
    pub(crate) fn push_host(&mut self, authority: Span) {
        let name = self.fields.push_bytes(b"Host");
        self.fields.push_parsed(name, authority);
        self.fields.last_to_front();
    }

    pub(crate) fn set_parsed_method(&mut self, span: Span, method: Method) {
        self.method_span = span;
        self.method = method;
    }

    pub(crate) fn set_parsed_target(&mut self, span: Span, form: Form) {
        self.target = span;
        self.form = form;
        let target = span.of(self.fields.bytes());
        let path_len = memchr::memchr(b'?', target).unwrap_or(target.len());
        self.path_len = u32::try_from(path_len).unwrap_or(u32::MAX);
    }
}
