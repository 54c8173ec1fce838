//! Files of best-fit mappings (`unicode.mapping`).
//!
//! Owns: their format: a line that begins with the number of a code page (`20127 (US-ASCII)`), then pairs `00c0:41` of
//! code point and byte, hexadecimal, on the same line or the following ones. `#` begins a comment. Does not own: use.

use super::settings::UnicodeMap;

/// The mapping of a code page; none if the file does not have it.
pub(super) fn parse(bytes: &[u8], page: u32) -> Option<UnicodeMap> {
    let mut is_asked = false;
    let mut is_found = false;
    let mut pairs = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.starts_with(b"#") {
            continue;
        }
        let words = line.split(u8::is_ascii_whitespace).filter_map(|word| std::str::from_utf8(word).ok());
        for (index, word) in words.enumerate() {
            if index == 0 && !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
                is_asked = word.parse() == Ok(page);
                is_found |= is_asked;
            } else if is_asked && let Some(pair) = pair(word) {
                pairs.push(pair);
            }
        }
    }
    pairs.sort_by_key(|(point, _)| *point);
    pairs.dedup_by_key(|(point, _)| *point);
    is_found.then_some(UnicodeMap { pairs })
}

fn pair(word: &str) -> Option<(u32, u8)> {
    let (point, byte) = word.split_once(':')?;
    let point = u32::from_str_radix(point, 16).ok().filter(|point| *point <= 0xffff)?;
    Some((point, u8::from_str_radix(byte, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn pairs_of_the_page_asked_for_are_sorted() {
        let file = b"# map\n1250  (ANSI - Central Europe)\n00a1:21\r\n\n20127 (US-ASCII)\n00c1:41 00a0:20 zz:1 10000:1\n";
        assert_eq!(parse(file, 20_127).unwrap().pairs, [(0xa0, 0x20), (0xc1, 0x41)]);
        assert_eq!(parse(b"1251 0434:64 043e:6f", 1251).unwrap().pairs, [(0x434, 0x64), (0x43e, 0x6f)]);
        assert_eq!(parse(file, 1252), None);
    }
}
