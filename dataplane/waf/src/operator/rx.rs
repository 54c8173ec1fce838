//! `@rx` and `@rxGlobal`: regular expressions over bytes.
//!
//! Owns: [`Rx`], a compiled expression with its [`Need`], and [`Caches`], what one worker needs to run them. Does not
//! own: when an expression is run; a transaction asks the need first. The expressions of PCRE that the Core Rule Set
//! uses are taken over (`dialect`). Time is linear in the value, but for the few with look-around or back-references,
//! which have a bound on steps (`backtrack`). Semantics: `.` matches a newline, `^` and `$` only the ends of the
//! value (what the Core Rule Set expects), no Unicode classes. Cost: no allocation once an expression's cache is
//! warm.

mod backtrack;
mod dialect;

use regex_automata::meta::{self, Cache, Regex};
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind};
use regex_syntax::ParserBuilder;

use super::Captures;
use super::prefilter::{Need, need_of};
use crate::limits::{PATTERN_BYTES_MAX, REGEX_BYTES_MAX};

/// Most groups kept for `TX:0` to `TX:9`.
const GROUPS_MAX: usize = 10;
/// Room of one expression's lazy automaton, bytes: above what those of the Core Rule Set need for ordinary values.
const LAZY_BYTES_MAX: usize = 512 << 10;
/// Expressions up to this size (bytes of the NFA) and states are also tried as a full automaton.
const FULL_NFA_BYTES_MAX: usize = 8 << 10;
const FULL_STATES_MAX: usize = 40;

/// A compiled regular expression.
#[derive(Clone, Debug)]
pub struct Rx {
    regex: Regex,
    /// Set when the expression needs back-tracking; `regex` then matches whatever it matches, and more.
    exact: Option<Box<fancy_regex::Regex>>,
    need: Need,
    slots: usize,
}

/// Why an expression was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RxError {
    /// Longer than allowed.
    #[error("the expression has {bytes} bytes; at most {PATTERN_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not an expression that can be run in linear time, or none at all.
    #[error("{0}")]
    Syntax(String),
    /// Compiled it is larger than allowed.
    #[error("the expression is too large: {0}")]
    TooLarge(String),
}

impl Rx {
    /// Compiles an expression of PCRE's dialect.
    ///
    /// # Errors
    /// When it is no expression, needs back-tracking, or is too large.
    pub fn compile(pattern: &str) -> Result<Self, RxError> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(RxError::TooLong { bytes: pattern.len() });
        }
        let exact = if dialect::needs_backtracking(pattern) {
            Some(Box::new(backtrack::compile(&dialect::rewritten(pattern))?))
        } else {
            None
        };
        let pattern = match exact {
            Some(_) => dialect::rewritten(&dialect::relaxed(pattern)),
            None => dialect::rewritten(pattern),
        };
        let (hir, syntax) = parsed(&pattern)?;
        let config = meta::Config::new()
            .match_kind(MatchKind::LeftmostFirst)
            .utf8_empty(false)
            .nfa_size_limit(Some(REGEX_BYTES_MAX))
            .onepass_size_limit(Some(256 << 10))
            .hybrid_cache_capacity(LAZY_BYTES_MAX)
            .dfa_size_limit(Some(FULL_NFA_BYTES_MAX * 8))
            .dfa_state_limit(Some(FULL_STATES_MAX));
        let regex = Regex::builder()
            .configure(config)
            .syntax(syntax)
            .build_from_hir(&hir)
            .map_err(|error| RxError::TooLarge(error.to_string()))?;
        let slots = regex.captures_len().min(GROUPS_MAX) * 2;
        Ok(Self { regex, exact, need: need_of(&hir), slots })
    }

    /// What a value must have to match.
    #[must_use]
    pub const fn need(&self) -> &Need {
        &self.need
    }

    /// Memory of the compiled expression, bytes, as far as it tells.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.regex.memory_usage()
    }

    /// Whether the value matches; with `captures`, the groups of the first match are noted.
    pub fn matches(&self, value: &[u8], cache: &mut Cache, captures: Option<&mut Captures>) -> bool {
        if let Some(exact) = &self.exact {
            let may_match = self.regex.search_half_with(cache, &Input::new(value).earliest(true)).is_some();
            return may_match && backtrack::matches(exact, value, captures);
        }
        let Some(captures) = captures else {
            return self.regex.search_half_with(cache, &Input::new(value).earliest(true)).is_some();
        };
        captures.clear();
        // Most values do not match: the search without groups is the faster one.
        if self.regex.search_half_with(cache, &Input::new(value).earliest(true)).is_none() {
            return false;
        }
        let mut slots = [None; GROUPS_MAX * 2];
        let found = &mut slots[..self.slots];
        if self.regex.search_slots_with(cache, &Input::new(value), found).is_none() {
            return false;
        }
        for (group, pair) in found.chunks_exact(2).enumerate() {
            if let [Some(start), Some(end)] = pair {
                captures.set(group, start.get()..end.get());
            }
        }
        true
    }

    /// The first match at or after `from`, for those who want all of them.
    pub fn find_from(&self, value: &[u8], from: usize, cache: &mut Cache) -> Option<core::ops::Range<usize>> {
        if from > value.len() {
            return None;
        }
        let input = Input::new(value).range(from..);
        self.regex.search_with(cache, &input).map(|found| found.range())
    }

    /// The state that running it needs.
    #[must_use]
    pub fn cache(&self) -> Cache {
        self.regex.create_cache()
    }
}

fn parsed(pattern: &str) -> Result<(regex_syntax::hir::Hir, syntax::Config), RxError> {
    #[expect(clippy::result_large_err, reason = "the parser's own; read once and dropped")]
    let build = |unicode: bool| {
        ParserBuilder::new()
            .unicode(unicode)
            .utf8(false)
            .dot_matches_new_line(true)
            .nest_limit(250)
            .build()
            .parse(pattern)
    };
    let config = syntax::Config::new().utf8(false).dot_matches_new_line(true);
    match build(false) {
        Ok(hir) => Ok((hir, config.unicode(false))),
        // Characters beyond ASCII in a class are only known to the Unicode mode.
        Err(error) => match build(true) {
            Ok(hir) => Ok((hir, config.unicode(true))),
            Err(_) => Err(RxError::Syntax(reason(&error))),
        },
    }
}

/// The last line of the parser's message says what is wrong; the lines before draw the expression.
fn reason(error: &regex_syntax::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// The caches of one worker, one per expression that it has run.
#[derive(Debug, Default)]
pub struct Caches {
    caches: Vec<Option<Box<Cache>>>,
}

impl Caches {
    /// For a set of so many expressions.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { caches: (0..count).map(|_| None).collect() }
    }

    /// The cache of expression number `index`; made at its first use.
    pub fn of(&mut self, index: usize, rx: &Rx) -> &mut Cache {
        if index >= self.caches.len() {
            self.caches.resize_with(index + 1, || None);
        }
        self.caches[index].get_or_insert_with(|| Box::new(rx.cache()))
    }

    /// Memory of all caches, bytes, as far as they tell.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.caches.iter().flatten().map(|cache| cache.memory_usage()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(pattern: &str, value: &[u8]) -> bool {
        let rx = Rx::compile(pattern).expect("pattern");
        rx.matches(value, &mut rx.cache(), None)
    }

    #[test]
    fn spellings_of_pcre_are_understood() {
        assert!(is_match(r"\x{bc}script\x{be}", b"a\xbcscript\xbe"));
        assert!(is_match(r"\x{a}", b"\n"));
        assert!(is_match(r"a\/b\-c\<d\@", b"a/b-c<d@"));
        assert!(is_match(r"[\0\/\-]", b"\0"));
        assert!(is_match(r"\012", b"\n"));
        assert!(is_match(r"a.b", b"a\nb"));
        assert!(!is_match(r"^b", b"a\nb"));
        assert!(is_match(r"[^\x00-\x7f]", b"\xff"));
        assert!(is_match(r"\e\h\R", b"\x1b\t\r\n"));
        assert!(is_match("é", "é".as_bytes()));
        assert!(is_match("[éè]x", "éx".as_bytes()));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for pattern in ["(unclosed", "[a", "*a", r"(?=a", r"(a)\2"] {
            let error = Rx::compile(pattern).expect_err(pattern);
            assert!(!error.to_string().is_empty(), "{pattern}");
        }
    }

    #[test]
    fn what_needs_back_tracking_is_run_with_a_bound() {
        assert!(is_match(r"(\w+)=\1\b", b"x=x"));
        assert!(!is_match(r"(\w+)=\1\b", b"x=y"));
        assert!(is_match("(?>a+)b", b"aab"));
    }

    #[test]
    fn groups_are_noted() {
        let rx = Rx::compile("(a)(x)?(b+)").expect("pattern");
        let mut captures = Captures::default();
        assert!(rx.matches(b"..abbb", &mut rx.cache(), Some(&mut captures)));
        assert_eq!(captures.get(0, b"..abbb"), Some(b"abbb".as_slice()));
        assert_eq!(captures.get(1, b"..abbb"), Some(b"a".as_slice()));
        assert_eq!(captures.get(2, b"..abbb"), None);
        assert_eq!(captures.get(3, b"..abbb"), Some(b"bbb".as_slice()));
    }

    #[test]
    fn a_long_expression_is_refused() {
        let pattern = "a".repeat(PATTERN_BYTES_MAX + 1);
        assert!(matches!(Rx::compile(&pattern), Err(RxError::TooLong { .. })));
        assert!(matches!(Rx::compile(r"(?:\w{1000}){1000}"), Err(RxError::TooLarge(_))));
    }
}
