//! What a backend is told about the client: `X-Forwarded-*`, `Forwarded` (RFC 7239), the request's id; and what a
//! trusted proxy in front of the node told about it.
//!
//! Owns: which fields are believed, removed and written. Does not own: hop-by-hop fields and `Via` (`secbeat_http`).
//! Fields of this kind from anybody who is not trusted are removed, so that a backend may believe what it gets.
//! Cost: about 100 bytes written into the request's head.

use core::net::{IpAddr, SocketAddr};
use std::io::Write;

use secbeat_http::head::{Fields, Known, Request, Scheme};

use super::policy::Forwarding;
use super::request_id::RequestId;

/// Fields by which a client could claim to be another, removed unless it is trusted.
const CLAIMS: [&[u8]; 6] = [
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-proto",
    b"x-real-ip",
];

impl Forwarding {
    /// Whether an address is that of a proxy whose word is taken.
    pub(super) fn is_trusted(&self, addr: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&addr))
    }

    /// The client of a request: the peer, or, when that is a trusted proxy, the last address of `X-Forwarded-For`
    /// that is not one.
    pub(super) fn client(&self, peer: IpAddr, fields: &Fields) -> IpAddr {
        if self.trusted.is_empty() || !self.is_trusted(peer) {
            return peer;
        }
        let mut client = peer;
        let mut lists = [&[][..]; 8];
        let mut count = 0;
        for (slot, value) in lists.iter_mut().zip(fields.all_known(Known::XForwardedFor)) {
            *slot = value;
            count += 1;
        }
        for list in lists[..count].iter().rev() {
            for part in list.rsplit(|b| *b == b',') {
                let Some(addr) = address(part.trim_ascii()) else { return client };
                client = addr;
                if !self.is_trusted(addr) {
                    return client;
                }
            }
        }
        client
    }

    /// The id a trusted proxy gave the request.
    pub(super) fn foreign_id(&self, peer: IpAddr, fields: &Fields) -> Option<RequestId> {
        let name = self.request_id.as_deref()?;
        if self.trusted.is_empty() || !self.is_trusted(peer) {
            return None;
        }
        RequestId::foreign(fields.value(name)?)
    }
}

/// An address as proxies write it: bare, in brackets, with or without a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(text).ok()?;
    text.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip())).or_else(|| {
        text.strip_prefix('[')?.strip_suffix(']')?.parse::<core::net::Ipv6Addr>().ok().map(IpAddr::V6)
    })
}

/// Writes what the backend is told into the head. `scratch` is used and left dirty.
pub(super) fn describe(
    policy: &Forwarding,
    head: &mut Request,
    peer: SocketAddr,
    scheme: Scheme,
    id: &RequestId,
    scratch: &mut Vec<u8>,
) {
    let is_trusted = !policy.trusted.is_empty() && policy.is_trusted(peer.ip());
    if !is_trusted {
        for name in CLAIMS {
            head.fields_mut().remove(name);
        }
    }
    // Every value written here is well formed, so that none is refused.
    if policy.x_forwarded {
        scratch.clear();
        for value in head.fields().all_known(Known::XForwardedFor) {
            scratch.extend_from_slice(value);
            scratch.extend_from_slice(b", ");
        }
        let _ = write!(scratch, "{}", peer.ip());
        let _ = head.fields_mut().set(b"X-Forwarded-For", scratch);
        if head.fields().known(Known::XForwardedProto).is_none() {
            let _ = head.fields_mut().set(b"X-Forwarded-Proto", scheme.as_str().as_bytes());
        }
        if head.fields().known(Known::XForwardedHost).is_none() && !head.authority().is_empty() {
            scratch.clear();
            scratch.extend_from_slice(head.authority());
            let _ = head.fields_mut().set(b"X-Forwarded-Host", scratch);
        }
    }
    if policy.forwarded {
        scratch.clear();
        forwarded(head, peer.ip(), scheme, scratch);
        let _ = head.fields_mut().set(b"Forwarded", scratch);
    }
    if let Some(name) = &policy.request_id {
        let _ = head.fields_mut().set(name, id.as_bytes());
    }
}

/// `Forwarded` with what came before and an element of our own (RFC 7239 §4). A host with bytes that need escaping
/// inside a quoted string cannot be here: it is a checked authority.
fn forwarded(head: &Request, peer: IpAddr, scheme: Scheme, out: &mut Vec<u8>) {
    for value in head.fields().all_known(Known::Forwarded) {
        out.extend_from_slice(value);
        out.extend_from_slice(b", ");
    }
    let _ = match peer {
        IpAddr::V4(addr) => write!(out, "for={addr}"),
        IpAddr::V6(addr) => write!(out, "for=\"[{addr}]\""),
    };
    if !head.authority().is_empty() {
        out.extend_from_slice(b";host=\"");
        out.extend_from_slice(head.authority());
        out.push(b'"');
    }
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(scheme.as_str().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(trusted: &[&str]) -> Forwarding {
        let trusted = trusted.iter().map(|net| net.parse().expect("a network")).collect();
        Forwarding { trusted, forwarded: true, ..Forwarding::default() }
    }

    fn head(fields: &[(&str, &str)]) -> Request {
        let mut head = Request::new();
        head.set_authority(b"example.org").expect("a host");
        for (name, value) in fields {
            head.fields_mut().append(name.as_bytes(), value.as_bytes()).expect("a field");
        }
        head
    }

    fn described(policy: &Forwarding, head: &mut Request, peer: &str) {
        let id = RequestId::foreign(b"id-1").expect("an id");
        let peer = SocketAddr::new(peer.parse().expect("an address"), 1_234);
        describe(policy, head, peer, Scheme::Https, &id, &mut Vec::new());
    }

    fn values(head: &Request, name: &str) -> Vec<String> {
        let fields = head.fields().iter().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
        fields.map(|field| String::from_utf8_lossy(field.value).into_owned()).collect()
    }

    #[test]
    fn backend_learns_the_client_and_nothing_it_claims() {
        let mut head = head(&[
            ("X-Forwarded-For", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("X-Forwarded-Proto", "gopher"),
            ("Forwarded", "for=10.0.0.3"),
            ("X-Real-IP", "10.0.0.4"),
            ("X-Request-ID", "mine"),
        ]);
        described(&policy(&[]), &mut head, "2001:db8::1");
        assert_eq!(values(&head, "x-forwarded-for"), ["2001:db8::1"]);
        assert_eq!(values(&head, "x-forwarded-proto"), ["https"]);
        assert_eq!(values(&head, "x-forwarded-host"), ["example.org"]);
        assert_eq!(values(&head, "forwarded"), ["for=\"[2001:db8::1]\";host=\"example.org\";proto=https"]);
        assert_eq!(values(&head, "x-real-ip"), [""; 0]);
        assert_eq!(values(&head, "x-request-id"), ["id-1"]);
    }

    #[test]
    fn word_of_a_trusted_proxy_is_kept_and_extended() {
        let mut head = head(&[
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-For", "10.0.0.2"),
            ("X-Forwarded-Proto", "http"),
        ]);
        described(&policy(&["10.0.0.0/8"]), &mut head, "10.0.0.1");
        assert_eq!(values(&head, "x-forwarded-for"), ["203.0.113.9, 10.0.0.2, 10.0.0.1"]);
        assert_eq!(values(&head, "x-forwarded-proto"), ["http"]);
    }

    #[test]
    fn client_is_the_last_address_that_is_no_trusted_proxy() {
        let policy = policy(&["10.0.0.0/8"]);
        let client = |peer: &str, values: &[&str]| {
            let fields: Vec<_> = values.iter().map(|value| ("X-Forwarded-For", *value)).collect();
            policy.client(peer.parse().expect("an address"), head(&fields).fields()).to_string()
        };
        assert_eq!(client("192.0.2.1", &["203.0.113.9"]), "192.0.2.1", "a stranger's word is not taken");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "203.0.113.9:80"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["[2001:db8::5]"]), "2001:db8::5");
        assert_eq!(client("10.0.0.1", &["203.0.113.9, junk, 10.0.0.3"]), "10.0.0.3", "nothing behind junk");
    }
}
