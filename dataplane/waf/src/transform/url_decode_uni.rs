//! `t:urlDecodeUni`: [`url_decode`](super::url_decode), and the `%uHHHH` of IIS.
//!
//! A code point becomes what the best-fit map says (`SecUnicodeMapFile`), else its low byte, full-width ASCII made
//! plain. `%u` without four digits stays. Source: ModSecurity reference manual, "urlDecodeUni". Cost: what lies
//! between is copied in one go; one binary search per `%u` with a map.

use super::{digit, url_decode};
use crate::{byte_set::ByteSet, seclang::settings::UnicodeMap};

pub(super) const TOUCHES: ByteSet = url_decode::TOUCHES;

pub(super) fn apply(input: &[u8], map: Option<&UnicodeMap>, out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(at) = memchr::memchr2(b'%', b'+', rest) {
        out.extend_from_slice(&rest[..at]);
        let text = &rest[at..];
        let code = match text {
            [b'%', b'u' | b'U', digits @ ..] => digit::hex_four(digits),
            _ => None,
        };
        let (byte, len) = match code {
            Some(code) => {
                let fit = map.and_then(|map| map.byte_of(u32::from(code)));
                (fit.unwrap_or_else(|| digit::low_byte(code)), 6)
            }
            None => url_decode::one(text),
        };
        out.push(byte);
        rest = &text[len..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::{Transformation::UrlDecodeUni, check};

    #[test]
    fn percent_u_too() {
        check(
            UrlDecodeUni,
            &[
                (b"a+%20%u0041%U0042", b"a  AB"),
                (b"%uff1c%u013c%uff5f", b"<<_"),
                (b"%u00%u004g%u", b"%u00%u004g%u"),
                (b"%u%41%%u0041%u002541", b"%uA%A%41"),
            ],
        );
    }

    #[test]
    fn the_best_fit_map_goes_first() {
        let map = UnicodeMap { pairs: vec![(0x201c, b'"'), (0xff1c, b'(')] };
        let mut out = Vec::new();
        assert!(UrlDecodeUni.apply(b"%u201c%uff1c%uff1e", Some(&map), &mut out));
        assert_eq!(out, b"\"(>");
    }
}
