//! JA4: a fingerprint of the client's TLS stack (FoxIO's JA4, TLS over TCP), made from its ClientHello.
//!
//! ```text
//! t13d1516h2_8daaf6152771_e5627efa2ab1
//! | | ||  |  |            '- hash of extensions (sorted, without name and ALPN) and signature algorithms
//! | | ||  |  '- hash of cipher suites, sorted
//! | | ||  '- first and last character of the first application protocol
//! | | |'- numbers of cipher suites and extensions
//! | | '- d: names a server, i: does not
//! | '- highest version
//! '- over TCP
//! ```
//! Values of RFC 8701 are left out everywhere. Cost: two SHA-256 of a few hundred bytes, about 1 us.

use core::fmt::{self, Write};

use aws_lc_rs::digest::{SHA256, digest};

use super::client_hello::{ClientHello, LIST_MAX, is_grease, pairs};

/// Bytes of the fingerprint: 10 + 1 + 12 + 1 + 12.
const LEN: usize = 36;
/// Hexadecimal digits of each hash.
const HASH_CHARS: usize = 12;

/// The fingerprint, 36 ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ja4([u8; LEN]);

impl Ja4 {
    /// The fingerprint of a client.
    pub fn of(hello: &ClientHello<'_>) -> Self {
        let mut ciphers: Vec<u16> = pairs(hello.ciphers).filter(|value| !is_grease(*value)).collect();
        let mut extensions: Vec<u16> =
            hello.extensions.iter().copied().filter(|value| !is_grease(*value)).collect();
        let mut text = String::with_capacity(LEN);
        let named = if extensions.contains(&0) { 'd' } else { 'i' };
        let [first, last] = alpn_characters(hello.alpn);
        let _ = write!(
            text,
            "t{}{named}{:02}{:02}{first}{last}_",
            version(hello.version_max.unwrap_or(hello.version)),
            ciphers.len().min(99),
            extensions.len().min(99)
        );
        ciphers.sort_unstable();
        hash(&mut text, &list(&ciphers, String::new()));
        text.push('_');
        extensions.retain(|kind| !matches!(kind, 0 | 16));
        extensions.sort_unstable();
        let mut hashed = list(&extensions, String::new());
        let algorithms: Vec<u16> =
            pairs(hello.signature_algorithms).filter(|value| !is_grease(*value)).collect();
        if !algorithms.is_empty() {
            hashed.push('_');
            hashed = list(&algorithms, hashed);
        }
        hash(&mut text, &hashed);
        let mut bytes = [b'0'; LEN];
        for (place, byte) in bytes.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        Self(bytes)
    }

    /// The fingerprint as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn version(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// First and last character of a protocol; of its hexadecimal form when one of them is not alphanumeric.
fn alpn_characters(alpn: Option<&[u8]>) -> [char; 2] {
    let Some((first, last)) = alpn.and_then(|name| Some((*name.first()?, *name.last()?))) else {
        return ['0', '0'];
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [first.into(), last.into()];
    }
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    [digit(first >> 4), digit(last & 15)]
}

/// Appends numbers as four hexadecimal digits with commas between.
fn list(values: &[u16], mut text: String) -> String {
    text.reserve(values.len().min(LIST_MAX) * 5);
    for (index, value) in values.iter().enumerate() {
        let _ = write!(text, "{}{value:04x}", if index == 0 { "" } else { "," });
    }
    text
}

/// Appends the first digits of the SHA-256; zeros for nothing.
fn hash(text: &mut String, hashed: &str) {
    if hashed.is_empty() {
        text.push_str("000000000000");
        return;
    }
    for byte in digest(&SHA256, hashed.as_bytes()).as_ref().iter().take(HASH_CHARS / 2) {
        let _ = write!(text, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[u16]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_be_bytes()).collect()
    }

    #[test]
    fn fingerprint_is_that_of_the_published_example() {
        let ciphers = bytes(&[
            0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
            0x009c, 0x009d, 0x002f, 0x0035,
        ]);
        let algorithms = bytes(&[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]);
        let hello = ClientHello {
            version: 0x0303,
            version_max: Some(0x0304),
            ciphers: &ciphers,
            extensions: vec![
                0x6a6a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023,
                0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0x9a9a,
            ],
            server_name: Some(b"example.org"),
            alpn: Some(b"h2"),
            signature_algorithms: &algorithms,
        };
        assert_eq!(Ja4::of(&hello).as_str(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn client_that_says_nothing_has_a_fingerprint_of_zeros() {
        let hello = ClientHello { version: 0x0301, ..ClientHello::default() };
        assert_eq!(Ja4::of(&hello).as_str(), "t10i000000_000000000000_000000000000");
    }

    #[test]
    fn protocols_that_are_not_text_are_written_in_digits() {
        assert_eq!(alpn_characters(Some(b"http/1.1")), ['h', '1']);
        assert_eq!(alpn_characters(Some(&[0xab, 0xcd])), ['a', 'd']);
        assert_eq!(alpn_characters(Some(b"x")), ['x', 'x']);
        assert_eq!(alpn_characters(Some(b"")), ['0', '0']);
    }
}
