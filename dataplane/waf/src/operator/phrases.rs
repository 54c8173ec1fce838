//! `@pm` and `@pmFromFile`: one of the phrases is in the value, ASCII in any case.
//!
//! Owns: reading phrases and searching for all of them at once. Cost: one step of an automaton per byte of the
//! value; a dense table for few phrases, a compact one for many. Captures the phrase that ends first as `TX:0`.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use memchr::memchr;

use super::{Call, Captures, OperatorError};
use crate::{byte_set::ByteSet, limits};

/// Up to this many bytes of phrases the automaton is a dense table, at most about 1 MB (a state per byte, 4 bytes
/// per class of bytes); beyond it is the compact form, which takes about 10 bytes per byte of phrase and twice the
/// time.
const DENSE_BYTES_MAX: usize = 4 << 10;

/// The compiled words.
#[derive(Clone, Debug)]
pub struct Phrases {
    /// None when there is no phrase: nothing matches.
    automaton: Option<AhoCorasick>,
    bytes_needed: ByteSet,
    phrases: Box<[Box<[u8]>]>,
}

impl Phrases {
    /// Phrases of an argument, separated by white space.
    pub(super) fn compile(call: &Call<'_>) -> Result<Self, OperatorError> {
        let text = decoded(call.text()?.as_bytes());
        let phrases: Vec<&[u8]> =
            text.split(|&byte| is_space(byte)).filter(|phrase| !phrase.is_empty()).collect();
        if phrases.is_empty() {
            return Err(call.wrong("no phrase is given"));
        }
        Self::of(call, &phrases)
    }

    /// Phrases of a file, one a line, trimmed; empty lines and those that begin with `#` are passed over.
    pub(super) fn compile_file(call: &Call<'_>) -> Result<Self, OperatorError> {
        let bytes = call.file()?;
        let phrases: Vec<&[u8]> = bytes
            .split(|&byte| byte == b'\n')
            .map(<[u8]>::trim_ascii)
            .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
            .collect();
        Self::of(call, &phrases)
    }

    fn of(call: &Call<'_>, phrases: &[&[u8]]) -> Result<Self, OperatorError> {
        if phrases.len() > limits::PHRASES_MAX {
            return Err(call.wrong(format!("more than {} phrases", limits::PHRASES_MAX)));
        }
        if phrases.is_empty() {
            return Ok(Self { automaton: None, bytes_needed: ByteSet::EMPTY, phrases: Box::default() });
        }
        let bytes: usize = phrases.iter().map(|phrase| phrase.len()).sum();
        let kind =
            if bytes <= DENSE_BYTES_MAX { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(kind))
            .build(phrases)
            .map_err(|error| call.wrong(format!("the phrases are too many or too long: {error}")))?;
        let mut bytes_needed = ByteSet::EMPTY;
        for byte in phrases.iter().filter_map(|phrase| super::rarest(phrase)) {
            bytes_needed.insert(byte.to_ascii_lowercase());
            bytes_needed.insert(byte.to_ascii_uppercase());
        }
        let phrases = phrases.iter().map(|phrase| (*phrase).into()).collect();
        Ok(Self { automaton: Some(automaton), bytes_needed, phrases })
    }

    pub(super) fn matches(&self, value: &[u8], captures: &mut Captures) -> bool {
        let Some(found) = self.automaton.as_ref().and_then(|automaton| automaton.find(value)) else {
            return false;
        };
        captures.set(0, found.range());
        true
    }

    /// One of these is in every value that matches, in any case.
    pub(super) fn phrases(&self) -> impl Iterator<Item = &[u8]> {
        self.phrases.iter().map(|phrase| &**phrase)
    }

    pub(super) const fn bytes_needed(&self) -> ByteSet {
        self.bytes_needed
    }
}

/// As `isspace` of C.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The argument with its quotes taken off and what Snort writes undone: `|41 42|` is not `AB`, but `|4142|` is; `\:`,
/// `\;`, `\\` and `\"` stand for the second byte.
///
/// As ModSecurity does, an argument that is not written so throughout is taken as it stands; so is one whose `|` are
/// not in pairs or enclose half a byte, where ModSecurity would drop bytes in silence.
fn decoded(argument: &[u8]) -> Vec<u8> {
    let start = argument.iter().take_while(|&&byte| matches!(byte, b' ' | b'\t')).count();
    let inner = &argument[start..];
    let inner = match inner {
        [b'"', quoted @ .., b'"'] => quoted,
        _ => inner,
    };
    unescaped(inner).unwrap_or_else(|| argument.to_vec())
}

fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        match byte {
            b'|' => {
                let close = memchr(b'|', tail)?;
                let (pairs, odd) = tail[..close].as_chunks::<2>();
                if !odd.is_empty() {
                    return None;
                }
                for pair in pairs {
                    let high = char::from(pair[0]).to_digit(16)?;
                    let low = char::from(pair[1]).to_digit(16)?;
                    out.push(u8::try_from(high << 4 | low).ok()?);
                }
                rest = &tail[close + 1..];
            }
            b'\\' => {
                let (escaped, after) = tail.split_first()?;
                if !matches!(escaped, b':' | b';' | b'\\' | b'"') {
                    return None;
                }
                out.push(*escaped);
                rest = after;
            }
            _ => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{
        Word,
        tests_support::{OneFile, call},
    };

    #[test]
    fn snort_forms_are_undone_and_others_stand() {
        let vectors: [(&str, &[u8]); 10] = [
            ("abc def", b"abc def"),
            ("  \"abc\"", b"abc"),
            ("A|42|C|4445|", b"ABCDE"),
            ("a\\:b\\;c\\\\d\\\"e", b"a:b;c\\d\"e"),
            ("a\\nb", b"a\\nb"),
            ("a|4g|b", b"a|4g|b"),
            ("a|4|b", b"a|4|b"),
            ("a|b", b"a|b"),
            ("\"", b"\""),
            ("||", b""),
        ];
        for (argument, expected) in vectors {
            assert_eq!(decoded(argument.as_bytes()), expected, "{argument}");
        }
    }

    #[test]
    fn phrases_are_found_in_any_case_and_captured() {
        let phrases = Phrases::compile(&call(Word::Pm, "Select  union\tfrom ?>")).unwrap();
        let vectors: [(&[u8], Option<&[u8]>); 6] = [
            (b"a uNiOn b", Some(b"uNiOn")),
            (b"<?php ?>", Some(b"?>")),
            (b"selec", None),
            (b"", None),
            (b"selectunion", Some(b"select")),
            (b"\xff\0FROM", Some(b"FROM")),
        ];
        for (value, expected) in vectors {
            let mut captures = Captures::new();
            assert_eq!(phrases.matches(value, &mut captures), expected.is_some(), "{value:?}");
            assert_eq!(captures.get(0, value), expected, "{value:?}");
        }
        assert!(Phrases::compile(&call(Word::Pm, " ")).is_err());
    }

    #[test]
    fn a_file_holds_one_phrase_a_line() {
        let files = OneFile(b"# comment\r\n\r\n  two words \r\nlast#\n  # comment\n");
        let of = |argument| Call {
            word: Word::PmFromFile,
            argument: Some(argument),
            directory: "rules/",
            files: &files,
        };
        let phrases = Phrases::compile_file(&of("list")).unwrap();
        let matches = |value: &[u8]| phrases.matches(value, &mut Captures::new());
        assert!(matches(b"a TWO WORDS b") && matches(b"last#"));
        assert!(!matches(b"two") && !matches(b"comment") && !matches(b"\r") && !matches(b""));
        assert!(Phrases::compile_file(&of("other")).is_err());
        assert!(Phrases::compile_file(&of("https://example.net/list")).is_err());
        let empty = Call { files: &OneFile(b"#\n"), ..of("list") };
        assert!(!Phrases::compile_file(&empty).unwrap().matches(b"#", &mut Captures::new()));
    }

    #[test]
    fn many_phrases_are_found_as_few_are() {
        let argument: Vec<String> = (0..2_000).map(|number| format!("phrase{number}.")).collect();
        let phrases = Phrases::compile(&call(Word::Pm, &argument.join(" "))).unwrap();
        assert!(phrases.matches(b"a PHRASE1999. b", &mut Captures::new()));
        assert!(!phrases.matches(b"a phrase2000. b", &mut Captures::new()));
    }
}
