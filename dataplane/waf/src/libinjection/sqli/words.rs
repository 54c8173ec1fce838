//! What libinjection knows of SQL: words with their kinds, and the fingerprints of injections.
//!
//! Owns: two hash tables, laid out by the compiler from `words.txt` (kind, space, word in upper case; a line each)
//! and `fingerprints.txt` (upper case, a line each), which are the tables of libinjection 3.10.0. Cost: a hash and
//! about one comparison; 8 KB and 64 KB.

const WORDS: &[u8] = include_bytes!("words.txt");
const FINGERPRINTS: &[u8] = include_bytes!("fingerprints.txt");

/// Places for words; about half are taken.
const WORD_SLOTS: usize = 2_048;
/// Places for fingerprints; about half are taken.
const FINGERPRINT_SLOTS: usize = 16_384;
/// Longest word, bytes; longer texts are not hashed.
const WORD_BYTES_MAX: usize = 31;

/// A word of [`WORDS`]; length 0 where there is none.
#[derive(Clone, Copy)]
struct Slot {
    start: u16,
    len: u8,
    kind: u8,
}

static WORD_TABLE: [Slot; WORD_SLOTS] = word_table();
#[allow(long_running_const_eval, reason = "50 KB are hashed")]
static FINGERPRINT_TABLE: [u32; FINGERPRINT_SLOTS] = fingerprint_table();

/// FNV-1a over the bytes in upper case.
const fn hash(text: &[u8], start: usize, end: usize) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    let mut index = start;
    while index < end {
        hash = (hash ^ text[index].to_ascii_uppercase() as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    hash ^ (hash >> 15)
}

const fn word_table() -> [Slot; WORD_SLOTS] {
    let mut table = [Slot { start: 0, len: 0, kind: 0 }; WORD_SLOTS];
    let mut at = 0;
    while at < WORDS.len() {
        let start = at + 2;
        let mut end = start;
        while WORDS[end] != b'\n' {
            end += 1;
        }
        assert!(WORDS[at + 1] == b' ' && end > start && end - start <= WORD_BYTES_MAX);
        let mut place = hash(WORDS, start, end) as usize % WORD_SLOTS;
        while table[place].len != 0 {
            place = (place + 1) % WORD_SLOTS;
        }
        table[place] = Slot { start: start as u16, len: (end - start) as u8, kind: WORDS[at] };
        at = end + 1;
    }
    table
}

const fn fingerprint_table() -> [u32; FINGERPRINT_SLOTS] {
    let mut table = [0; FINGERPRINT_SLOTS];
    let mut at = 0;
    let mut code = 0;
    while at < FINGERPRINTS.len() {
        if FINGERPRINTS[at] == b'\n' {
            let mut place = fingerprint_place(code);
            while table[place] != 0 {
                place = (place + 1) % FINGERPRINT_SLOTS;
            }
            table[place] = code;
            code = 0;
        } else {
            let digit = digit(FINGERPRINTS[at]);
            assert!(digit != 0);
            code = code * 32 + digit;
        }
        at += 1;
    }
    table
}

const fn fingerprint_place(code: u32) -> usize {
    (code.wrapping_mul(0x9e37_79b1) >> 18) as usize % FINGERPRINT_SLOTS
}

/// A number from 1 to 31 for each kind that stands in a fingerprint of the table, in any case; 0 for another.
const fn digit(kind: u8) -> u32 {
    match kind.to_ascii_uppercase() {
        letter @ b'A'..=b'X' => (letter - b'A') as u32 + 1,
        b'&' => 25,
        b'(' => 26,
        b')' => 27,
        b',' => 28,
        b'1' => 29,
        b':' => 30,
        b';' => 31,
        _ => 0,
    }
}

/// The kind of a word, in any case, or none.
pub(super) fn kind_of(word: &[u8]) -> Option<u8> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let mut place = hash(word, 0, word.len()) as usize % WORD_SLOTS;
    loop {
        let slot = WORD_TABLE[place];
        if slot.len == 0 {
            return None;
        }
        let start = usize::from(slot.start);
        if usize::from(slot.len) == word.len() && WORDS[start..start + word.len()].eq_ignore_ascii_case(word)
        {
            return Some(slot.kind);
        }
        place = (place + 1) % WORD_SLOTS;
    }
}

/// Whether the fingerprint, in any case, is one of an injection.
pub(super) fn is_injection(fingerprint: &[u8]) -> bool {
    if fingerprint.is_empty() || fingerprint.len() > 5 {
        return false;
    }
    let mut code = 0;
    for &kind in fingerprint {
        let digit = digit(kind);
        if digit == 0 {
            return false;
        }
        code = code * 32 + digit;
    }
    let mut place = fingerprint_place(code);
    while FINGERPRINT_TABLE[place] != 0 {
        if FINGERPRINT_TABLE[place] == code {
            return true;
        }
        place = (place + 1) % FINGERPRINT_SLOTS;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_and_every_fingerprint_is_found_and_others_are_not() {
        let text = std::str::from_utf8(WORDS).unwrap();
        assert_eq!(text.lines().count(), 985);
        for line in text.lines() {
            let (kind, word) = line.split_at(1);
            let word = &word[1..];
            assert_eq!(kind_of(word.as_bytes()), Some(kind.as_bytes()[0]), "{word}");
            assert_eq!(kind_of(word.to_ascii_lowercase().as_bytes()), Some(kind.as_bytes()[0]), "{word}");
        }
        for word in
            ["", "SELEC", "SELECTS", "UNION  ALL", "\0", "SELECT\0", &"A".repeat(31), &"A".repeat(300)]
        {
            assert_eq!(kind_of(word.as_bytes()), None, "{word}");
        }
        let text = std::str::from_utf8(FINGERPRINTS).unwrap();
        assert_eq!(text.lines().count(), 8_367);
        for line in text.lines() {
            assert!(
                is_injection(line.as_bytes()) && is_injection(line.to_ascii_lowercase().as_bytes()),
                "{line}"
            );
        }
        for line in ["", "n", "1", "11111", "1U1U1U", "?", "X?", "&1&1&1&1", "zzz"] {
            assert!(!is_injection(line.as_bytes()), "{line}");
        }
    }

    /// What [`crate::libinjection::SQLI_BYTES`] rests on.
    #[test]
    fn numbers_and_a_word_are_an_injection_only_as_a_number_and_union() {
        let ends = [b'1', b'n', b'k', b'U', b'B', b'E', b't', b'f', b'v', b'o', b'&', b'A', b'T'];
        for end in ends {
            assert!(!is_injection(&[end]));
            for first in [b'1', b'n'] {
                assert_eq!(is_injection(&[first, end]), first == b'1' && end == b'U', "{first} {end}");
                for second in [b'1', b'n'] {
                    assert!(!is_injection(&[first, second, end]), "{first} {second} {end}");
                }
            }
        }
    }
}
