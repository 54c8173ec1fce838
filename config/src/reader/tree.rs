//! A document as a tree, whatever it was written in: TOML of a configuration, JSON of a policy resource.
//!
//! Owns: the tree, and how it is made of TOML. Does not own: JSON (`json`), what keys mean. Strings are
//! borrowed from the text. Cost: linear; looking a key up is linear in the table, which knows some dozens of keys.

use std::borrow::Cow;

use toml::de::{DeTable, DeValue};

/// A table: its entries in the order of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Entries<'d>(pub(crate) Vec<Entry<'d>>);

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry<'d> {
    pub(crate) key: Cow<'d, str>,
    /// Where the key is.
    pub(crate) at: usize,
    pub(crate) item: Item<'d>,
}

/// A value and where it is: bytes into the file, or a part beyond [`PART_BASE`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item<'d> {
    pub(crate) at: usize,
    pub(crate) tree: Tree<'d>,
}

/// Places from here on are parts that are named, not bytes of a file: no file is half as long as memory.
pub(crate) const PART_BASE: usize = usize::MAX / 2;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree<'d> {
    Text(Cow<'d, str>),
    Integer(i64),
    /// A whole number that is not written in plain decimal, or does not fit.
    OddInteger {
        value: Option<i64>,
        shown: String,
        is_decimal: bool,
    },
    /// As written.
    Float(Cow<'d, str>),
    Boolean(bool),
    List(Vec<Item<'d>>),
    Table(Entries<'d>),
    /// What no key takes: dates of TOML, `null` of JSON.
    Other(&'static str),
}

impl Tree<'_> {
    pub(crate) const fn is_table(&self) -> bool {
        matches!(self, Self::Table(_))
    }

    /// A whole number of 64 bits.
    pub(crate) const fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            Self::OddInteger { value, .. } => *value,
            _ => None,
        }
    }
}

impl<'d> Entries<'d> {
    pub(crate) fn of_toml(table: &'d DeTable<'d>) -> Self {
        let entry = |(key, value): (&'d toml::Spanned<Cow<'d, str>>, &'d toml::Spanned<DeValue<'d>>)| Entry {
            key: Cow::Borrowed(key.get_ref().as_ref()),
            at: key.span().start,
            item: Item::of_toml(value),
        };
        Self(table.iter().map(entry).collect())
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry<'d>> {
        self.0.iter().find(|entry| entry.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Item<'d>> {
        self.entry(key).map(|entry| &entry.item)
    }

    pub(crate) fn item_mut(&mut self, key: &str) -> Option<&mut Item<'d>> {
        self.0.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.item)
    }

    /// Puts a value in the place of the one with this key, or at the end.
    pub(crate) fn set(&mut self, key: Cow<'d, str>, item: Item<'d>) {
        match self.0.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.item = item,
            None => self.0.push(Entry { at: item.at, key, item }),
        }
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Item<'d>> {
        let index = self.0.iter().position(|entry| entry.key == key)?;
        Some(self.0.remove(index).item)
    }
}

impl<'d> Item<'d> {
    fn of_toml(value: &'d toml::Spanned<DeValue<'d>>) -> Self {
        let tree = match value.get_ref() {
            DeValue::String(text) => Tree::Text(Cow::Borrowed(text.as_ref())),
            DeValue::Integer(number) => {
                let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
                let shown = number.to_string();
                match value {
                    Some(value) if shown == value.to_string() => Tree::Integer(value),
                    value => Tree::OddInteger { value, shown, is_decimal: number.radix() == 10 },
                }
            }
            DeValue::Float(number) => Tree::Float(Cow::Borrowed(number.as_str())),
            DeValue::Boolean(value) => Tree::Boolean(*value),
            DeValue::Datetime(_) => Tree::Other(value.get_ref().type_str()),
            DeValue::Array(array) => Tree::List(array.iter().map(Self::of_toml).collect()),
            DeValue::Table(table) => Tree::Table(Entries::of_toml(table)),
        };
        Self { at: value.span().start, tree }
    }
}
