//! Which rules' conditions on one field a packet fulfils: values of the field are cut into classes that the same rules
//! accept, each with the set of these rules as bits.
//!
//! ```text
//! rules   0: ports 80-90   1: any port   2: port 85        every = {1}
//! ranges  0 -> {} | 80 -> {0} | 85 -> {0, 2} | 86 -> {0} | 91 -> {}
//! ```
//! A set is kept in two levels: at most 256 *top* bits, of which each stands for 64 rules, and those words of 64 rules
//! that are not zero. Up to 256 rules, each top bit stands for one rule and there are no words. What rules without a
//! condition on the field add is kept once (`every`), not in each set; equal sets are kept once.
//!
//! Owns: an [`Axis`], the classes of one field. Does not own: which fields there are and how their sets are put
//! together (`table`).
//!
//! Cost: a look-up is one search in `ranges`. Memory: 40 bytes for each different set and 8 for each word in it,
//! taken from a [`Budget`]. Building: a sort of where conditions begin and end, then at most one look at each word of
//! the set there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::Error;
use super::ranges::{Bits, NONE, Ranges};

/// Rules, or bits, of a word.
pub(super) const WORD_RULES: usize = u64::BITS as usize;

/// Words of a set's top.
pub(super) const TOP_WORDS: usize = 4;

/// Bits of a set's top.
const TOP_BITS: usize = TOP_WORDS * WORD_RULES;

/// Most rules that two levels tell apart.
pub(super) const SET_RULES_MAX: usize = TOP_BITS * WORD_RULES;

/// The upper level of a set.
pub(super) type Top = [u64; TOP_WORDS];

/// Whether one level is enough for so many rules: each top bit is a rule.
pub(super) const fn is_one_level(rules: usize) -> bool {
    rules <= TOP_BITS
}

/// Memory that is left, in bytes.
#[derive(Debug)]
pub(super) struct Budget(pub(super) usize);

impl Budget {
    /// Takes some.
    ///
    /// # Errors
    /// When there is not so much left.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Error> {
        self.0 = self.0.checked_sub(bytes).ok_or(Error::TooMuchMemory)?;
        Ok(())
    }
}

/// A set of rules with room for all.
#[derive(Clone, Debug)]
pub(super) struct RuleSet {
    top: Top,
    /// Empty where one level is enough.
    words: Box<[u64]>,
}

impl RuleSet {
    /// The empty set of so many rules.
    pub(super) fn new(rules: usize) -> Self {
        let words = if is_one_level(rules) { 0 } else { rules.div_ceil(WORD_RULES) };
        Self { top: [0; TOP_WORDS], words: vec![0; words].into() }
    }

    /// Adds a rule.
    pub(super) fn insert(&mut self, rule: u16) {
        let rule = usize::from(rule);
        let mut top_bit = rule;
        if let Some(word) = self.words.get_mut(rule / WORD_RULES) {
            *word |= 1 << (rule % WORD_RULES);
            top_bit = rule / WORD_RULES;
        }
        if let Some(top) = self.top.get_mut(top_bit / WORD_RULES) {
            *top |= 1 << (top_bit % WORD_RULES);
        }
    }

    fn remove(&mut self, rule: u16) {
        let rule = usize::from(rule);
        let mut top_bit = rule;
        if let Some(word) = self.words.get_mut(rule / WORD_RULES) {
            *word &= !(1 << (rule % WORD_RULES));
            if *word != 0 {
                return;
            }
            top_bit = rule / WORD_RULES;
        }
        if let Some(top) = self.top.get_mut(top_bit / WORD_RULES) {
            *top &= !(1 << (top_bit % WORD_RULES));
        }
    }

    /// The upper level.
    pub(super) const fn top(&self) -> Top {
        self.top
    }

    /// The set as what a field's value matches, where no condition on the field can hold.
    #[inline]
    pub(super) const fn alone(&self) -> Matching<'_> {
        Matching { every: self, row: &Row::EMPTY, words: &[] }
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// The words that are not zero.
    fn used(&self) -> impl Iterator<Item = u64> {
        self.words.iter().copied().filter(|word| *word != 0)
    }
}

/// A set of which only the words are kept that are not zero.
#[derive(Clone, Debug)]
struct Row {
    top: Top,
    /// Where its words begin.
    first: u32,
    /// Bits in the words of `top` before each.
    before: [u8; TOP_WORDS],
}

impl Row {
    const EMPTY: Self = Self { top: [0; TOP_WORDS], first: 0, before: [0; TOP_WORDS] };

    fn new(top: Top, first: u32) -> Self {
        let (mut before, mut sum) = ([0; TOP_WORDS], 0);
        for (before, word) in before.iter_mut().zip(top) {
            // At most 192: the bits of the last word are not in it.
            *before = sum as u8;
            sum += word.count_ones();
        }
        Self { top, first, before }
    }

    fn words_count(&self) -> usize {
        self.top.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// The rules that accept a packet's value of one field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matching<'a> {
    every: &'a RuleSet,
    row: &'a Row,
    /// Words of the axis.
    words: &'a [u64],
}

impl Matching<'_> {
    /// Takes from the first `WORDS` words of `top` what is not in the set's; whether anything is left.
    #[inline]
    pub(super) fn narrow<const WORDS: usize>(&self, top: &mut Top) -> bool {
        let mut left = 0;
        for ((top, every), row) in top.iter_mut().zip(&self.every.top).zip(&self.row.top).take(WORDS) {
            *top &= every | row;
            left |= *top;
        }
        left != 0
    }

    /// The word of 64 rules that a top bit stands for; with two levels only.
    #[inline]
    pub(super) fn word(&self, top_bit: usize) -> u64 {
        let every = self.every.words.get(top_bit).copied().unwrap_or(0);
        let (Some(top), Some(before)) =
            (self.row.top.get(top_bit / WORD_RULES), self.row.before.get(top_bit / WORD_RULES))
        else {
            return every;
        };
        let bit = 1 << (top_bit % WORD_RULES);
        if top & bit == 0 {
            return every;
        }
        let rank = u32::from(*before) + (top & (bit - 1)).count_ones();
        every | self.words.get((self.row.first + rank) as usize).copied().unwrap_or(0)
    }
}

/// Values of a field that a rule accepts, ends included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<K> {
    /// The least.
    pub(super) first: K,
    /// The greatest.
    pub(super) last: K,
    /// The rule.
    pub(super) rule: u16,
}

/// The classes of one field.
#[derive(Clone, Debug)]
pub(super) struct Axis<K> {
    /// Rules that accept every value.
    every: RuleSet,
    /// The row of each class.
    ranges: Ranges<K>,
    rows: Box<[Row]>,
    words: Box<[u64]>,
}

impl<K: Bits> Axis<K> {
    /// The classes of `rules` rules: of those in `every`, which have no condition on the field, and of `spans`, which
    /// may overlap, also within a rule.
    ///
    /// # Errors
    /// [`Error::TooMuchMemory`].
    pub(super) fn new(
        rules: usize,
        mut every: RuleSet,
        mut spans: Vec<Span<K>>,
        budget: &mut Budget,
    ) -> Result<Self, Error> {
        spans.retain(|span| {
            let is_every = span.first == K::ZERO && span.last.next().is_none();
            if is_every {
                every.insert(span.rule);
            }
            !is_every && span.first <= span.last
        });
        budget.take(every.bytes())?;
        let mut rows = Rows::new(rules);
        let ranges = sweep(rules, &spans, &mut rows, budget)?;
        budget.take(ranges.bytes())?;
        Ok(Self { every, ranges, rows: rows.rows.into(), words: rows.words.into() })
    }

    /// The rules that accept a value.
    #[inline]
    pub(super) fn of(&self, value: K) -> Matching<'_> {
        let row = self.rows.get(self.ranges.find(value) as usize).unwrap_or(&Row::EMPTY);
        Matching { every: &self.every, row, words: &self.words }
    }
}

/// Goes through all values in order and notes where the set of rules changes.
fn sweep<K: Bits>(
    rules: usize,
    spans: &[Span<K>],
    rows: &mut Rows,
    budget: &mut Budget,
) -> Result<Ranges<K>, Error> {
    let begins = spans.iter().map(|span| (span.first, span.rule, true));
    let ends = spans.iter().filter_map(|span| Some((span.last.next()?, span.rule, false)));
    let mut changes: Vec<(K, u16, bool)> = begins.chain(ends).collect();
    changes.sort_unstable_by_key(|(at, _, _)| *at);
    let mut set = RuleSet::new(rules);
    // How many spans of each rule are open: a rule's own may overlap.
    let mut open = vec![0u32; rules];
    let mut digest = 0;
    let mut ranges = vec![(K::ZERO, NONE)];
    for changes in changes.chunk_by(|a, b| a.0 == b.0) {
        for (_, rule, begins) in changes {
            let Some(open) = open.get_mut(usize::from(*rule)) else { continue };
            match (*begins, *open) {
                (true, 0) => set.insert(*rule),
                (false, 1) => set.remove(*rule),
                _ => {}
            }
            let was_open = *open != 0;
            *open = if *begins { *open + 1 } else { open.saturating_sub(1) };
            if was_open != (*open != 0) {
                digest ^= scattered(*rule);
            }
        }
        let Some((at, _, _)) = changes.first() else { continue };
        let row = rows.find_or_add(&set, digest, budget)?;
        match ranges.last_mut() {
            Some((_, last)) if *last == row => {}
            Some((start, last)) if start == at => *last = row,
            _ => ranges.push((*at, row)),
        }
    }
    ranges.shrink_to_fit();
    Ok(Ranges::new(ranges))
}

/// A number for each rule; the digest of a set is the exclusive or of its rules' numbers.
fn scattered(rule: u16) -> u64 {
    // SplitMix64's last steps.
    let mut bits = (u64::from(rule) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Rows as they are found, equal ones once.
struct Rows {
    is_one_level: bool,
    rows: Vec<Row>,
    words: Vec<u64>,
    /// The first row of each digest. Of different sets with one digest, the later is not shared.
    by_digest: HashMap<u64, u32>,
}

impl Rows {
    fn new(rules: usize) -> Self {
        Self {
            is_one_level: is_one_level(rules),
            rows: Vec::new(),
            words: Vec::new(),
            by_digest: HashMap::new(),
        }
    }

    /// The number of the row that is this set; [`NONE`] for the empty one.
    fn find_or_add(&mut self, set: &RuleSet, digest: u64, budget: &mut Budget) -> Result<u32, Error> {
        if set.top == [0; TOP_WORDS] {
            return Ok(NONE);
        }
        let next = self.rows.len() as u32;
        match self.by_digest.entry(digest) {
            Entry::Occupied(entry) => {
                let number = *entry.get();
                if self.rows.get(number as usize).is_some_and(|row| is_equal(row, &self.words, set)) {
                    return Ok(number);
                }
            }
            Entry::Vacant(entry) => {
                entry.insert(next);
            }
        }
        let row = Row::new(set.top, self.words.len() as u32);
        let words = if self.is_one_level { 0 } else { row.words_count() };
        budget.take(size_of::<Row>() + words * size_of::<u64>())?;
        self.words.extend(set.used());
        self.rows.push(row);
        Ok(next)
    }
}

fn is_equal(row: &Row, words: &[u64], set: &RuleSet) -> bool {
    let words = words.get(row.first as usize..).unwrap_or(&[]);
    row.top == set.top && set.used().zip(words).all(|(a, b)| a == *b)
}
