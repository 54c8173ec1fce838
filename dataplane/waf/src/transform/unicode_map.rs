//! Best-fit maps: asking one, and that of US-ASCII.
//!
//! Owns: the look-up, and code page 20127, which the reference set-up of CRS names (`SecUnicodeMapFile
//! unicode.mapping 20127`). Does not own: the text of map files. Data: the section for 20127 of ModSecurity's
//! `unicode.mapping` (Apache-2.0), without full-width ASCII, which comes out the same without a map. Cost: a binary
//! search, nine steps.

use crate::seclang::settings::UnicodeMap;

/// Runs of code points and their bytes; `\0` where there is none.
const US_ASCII: &[(u32, &[u8])] = &[
    (0x00a0, b" !c\0$Y|\0\0Ca<\0-R\0\0\x0023\0\0\0.,1o>\0\0\0\0"),
    (0x00c0, b"AAAAAAACEEEEIIIIDNOOOOO\0OUUUUY\0\0aaaaaaaceeeeiiii\0nooooo\0ouuuuy\0y"),
    (0x0100, b"AaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGgGgGgHhHhIiIiIiIiIi\0\0JjKk\0LlLlLl\0\0LlNnNnNn\0\0\0OoOoOoOo"),
    (0x0154, b"RrRrRrSsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZ\0ZzZz"),
    (0x0180, b"b"),
    (0x0189, b"D"),
    (0x0191, b"Ff\0\0\0\0I\0\0l\0\0\0\0OOo"),
    (0x01ab, b"t\0\0TUu\0\0\0\0\0z"),
    (0x01cd, b"AaIiOoUuUuUuUuUu\0Aa\0\0\0\0GgGgKkOoOo\0\0j"),
    (0x0261, b"g"),
    (0x02b9, b"'\"\0'\0\0\0\0\0\0\0^\0^\0'\0\0`\0_"),
    (0x02dc, b"~"),
    (0x0300, b"`\0^~"),
    (0x030e, b"\""),
    (0x0331, b"__"),
    (0x2000, b"       \0\0\0\0\0\0\0\0\0--\0--\0\0\0'',\0\"\"\"\0\0\0.\0\0\0."),
    (0x2032, b"'\0\0`\0\0\0<>"),
    (0x2122, b"T"),
];

impl UnicodeMap {
    /// The byte that this code point becomes, if the map knows it.
    #[must_use]
    pub fn byte_of(&self, code: u32) -> Option<u8> {
        let index = self.pairs.binary_search_by_key(&code, |&(from, _)| from).ok()?;
        Some(self.pairs[index].1)
    }

    /// The best fit to US-ASCII, code page 20127.
    #[must_use]
    pub fn us_ascii() -> Self {
        let runs = US_ASCII.iter().flat_map(|&(first, bytes)| (first..).zip(bytes.iter().copied()));
        Self { pairs: runs.filter(|&(_, byte)| byte != 0).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn us_ascii_is_in_order_and_right_at_its_ends() {
        let map = UnicodeMap::us_ascii();
        assert!(map.pairs.is_sorted_by(|one, other| one.0 < other.0));
        let ends = [
            (0xa0, b' '),
            (0xbb, b'>'),
            (0xff, b'y'),
            (0x131, b'i'),
            (0x153, b'o'),
            (0x17e, b'z'),
            (0x197, b'I'),
            (0x1a1, b'o'),
            (0x1b6, b'z'),
            (0x1dc, b'u'),
            (0x1ed, b'o'),
            (0x1f0, b'j'),
            (0x2bc, b'\''),
            (0x2cd, b'_'),
            (0x303, b'~'),
            (0x332, b'_'),
            (0x2006, b' '),
            (0x2010, b'-'),
            (0x2014, b'-'),
            (0x201a, b','),
            (0x201e, b'"'),
            (0x2022, b'.'),
            (0x2026, b'.'),
            (0x2035, b'`'),
            (0x203a, b'>'),
            (0x2122, b'T'),
        ];
        for (code, byte) in ends {
            assert_eq!(map.byte_of(code), Some(byte), "{code:x}");
        }
        for code in [0x41, 0xa3, 0x17a, 0x1dd, 0x2007, 0x2012, 0x201f, 0xff1c] {
            assert_eq!(map.byte_of(code), None, "{code:x}");
        }
    }
}
