//! Reads a [`Need`] off a regular expression.
//!
//! Owns: the walk over the expression. A concatenation needs what each part needs; an alternation what one of its
//! branches needs; what may be absent needs nothing. Literals are grown over neighbouring parts that match a small,
//! known set of strings, and the best such set is kept.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::{CHOICES_MAX, CLAUSES_MAX, Clause, LITERALS_MAX, Need, folded};
use crate::byte_set::ByteSet;

/// Most strings of a growing set of literals: cross products beyond end the run.
const RUN_MAX: usize = 64;
/// Longest literal kept, bytes: longer ones are cut; a prefix of a literal is as necessary as the whole.
const LITERAL_BYTES_MAX: usize = 12;
/// Shortest literal worth asking for, bytes.
const LITERAL_BYTES_MIN: usize = 2;
/// A class with more bytes than this says too little.
const CLASS_MAX: u32 = 200;
/// A class of more bytes than this ends a run of literals.
const RUN_CLASS_MAX: u32 = 8;

/// What a value must have for `hir` to match.
#[must_use]
pub fn need_of(hir: &Hir) -> Need {
    let found = walk(hir);
    let literals = match found.best() {
        Some(set) if is_worth(&set) => set,
        _ => Vec::new(),
    };
    Need {
        bytes_min: hir.properties().minimum_len().unwrap_or(0),
        clauses: found.clauses.into_iter().map(tidied).collect(),
        literals,
    }
}

/// What is known of a part of the expression.
struct Found {
    /// One of these is met by whatever the part matches in.
    clauses: Vec<Clause>,
    /// The strings that the part matches, if they are few and known (folded).
    exact: Option<Vec<Vec<u8>>>,
    /// A set of which one occurs in whatever the part matches.
    literals: Option<Vec<Vec<u8>>>,
}

impl Found {
    fn nothing() -> Self {
        Self { clauses: vec![Clause::anything()], exact: None, literals: None }
    }

    fn empty_string() -> Self {
        Self { exact: Some(vec![Vec::new()]), ..Self::nothing() }
    }

    fn best(&self) -> Option<Vec<Vec<u8>>> {
        better(self.literals.clone(), self.exact.clone())
    }
}

fn is_worth(set: &[Vec<u8>]) -> bool {
    !set.is_empty() && set.len() <= LITERALS_MAX && set.iter().all(|text| text.len() >= LITERAL_BYTES_MIN)
}

/// Longer literals are rarer; of equally long ones fewer are.
fn better(a: Option<Vec<Vec<u8>>>, b: Option<Vec<Vec<u8>>>) -> Option<Vec<Vec<u8>>> {
    let worth = |set: Option<Vec<Vec<u8>>>| set.filter(|set| is_worth(set));
    match (worth(a), worth(b)) {
        (Some(a), Some(b)) => {
            let rank = |set: &Vec<Vec<u8>>| {
                let shortest = set.iter().map(Vec::len).min().unwrap_or(0).min(4);
                (shortest, usize::MAX - set.len())
            };
            if rank(&b) > rank(&a) { Some(b) } else { Some(a) }
        }
        (a, b) => a.or(b),
    }
}

fn walk(hir: &Hir) -> Found {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Found::empty_string(),
        HirKind::Literal(literal) => of_literal(&literal.0),
        HirKind::Class(class) => of_class(class),
        HirKind::Capture(capture) => walk(&capture.sub),
        HirKind::Repetition(repetition) => {
            if repetition.min == 0 {
                return Found::nothing();
            }
            let sub = walk(&repetition.sub);
            if repetition.min == 1 && repetition.max == Some(1) {
                return sub;
            }
            let literals = sub.best();
            Found { clauses: sub.clauses, exact: None, literals }
        }
        HirKind::Concat(parts) => of_concat(parts),
        HirKind::Alternation(branches) => of_alternation(branches),
    }
}

fn of_literal(bytes: &[u8]) -> Found {
    let text: Vec<u8> = bytes.iter().map(u8::to_ascii_lowercase).collect();
    let clause = Clause { all: ByteSet::of(&text), choices: Vec::new() };
    Found { clauses: vec![clause], exact: Some(vec![text]), literals: None }
}

fn of_class(class: &Class) -> Found {
    let Some(set) = bytes_of(class) else { return Found::nothing() };
    let set = folded(set);
    if set.len() > CLASS_MAX || set.is_empty() {
        return Found::nothing();
    }
    let members = || (0..=255_u8).filter(|byte| set.contains(*byte));
    let clause = if set.len() == 1 {
        Clause { all: set, choices: Vec::new() }
    } else {
        Clause { all: ByteSet::EMPTY, choices: vec![set] }
    };
    let exact = (set.len() <= RUN_CLASS_MAX).then(|| members().map(|byte| vec![byte]).collect());
    Found { clauses: vec![clause], exact, literals: None }
}

/// The bytes of a class; of one with characters beyond ASCII, none is known.
fn bytes_of(class: &Class) -> Option<ByteSet> {
    let mut set = ByteSet::EMPTY;
    match class {
        Class::Bytes(class) => {
            for range in class.ranges() {
                set = set.union(ByteSet::range(range.start(), range.end()));
            }
        }
        Class::Unicode(class) => {
            for range in class.ranges() {
                let last = u8::try_from(range.end()).ok().filter(u8::is_ascii)?;
                set = set.union(ByteSet::range(u8::try_from(range.start()).ok()?, last));
            }
        }
    }
    Some(set)
}

fn of_concat(parts: &[Hir]) -> Found {
    let mut clauses = vec![Clause::anything()];
    let mut literals = None;
    // The strings that the parts since the last unknown one match.
    let mut run: Vec<Vec<u8>> = vec![Vec::new()];
    let mut is_exact = true;
    for part in parts {
        let found = walk(part);
        clauses = both(clauses, &found.clauses);
        literals = better(literals, found.literals);
        match found.exact {
            Some(exact) if run.len() * exact.len() <= RUN_MAX => {
                run = joined(&run, &exact);
                if run.iter().any(|text| text.len() > LITERAL_BYTES_MAX) {
                    is_exact = false;
                    for text in &mut run {
                        text.truncate(LITERAL_BYTES_MAX);
                    }
                    literals = better(literals, Some(core::mem::replace(&mut run, vec![Vec::new()])));
                }
            }
            exact => {
                is_exact = false;
                literals = better(literals, Some(core::mem::replace(&mut run, vec![Vec::new()])));
                literals = better(literals, exact);
            }
        }
    }
    if is_exact {
        return Found { clauses, exact: Some(run), literals };
    }
    let literals = better(literals, Some(run));
    Found { clauses, exact: None, literals }
}

fn joined(heads: &[Vec<u8>], tails: &[Vec<u8>]) -> Vec<Vec<u8>> {
    heads
        .iter()
        .flat_map(|head| tails.iter().map(move |tail| [head.as_slice(), tail.as_slice()].concat()))
        .collect()
}

fn of_alternation(branches: &[Hir]) -> Found {
    let mut clauses = Vec::new();
    let mut exact = Some(Vec::new());
    let mut literals = Some(Vec::new());
    for branch in branches {
        let found = walk(branch);
        let best = found.best();
        clauses.extend(found.clauses);
        exact = extended(exact, found.exact, RUN_MAX);
        literals = extended(literals, best, LITERALS_MAX);
    }
    Found { clauses: merged(clauses), exact, literals }
}

/// The union of two sets of strings, if both are known and it is not too large.
fn extended(set: Option<Vec<Vec<u8>>>, more: Option<Vec<Vec<u8>>>, max: usize) -> Option<Vec<Vec<u8>>> {
    let (mut set, more) = (set?, more?);
    if set.len() + more.len() > max {
        return None;
    }
    set.extend(more);
    set.sort_unstable();
    set.dedup();
    Some(set)
}

/// What holds when one of `a` and one of `b` hold.
fn both(a: Vec<Clause>, b: &[Clause]) -> Vec<Clause> {
    if b.iter().any(Clause::is_anything) {
        return a;
    }
    if a.iter().any(Clause::is_anything) {
        return b.to_vec();
    }
    if a.len() * b.len() <= CLAUSES_MAX {
        return a.iter().flat_map(|a| b.iter().map(move |b| conjunction(a, b))).collect();
    }
    // Too many pairs: the side with more branches is weakened to one clause.
    let (many, few) = if a.len() > b.len() { (a.as_slice(), b) } else { (b, a.as_slice()) };
    let weak = weakest(many);
    few.iter().map(|clause| conjunction(clause, &weak)).collect()
}

fn conjunction(a: &Clause, b: &Clause) -> Clause {
    let mut choices = a.choices.clone();
    for choice in &b.choices {
        if !choices.contains(choice) {
            choices.push(*choice);
        }
    }
    // The smallest sets say most.
    choices.sort_by_key(ByteSet::len);
    choices.truncate(CHOICES_MAX);
    Clause { all: a.all.union(b.all), choices }
}

/// One clause that holds whenever any of these does.
fn weakest(clauses: &[Clause]) -> Clause {
    let mut all = ByteSet::ALL;
    let mut choice = ByteSet::EMPTY;
    for clause in clauses {
        all = all.intersection(clause.all);
        match rarest(clause) {
            Some(set) => choice = choice.union(set),
            None => choice = ByteSet::ALL,
        }
    }
    let choices = if choice.len() <= CLASS_MAX { vec![choice] } else { Vec::new() };
    Clause { all, choices }
}

/// The set of a clause whose bytes are the least common in ordinary text: one byte of those that must all occur, or a
/// choice.
fn rarest(clause: &Clause) -> Option<ByteSet> {
    let single = (0..=255_u8)
        .filter(|byte| clause.all.contains(*byte))
        .min_by_key(|byte| commonness(*byte))
        .map(|byte| (commonness(byte), ByteSet::of(&[byte])));
    let choice = clause
        .choices
        .iter()
        .map(|set| ((0..=255_u8).filter(|byte| set.contains(*byte)).map(commonness).sum::<u32>(), *set))
        .min_by_key(|(cost, _)| *cost);
    match (single, choice) {
        (Some(a), Some(b)) => Some(if a.0 <= b.0 { a.1 } else { b.1 }),
        (a, b) => a.or(b).map(|(_, set)| set),
    }
}

/// A rough rank of how often a byte occurs in ordinary requests.
const fn commonness(byte: u8) -> u32 {
    match byte {
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' | b' ' => 60,
        b'h' | b'l' | b'd' | b'c' | b'u' | b'm' | b'p' | b'f' | b'g' => 40,
        b'a'..=b'z' => 20,
        b'0'..=b'9' | b'-' | b'.' | b'/' | b'_' => 30,
        b',' | b':' | b';' | b'=' | b'%' | b'+' | b'&' => 10,
        b'(' | b')' | b'"' | b'*' | b'\'' | b'?' => 5,
        _ => 1,
    }
}

/// Branches merged until they are few enough: the ones that must have most bytes stay apart longest.
fn merged(mut clauses: Vec<Clause>) -> Vec<Clause> {
    if clauses.iter().any(Clause::is_anything) {
        return vec![Clause::anything()];
    }
    clauses.dedup();
    if clauses.len() <= CLAUSES_MAX {
        return clauses;
    }
    clauses.sort_by_key(|clause| core::cmp::Reverse(clause.all.len()));
    let rest = clauses.split_off(CLAUSES_MAX - 1);
    clauses.push(weakest(&rest));
    clauses
}

/// Drops choices that `all` already answers.
fn tidied(mut clause: Clause) -> Clause {
    let all = clause.all;
    clause.choices.retain(|choice| !choice.meets(&all));
    clause
}
