//! What one worker needs to judge a transaction: values as transformations leave them, presence maps, caches.
//!
//! Owns: [`Workspace`]. It belongs to one transaction at a time; another one that comes in between finds it empty, and
//! the first builds it again. So open transactions hold only what their requests hold.

use super::value::{Span, ValueId, Values};
use crate::byte_set::ByteSet;
use crate::operator::prefilter::folded;
use crate::operator::rx::{Caches, Rx};
use crate::ruleset::{Node, ROOT, Ruleset, SelectCache, Side};
use crate::transform::Transformation;

/// No slot, no row, no hits.
const NONE: u32 = u32::MAX;

/// A text with what is known of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    span: Span,
    /// Whether the text is the transaction's own, or one that a transformation made.
    is_base: bool,
    pub(crate) presence: ByteSet,
    pub(crate) folded: ByteSet,
    /// Where its hit bits begin, by side.
    hits: [u32; 2],
    /// The text with the same hits: itself, or the one it differs from only in case.
    hits_of: SlotId,
    /// Where its row of versions begins; base texts only.
    row: u32,
}

impl Slot {
    pub(crate) const fn len(&self) -> usize {
        self.span.len as usize
    }
}

/// Number of a slot.
pub(crate) type SlotId = u32;

/// A list of targets, gathered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) stamp: u64,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// What all values of a group have together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Together {
    pub(crate) stamp: u64,
    /// Whether there is no value at all.
    pub(crate) is_empty: bool,
    pub(crate) folded: ByteSet,
    pub(crate) len_max: usize,
    /// Whether and where the union of hits stands.
    pub(crate) hits: Option<u32>,
}

/// What a rule looks at: a text and where it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) variable: crate::variable::Variable,
    /// The member's name; none for single values.
    pub(crate) name: Option<ValueId>,
    pub(crate) value: ValueId,
    pub(crate) is_count: bool,
}

/// An expression as its macros made it, and its cache; nothing where it is none.
pub(crate) type Expanded = (Vec<u8>, Option<Box<(Rx, regex_automata::meta::Cache)>>);

/// The workspace of a worker.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Whose values are in it.
    pub(crate) owner: u64,
    /// Whose rules are asked now.
    side: Side,
    /// Goes up whenever gathered lists are out of date.
    pub(crate) stamp: u64,
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    /// By value of the transaction, its slot.
    by_value: Vec<SlotId>,
    rows: Vec<SlotId>,
    hits: Vec<u64>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) gathered: Vec<Gathered>,
    pub(crate) together: Vec<Together>,
    pub(crate) caches: Caches,
    pub(crate) select: SelectCache,
    /// Slots picked for a union.
    pub(crate) picked: Vec<SlotId>,
    /// Expressions with macros, as last expanded.
    pub(crate) expanded: Vec<Expanded>,
    /// Buffers of transformations, of texts with macros, and of body parsers.
    pub(crate) buffer: Vec<u8>,
    pub(crate) text: Vec<u8>,
    pub(crate) name: Vec<u8>,
    pub(crate) body: crate::body::Scratch,
    pub(crate) observer: super::observe::Watch,
    /// Bytes read so far by this transaction.
    pub(crate) work_bytes: u64,
}

/// Room of changed values that is kept for the next transaction, bytes.
const KEPT_BYTES_MAX: usize = 4 << 20;

impl Workspace {
    pub(crate) fn new(set: &Ruleset) -> Self {
        Self {
            owner: 0,
            side: Side::Request,
            stamp: 1,
            bytes: Vec::new(),
            slots: Vec::new(),
            by_value: Vec::new(),
            rows: Vec::new(),
            hits: Vec::new(),
            seen: Vec::new(),
            gathered: vec![Gathered::default(); set.lists.len()],
            together: vec![Together::default(); set.groups.len()],
            caches: Caches::new(set.expressions.len()),
            select: SelectCache::default(),
            picked: Vec::new(),
            expanded: Vec::new(),
            buffer: Vec::new(),
            text: Vec::new(),
            name: Vec::new(),
            body: crate::body::Scratch::default(),
            observer: super::observe::Watch::default(),
            work_bytes: 0,
        }
    }

    /// Makes it the workspace of this transaction and side; lists are gathered anew.
    pub(crate) fn enter(&mut self, owner: u64, side: Side) {
        self.side = side;
        self.stamp += 1;
        self.seen.clear();
        if self.owner == owner {
            return;
        }
        self.owner = owner;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.slots.clear();
        self.by_value.clear();
        self.rows.clear();
        self.hits.clear();
    }

    /// The slot of a text of the transaction.
    pub(crate) fn slot_of(&mut self, values: &Values, value: ValueId) -> SlotId {
        let index = value.0 as usize;
        if index >= self.by_value.len() {
            self.by_value.resize(values.len().max(index + 1), NONE);
        }
        if self.by_value[index] == NONE {
            let span = values.span(value);
            self.by_value[index] = self.push(span, true, values.get(value));
        }
        self.by_value[index]
    }

    fn push(&mut self, span: Span, is_base: bool, text: &[u8]) -> SlotId {
        let presence = ByteSet::of_long(text);
        self.push_known(span, is_base, presence)
    }

    fn push_known(&mut self, span: Span, is_base: bool, presence: ByteSet) -> SlotId {
        let slot = self.slots.len() as SlotId;
        let folded = folded(presence);
        self.slots.push(Slot { span, is_base, presence, folded, hits: [NONE; 2], hits_of: slot, row: NONE });
        slot
    }

    #[inline]
    pub(crate) fn slot(&self, slot: SlotId) -> &Slot {
        &self.slots[slot as usize]
    }

    /// The text of a slot.
    #[inline]
    pub(crate) fn text<'a>(&'a self, values: &'a Values, slot: SlotId) -> &'a [u8] {
        let slot = &self.slots[slot as usize];
        if slot.is_base { slot.span.of(values.bytes()) } else { slot.span.of(&self.bytes) }
    }

    /// The text of a slot and, apart from it, the caches of expressions.
    #[inline]
    pub(crate) fn text_and_caches<'a>(
        &'a mut self,
        values: &'a Values,
        slot: SlotId,
    ) -> (&'a [u8], &'a mut Caches) {
        let slot = &self.slots[slot as usize];
        let text = if slot.is_base { slot.span.of(values.bytes()) } else { slot.span.of(&self.bytes) };
        (text, &mut self.caches)
    }

    /// What a text is after the transformations on the way to `node`.
    pub(crate) fn version(&mut self, set: &Ruleset, values: &Values, slot: SlotId, node: Node) -> SlotId {
        if node == ROOT {
            return slot;
        }
        let nodes = set.pipelines.len();
        if self.slots[slot as usize].row == NONE {
            self.slots[slot as usize].row = self.rows.len() as u32;
            self.rows.resize(self.rows.len() + nodes, NONE);
        }
        let place = self.slots[slot as usize].row as usize + usize::from(node);
        if self.rows[place] != NONE {
            return self.rows[place];
        }
        let step = *set.pipelines.step(node);
        let before = self.version(set, values, slot, step.parent);
        let after = self.transformed(set, values, before, &step);
        self.rows[place] = after;
        after
    }

    fn transformed(
        &mut self,
        set: &Ruleset,
        values: &Values,
        before: SlotId,
        step: &crate::ruleset::Step,
    ) -> SlotId {
        let slot = &self.slots[before as usize];
        let may_change = if slot.len() == 0 {
            step.transformation.changes_empty()
        } else {
            slot.presence.meets(&step.touches)
        };
        if !may_change {
            return before;
        }
        self.work_bytes += slot.len() as u64;
        let mut buffer = core::mem::take(&mut self.buffer);
        let text = self.text(values, before);
        let is_changed = step.transformation.apply(text, set.settings.unicode_map.as_deref(), &mut buffer);
        let after = if is_changed && self.bytes.len() + buffer.len() <= u32::MAX as usize {
            let span = Span { start: self.bytes.len() as u32, len: buffer.len() as u32 };
            self.bytes.extend_from_slice(&buffer);
            let before = self.slots[before as usize];
            let after = if step.transformation == Transformation::Lowercase {
                self.push_known(span, false, before.folded)
            } else {
                self.push(span, false, &buffer)
            };
            if matches!(step.transformation, Transformation::Lowercase | Transformation::Uppercase) {
                // Literals are compared in any case.
                self.slots[after as usize].hits_of = before.hits_of;
            }
            after
        } else {
            before
        };
        self.buffer = buffer;
        after
    }

    /// One more step on a text that is seen at every step; not kept.
    pub(crate) fn step(
        &mut self,
        set: &Ruleset,
        values: &Values,
        before: SlotId,
        transformation: Transformation,
    ) -> SlotId {
        let step = crate::ruleset::Step { parent: ROOT, transformation, touches: transformation.touches() };
        self.transformed(set, values, before, &step)
    }

    /// Whether the text holds a literal of this bit.
    pub(crate) fn has_hit(&mut self, set: &Ruleset, values: &Values, slot: SlotId, bit: u32) -> bool {
        let start = self.hits_of(set, values, slot) as usize;
        self.hits[start + (bit / 64) as usize] & (1 << (bit % 64)) != 0
    }

    fn hits_of(&mut self, set: &Ruleset, values: &Values, slot: SlotId) -> u32 {
        let slot = self.slots[slot as usize].hits_of;
        let side = self.side as usize;
        let known = self.slots[slot as usize].hits[side];
        if known != NONE {
            return known;
        }
        let start = self.hits.len();
        self.hits.resize(start + set.literals[self.side as usize].words(), 0);
        let found = &self.slots[slot as usize];
        let text = if found.is_base { found.span.of(values.bytes()) } else { found.span.of(&self.bytes) };
        self.work_bytes += text.len() as u64;
        set.literals[side].find(text, &mut self.hits[start..]);
        self.slots[slot as usize].hits[side] = start as u32;
        start as u32
    }

    /// Joins the hits of these texts; yields where the union stands.
    pub(crate) fn hits_together(
        &mut self,
        set: &Ruleset,
        values: &Values,
        slots: impl Iterator<Item = SlotId>,
    ) -> u32 {
        let words = set.literals[self.side as usize].words();
        let union = self.hits.len();
        self.hits.resize(union + words, 0);
        for slot in slots {
            let start = self.hits_of(set, values, slot) as usize;
            for word in 0..words {
                self.hits[union + word] |= self.hits[start + word];
            }
        }
        union as u32
    }

    #[inline]
    pub(crate) fn hit_at(&self, start: u32, bit: u32) -> bool {
        self.hits[start as usize + (bit / 64) as usize] & (1 << (bit % 64)) != 0
    }

    pub(crate) fn bytes(&self) -> usize {
        self.caches.bytes()
            + self.bytes.capacity()
            + self.slots.capacity() * size_of::<Slot>()
            + (self.rows.capacity() + self.by_value.capacity()) * 4
            + self.hits.capacity() * 8
    }
}
