//! libinjection's own cases of tokens, folding and verdicts, and what must hold for all values.

use proptest::prelude::*;

use super::{
    super::cases::{cases, trimmed},
    fold::Folder,
    sqli,
    token::{STRING, Token, VARIABLE},
    tokenizer::{Dialect, Quote, Tokenizer},
};
use crate::{byte_set::ByteSet, libinjection::SQLI_BYTES};

/// As the test driver of libinjection prints a token.
fn print(token: &Token, out: &mut Vec<u8>) {
    out.extend([token.kind, b' ']);
    if token.kind == VARIABLE {
        out.extend(std::iter::repeat_n(b'@', usize::from(token.ats)));
    }
    let is_quoted = matches!(token.kind, STRING | VARIABLE);
    out.extend((is_quoted && token.open != 0).then_some(token.open));
    out.extend(token.text().iter().take_while(|byte| **byte != 0));
    out.extend((is_quoted && token.close != 0).then_some(token.close));
    out.push(b'\n');
}

fn check(prefix: &str, count: usize, answer: impl Fn(&[u8]) -> Vec<u8>) {
    let cases = cases(prefix);
    assert_eq!(cases.len(), count, "{prefix}");
    for case in cases {
        let answer = trimmed(answer(&case.input));
        assert_eq!(
            String::from_utf8_lossy(&answer),
            String::from_utf8_lossy(&case.expected),
            "{}: {}",
            case.name,
            String::from_utf8_lossy(&case.input),
        );
    }
}

#[test]
fn tokens_are_those_of_libinjection() {
    check("test-tokens", 249, |input| {
        let mut tokenizer = Tokenizer::new(input, Quote::None, Dialect::Ansi);
        let (mut token, mut out) = (Token::default(), Vec::new());
        while tokenizer.next(&mut token) {
            print(&token, &mut out);
        }
        out
    });
}

#[test]
fn folding_is_that_of_libinjection() {
    check("test-folding", 118, |input| {
        let mut folder = Folder::new(Tokenizer::new(input, Quote::None, Dialect::Ansi));
        let count = folder.fold();
        let mut out = Vec::new();
        folder.tokens[..count].iter().for_each(|token| print(token, &mut out));
        out
    });
}

#[test]
fn verdicts_are_those_of_libinjection() {
    check("test-sqli", 50, |input| sqli(input).map_or_else(Vec::new, |found| found.as_bytes().to_vec()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    #[test]
    fn a_value_without_a_byte_that_is_needed_is_no_injection(
        words in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    "UNION", "SELECT", "select", "0x", "0b", "0x1f", "0b01", "1", "12", "1e", "1e5", "1f", "1d", "2fU", "or", "and",
                    "_", "users", "B", "N", "nq", "q", "x", "u", "if", "sleep", "waitfor", "null", "INTO", "é", "e",
                ]).prop_map(|word| word.as_bytes().to_vec()),
                prop::collection::vec(any::<u8>(), 1..4),
            ],
            0..8,
        ),
    ) {
        let value: Vec<u8> = words.concat().into_iter().filter(|byte| !SQLI_BYTES.contains(*byte)).collect();
        prop_assert!(!SQLI_BYTES.meets(&ByteSet::of(&value)));
        prop_assert_eq!(sqli(&value), None);
    }

    #[test]
    fn any_bytes_are_read(value in prop::collection::vec(prop_oneof![
        any::<u8>(),
        prop::sample::select(b"'\"`\\/*-#@$[]{}()0123456789exbqnu;,.:<>=!|& \n\0".to_vec()),
    ], 0..64)) {
        if let Some(fingerprint) = sqli(&value) {
            prop_assert!(matches!(fingerprint.as_bytes().len(), 1..=5));
        }
    }
}
