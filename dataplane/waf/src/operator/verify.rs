//! `@verifyCC`, `@verifyCPF`, `@verifySSN`, `@verifySVNR`, `@validateNid`: a regular expression finds what looks
//! like a number, and a check digit or a rule of its issuer says whether it is one.
//!
//! Owns: the search for candidates. Does not own: the checks; each has its file. Captures the number found as `TX:0`.
//!
//! Candidates overlap: behind each the search goes on at the byte after its start, as in ModSecurity. That would be
//! quadratic on long runs of digits, so past [`BYTES_SEARCHED_MIN`] and [`TIMES_SEARCHED_MAX`] times the value it
//! goes on at the end of each.

use regex_automata::{Input, meta, util::syntax};

use super::{Call, Captures, OperatorError, Word, card, cpf, national_id, social_security, svnr};
use crate::limits;

/// Bytes that overlapping candidates may take to search in any value: some thousands of numbers.
const BYTES_SEARCHED_MIN: usize = 64 << 10;
/// And beyond, how often the bytes of a long value.
const TIMES_SEARCHED_MAX: usize = 8;

/// The compiled words.
#[derive(Clone, Debug)]
pub struct Verify {
    regex: meta::Regex,
    check: fn(&[u8]) -> bool,
}

impl Verify {
    pub(super) fn compile(call: &Call<'_>) -> Result<Self, OperatorError> {
        let text = call.text()?;
        let (check, pattern): (fn(&[u8]) -> bool, &str) = match call.word {
            Word::VerifyCc => (card::is_valid, text),
            Word::VerifyCpf => (cpf::is_valid, text),
            Word::VerifySsn => (social_security::is_valid, text),
            Word::VerifySvnr => (svnr::is_valid, text),
            _ => match text.trim_start().split_once(' ') {
                Some(("cl", pattern)) => (national_id::is_chilean, pattern),
                Some(("us", pattern)) => (national_id::is_american, pattern),
                _ => return Err(call.wrong("the argument is a country (cl, us) and a regular expression")),
            },
        };
        if pattern.is_empty() {
            return Err(call.wrong("no regular expression is given"));
        }
        Ok(Self { regex: compiled(call, pattern)?, check })
    }

    pub(super) fn matches(&self, value: &[u8], captures: &mut Captures) -> bool {
        let budget = BYTES_SEARCHED_MIN.saturating_add(value.len().saturating_mul(TIMES_SEARCHED_MAX));
        let mut searched = 0_usize;
        let mut from = 0;
        while from <= value.len() {
            let Some(found) = self.regex.find(Input::new(value).range(from..)) else {
                return false;
            };
            if (self.check)(&value[found.range()]) {
                captures.set(0, found.range());
                return true;
            }
            searched = searched.saturating_add(found.end() - from);
            from = if searched <= budget { found.start() + 1 } else { found.end().max(found.start() + 1) };
        }
        false
    }
}

/// A regular expression over bytes in which `.` takes line feeds too.
pub(super) fn compiled(call: &Call<'_>, pattern: &str) -> Result<meta::Regex, OperatorError> {
    if pattern.len() > limits::PATTERN_BYTES_MAX {
        return Err(call.wrong(format!("the expression is longer than {} bytes", limits::PATTERN_BYTES_MAX)));
    }
    meta::Regex::builder()
        .syntax(syntax::Config::new().unicode(false).utf8(false).dot_matches_new_line(true))
        .configure(meta::Config::new().utf8_empty(false).nfa_size_limit(Some(limits::REGEX_BYTES_MAX)))
        .build(pattern)
        .map_err(|error| call.wrong(format!("the regular expression: {error}")))
}

/// The digits of a candidate, if there are exactly as many.
pub(super) fn digits<const COUNT: usize>(text: &[u8]) -> Option<[u8; COUNT]> {
    let mut digits = [0; COUNT];
    let mut count = 0;
    for byte in text.iter().filter(|byte| byte.is_ascii_digit()) {
        *digits.get_mut(count)? = byte - b'0';
        count += 1;
    }
    (count == COUNT).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::tests_support::call;

    fn found(word: Word, argument: &str, value: &[u8]) -> Option<Vec<u8>> {
        let mut captures = Captures::new();
        let is_match = Verify::compile(&call(word, argument)).unwrap().matches(value, &mut captures);
        let captured = captures.get(0, value).map(<[u8]>::to_vec);
        assert_eq!(captured.is_some(), is_match);
        captured
    }

    #[test]
    fn the_number_found_is_captured_also_behind_others() {
        let pattern = r"(?:^|\D)(\d+)(?:\D|$)";
        assert_eq!(
            found(Word::VerifyCc, pattern, b"1234 4417123456789113").as_deref(),
            Some(&b" 4417123456789113"[..])
        );
        assert_eq!(found(Word::VerifyCc, pattern, b"1234 4417123456789112"), None);
        assert_eq!(found(Word::VerifyCc, ".", b""), None);
        assert_eq!(found(Word::VerifyCc, "x*", b"abc"), None, "an empty match moves on");
        assert_eq!(
            found(Word::VerifySsn, r"\d{3}-?\d{2}-?\d{4}", b"x 574-57-8065").as_deref(),
            Some(&b"574-57-8065"[..])
        );
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for (word, argument) in [
            (Word::VerifyCc, ""),
            (Word::VerifyCc, "("),
            (Word::ValidateNid, "cl"),
            (Word::ValidateNid, "de .*"),
            (Word::ValidateNid, ".*"),
        ] {
            assert!(Verify::compile(&call(word, argument)).is_err(), "{argument}");
        }
    }
}
