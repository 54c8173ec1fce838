//! `Forwarded` (RFC 7239) and `X-Forwarded-*`: values for the origin about the client's side.
//!
//! Pure builders into the caller's buffer. Whether an earlier hop's values are kept is the caller's choice: they are
//! only as good as the peer that sent them, so without a trusted peer they are replaced.
use std::{
    fmt::{self, Write},
    net::{IpAddr, SocketAddr},
};

use crate::{
    head::{Fields, Known, Scheme},
    syntax,
};

/// Bytes of earlier hops' values that are kept at most; older hops, which stand first, go when there are more. Bounds
/// what a trusted peer can make every origin read.
pub const KEPT_BYTES_MAX: usize = 1_024;

/// Appends text to bytes.
struct Text<'a>(&'a mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Writes an address as text; an IPv4 address in IPv6 clothing as IPv4.
pub fn put_address(address: IpAddr, out: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = write!(Text(out), "{}", address.to_canonical());
}

/// `X-Forwarded-For`: what earlier hops wrote, when `keep`, and the client.
pub fn x_forwarded_for(fields: &Fields, keep: bool, client: IpAddr, out: &mut Vec<u8>) {
    put_kept(fields, Known::XForwardedFor, keep, out);
    put_address(client, out);
}

/// `Forwarded`: what earlier hops wrote, when `keep`, and `for=…;host=…;proto=…`.
pub fn forwarded(fields: &Fields, keep: bool, element: &Element<'_>, out: &mut Vec<u8>) {
    put_kept(fields, Known::Forwarded, keep, out);
    element.put(out);
}

/// One hop of `Forwarded`.
#[derive(Debug, Clone, Copy)]
pub struct Element<'a> {
    /// The client.
    pub client: IpAddr,
    /// Where it connected to; `None` keeps our address to ourselves.
    pub by: Option<SocketAddr>,
    /// The Host it sent; empty when it sent none.
    pub host: &'a [u8],
    /// What it spoke.
    pub scheme: Scheme,
}

impl Element<'_> {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"for=");
        put_node(self.client, None, out);
        if let Some(by) = self.by {
            out.extend_from_slice(b";by=");
            put_node(by.ip(), Some(by.port()), out);
        }
        if !self.host.is_empty() {
            out.extend_from_slice(b";host=");
            put_token_or_quoted(self.host, out);
        }
        out.extend_from_slice(b";proto=");
        out.extend_from_slice(self.scheme.as_str().as_bytes());
    }
}

/// RFC 7239 §6: IPv6 in brackets, and whatever holds a colon quoted.
fn put_node(address: IpAddr, port: Option<u16>, out: &mut Vec<u8>) {
    let address = address.to_canonical();
    let is_quoted = address.is_ipv6() || port.is_some();
    let quote = if is_quoted { "\"" } else { "" };
    let (open, close) = if address.is_ipv6() { ("[", "]") } else { ("", "") };
    // Writing to memory cannot fail.
    let _ = write!(Text(out), "{quote}{open}{address}{close}");
    if let Some(port) = port {
        let _ = write!(Text(out), ":{port}");
    }
    out.extend_from_slice(quote.as_bytes());
}

fn put_token_or_quoted(value: &[u8], out: &mut Vec<u8>) {
    if syntax::is_token(value) {
        out.extend_from_slice(value);
        return;
    }
    out.push(b'"');
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// Earlier hops' values, joined, up to the limit, with a comma after them.
fn put_kept(fields: &Fields, known: Known, keep: bool, out: &mut Vec<u8>) {
    if !keep {
        return;
    }
    let begin = out.len();
    for value in fields.all_known(known).filter(|value| !value.is_empty()) {
        out.extend_from_slice(value);
        out.extend_from_slice(b", ");
    }
    let excess = (out.len() - begin).saturating_sub(KEPT_BYTES_MAX);
    if excess > 0 {
        let kept = out.get(begin + excess..).unwrap_or_default();
        // Cut at a whole member; a member longer than the limit goes altogether.
        let member = memchr::memchr(b',', kept).map_or(kept.len(), |comma| (comma + 2).min(kept.len()));
        out.drain(begin..begin + excess + member);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(known: &str, values: &[&str]) -> Fields {
        let mut fields = Fields::default();
        for value in values {
            fields.append(known.as_bytes(), value.as_bytes()).unwrap();
        }
        fields
    }

    fn for_value(fields: &Fields, keep: bool, client: &str) -> String {
        let mut out = Vec::new();
        x_forwarded_for(fields, keep, client.parse().unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_untrusted_peer_is_not_repeated() {
        let fields = fields("x-forwarded-for", &["198.51.100.1"]);
        assert_eq!(for_value(&fields, false, "192.0.2.1"), "192.0.2.1");
        assert_eq!(for_value(&fields, true, "192.0.2.1"), "198.51.100.1, 192.0.2.1");
        assert_eq!(for_value(&fields, false, "::ffff:192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn all_fields_of_earlier_hops_are_kept_in_order() {
        let fields = fields("X-Forwarded-For", &["a, b", "", "c"]);
        assert_eq!(for_value(&fields, true, "2001:db8::1"), "a, b, c, 2001:db8::1");
    }

    #[test]
    fn a_long_list_loses_its_oldest_members() {
        let long = ["198.51.100.1"; 200].join(", ");
        let value = for_value(&fields("X-Forwarded-For", &[&long]), true, "192.0.2.1");
        assert!(value.len() <= KEPT_BYTES_MAX + 9, "{}", value.len());
        assert!(value.split(", ").all(|member| member == "198.51.100.1" || member == "192.0.2.1"));
        let one = "x".repeat(2_000);
        assert_eq!(for_value(&fields("X-Forwarded-For", &[&one]), true, "192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn forwarded_quotes_what_is_no_token() {
        let element = |client: &str, host| {
            let mut out = Vec::new();
            let element = Element { client: client.parse().unwrap(), by: None, host, scheme: Scheme::Https };
            forwarded(&Fields::default(), true, &element, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(element("192.0.2.1", b"a.example"), "for=192.0.2.1;host=a.example;proto=https");
        assert_eq!(
            element("2001:db8::1", b"a.example:81"),
            "for=\"[2001:db8::1]\";host=\"a.example:81\";proto=https"
        );
        assert_eq!(element("192.0.2.1", b""), "for=192.0.2.1;proto=https");
    }

    #[test]
    fn forwarded_names_our_side_when_asked() {
        let mut out = Vec::new();
        let by = Some("[2001:db8::2]:443".parse().unwrap());
        let element = Element { client: "192.0.2.1".parse().unwrap(), by, host: b"", scheme: Scheme::Http };
        forwarded(&fields("forwarded", &["for=_x"]), true, &element, &mut out);
        assert_eq!(out, b"for=_x, for=192.0.2.1;by=\"[2001:db8::2]:443\";proto=http");
    }
}
