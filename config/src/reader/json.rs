//! JSON: read into the tree that the sections read, and written in canonical form.
//!
//! Canonical: keys sorted by bytes, no spaces, numbers in decimal, what JSON need not escape is not escaped; nothing is
//! added and nothing left out, since a key that is written overrides also where it says the default. Owns: both ways.
//! Does not own: what keys mean. Limits: nesting of serde_json (128); a key that stands twice is an error. Linear.

use core::fmt;
use core::fmt::Write as _;
use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::tree::{Entries, Entry, Item, PART_BASE, Tree};

/// Reads an object.
pub(crate) fn parse(text: &str) -> Result<Entries<'_>, String> {
    match serde_json::from_str::<Node<'_>>(text).map_err(|error| error.to_string())?.0 {
        Tree::Table(entries) => Ok(entries),
        _ => Err("it is another value".into()),
    }
}

/// A value in canonical form.
pub(crate) fn text(tree: &Tree<'_>) -> String {
    let mut out = String::with_capacity(256);
    write_tree(&mut out, tree);
    out
}

/// Writes an object in canonical form.
pub(crate) fn write(entries: &Entries<'_>, bytes_expected: usize) -> String {
    let mut out = String::with_capacity(bytes_expected);
    write_table(&mut out, entries);
    out
}

struct Node<'d>(Tree<'d>);

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Word<'d>(Cow<'d, str>);

impl<'de> Deserialize<'de> for Word<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(WordReader).map(Self)
    }
}

struct WordReader;

impl<'de> Visitor<'de> for WordReader {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.into()))
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree<'de>, E> {
        Ok(Tree::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree<'de>, E> {
        Ok(Tree::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree<'de>, E> {
        Ok(i64::try_from(value).map_or_else(
            |_| Tree::OddInteger { value: None, shown: value.to_string(), is_decimal: true },
            Tree::Integer,
        ))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree<'de>, E> {
        // Debug keeps the point: 1.0 stays a number with a fraction.
        Ok(Tree::Float(Cow::Owned(format!("{value:?}"))))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(Cow::Owned(text.into())))
    }

    fn visit_unit<E>(self) -> Result<Tree<'de>, E> {
        Ok(Tree::Other("null"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(Node(tree)) = access.next_element()? {
            items.push(Item { at: PART_BASE, tree });
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree<'de>, A::Error> {
        let mut entries: Vec<Entry<'de>> = Vec::with_capacity(6);
        while let Some((Word(key), Node(tree))) = access.next_entry()? {
            entries.push(Entry { key, at: PART_BASE, item: Item { at: PART_BASE, tree } });
        }
        if !entries.is_sorted_by(|a, b| a.key <= b.key) {
            entries.sort_by(|a, b| a.key.cmp(&b.key));
        }
        let twice = entries.iter().zip(entries.iter().skip(1)).find(|(a, b)| a.key == b.key);
        if let Some((twice, _)) = twice {
            return Err(A::Error::custom(format_args!("the key `{}` stands twice", twice.key)));
        }
        Ok(Tree::Table(Entries(entries)))
    }
}

fn write_table(out: &mut String, entries: &Entries<'_>) {
    out.push('{');
    let write_entry = |out: &mut String, index: usize, entry: &Entry<'_>| {
        if index > 0 {
            out.push(',');
        }
        write_text(out, &entry.key);
        out.push(':');
        write_tree(out, &entry.item.tree);
    };
    if entries.0.is_sorted_by(|a, b| a.key <= b.key) {
        entries.0.iter().enumerate().for_each(|(index, entry)| write_entry(out, index, entry));
    } else {
        let mut sorted: Vec<&Entry<'_>> = entries.0.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        sorted.iter().enumerate().for_each(|(index, entry)| write_entry(out, index, entry));
    }
    out.push('}');
}

fn write_tree(out: &mut String, tree: &Tree<'_>) {
    match tree {
        Tree::Text(text) => write_text(out, text),
        Tree::Integer(value) | Tree::OddInteger { value: Some(value), .. } => {
            let _ = write!(out, "{value}");
        }
        Tree::OddInteger { shown, .. } => out.push_str(shown),
        Tree::Float(text) => out.push_str(text),
        Tree::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
        Tree::Other(_) => out.push_str("null"),
        Tree::Table(entries) => write_table(out, entries),
        Tree::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_tree(out, &item.tree);
            }
            out.push(']');
        }
    }
}

/// A string with its quotes.
pub(crate) fn write_text(out: &mut String, text: &str) {
    out.push('"');
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push_str(text);
    } else {
        for character in text.chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                control if control < ' ' => {
                    let _ = write!(out, "\\u{:04x}", u32::from(control));
                }
                other => out.push(other),
            }
        }
    }
    out.push('"');
}
