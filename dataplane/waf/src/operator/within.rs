//! `@within`: the value is somewhere in the argument, byte for byte. The empty value always is.
//!
//! It is a substring, not a member of a list: `ET` is within `GET POST`. Rules put separators around both.

use memchr::memmem;

pub(super) fn matches(value: &[u8], argument: &[u8]) -> bool {
    value.len() <= argument.len() && memmem::find(argument, value).is_some()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn vectors() {
        let vectors: [(&[u8], &[u8], bool); 7] = [
            (b"", b"", true),
            (b"", b"GET", true),
            (b"GET", b"", false),
            (b"ET", b"GET POST", true),
            (b"POST", b"GET POST", true),
            (b"post", b"GET POST", false),
            (b"GET POST PUT", b"GET POST", false),
        ];
        for (value, argument, expected) in vectors {
            assert_eq!(matches(value, argument), expected, "{value:?} {argument:?}");
        }
    }
}
