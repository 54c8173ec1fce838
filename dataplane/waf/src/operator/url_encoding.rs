//! `@validateUrlEncoding`: a `%` of the value is not followed by two hexadecimal digits.

use memchr::memchr_iter;

pub(super) fn matches(value: &[u8]) -> bool {
    memchr_iter(b'%', value).any(|at| {
        let is_hex = |index: usize| value.get(index).is_some_and(u8::is_ascii_hexdigit);
        !(is_hex(at + 1) && is_hex(at + 2))
    })
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn vectors() {
        let vectors: [(&[u8], bool); 11] = [
            (b"", false),
            (b"plain+text", false),
            (b"%41%fF%00", false),
            (b"%", true),
            (b"%4", true),
            (b"%4g", true),
            (b"%g4", true),
            (b"%%41", true),
            (b"%25%", true),
            (b"%u0041", true),
            (b"a%20b%20", false),
        ];
        for (value, expected) in vectors {
            assert_eq!(matches(value), expected, "{value:?}");
        }
    }
}
