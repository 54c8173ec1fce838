//! `@validateUtf8Encoding`: the value is not UTF-8 (RFC 3629): cut short, overlong, a surrogate, or past U+10FFFF.
//!
//! ModSecurity lets U+110000 to U+13FFFF pass; they are no characters, and match here.

pub(super) fn matches(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_err()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn vectors() {
        let vectors: [(&[u8], bool); 12] = [
            (b"", false),
            (b"ascii \x7f", false),
            ("é€😀".as_bytes(), false),
            (b"\xc3", true),
            (b"\xe2\x82", true),
            (b"\xc0\xaf", true),
            (b"\xe0\x80\xaf", true),
            (b"\xf0\x80\x80\xaf", true),
            (b"\xed\xa0\x80", true),
            (b"\xf4\x90\x80\x80", true),
            (b"\xff", true),
            (b"a\x80", true),
        ];
        for (value, expected) in vectors {
            assert_eq!(matches(value), expected, "{value:?}");
        }
    }
}
