//! Keys that nobody asked for, and the key that was probably meant.

use std::rc::Rc;

use super::Document;
use super::tree::{Entries, Tree};
use crate::error::{Place, Problem};

/// A key that was not asked for.
pub(super) struct Leftover {
    /// As the documentation writes its table.
    table: Rc<str>,
    key: String,
    at: usize,
    is_table: bool,
    /// What the table does know.
    known: Vec<&'static str>,
}

/// The word of `known` that `text` is nearest to, if it is near at all: at most a third of it differs.
pub(crate) fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|word| (strsim::damerau_levenshtein(&text.to_lowercase(), &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance * 3 <= word.len().max(text.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Longest key that is compared with others: comparing is quadratic in the length.
const KEY_BYTES_COMPARED_MAX: usize = 64;

impl Document<'_> {
    /// Takes note of what a table holds beyond `asked`.
    pub(super) fn leave(&self, table: &Rc<str>, asked: &[&'static str], entries: Option<&Entries<'_>>) {
        let Some(entries) = entries else { return };
        for entry in &entries.0 {
            let name = entry.key.as_ref();
            if asked.contains(&name) {
                continue;
            }
            let is_table = match &entry.item.tree {
                Tree::Table(_) => true,
                Tree::List(items) => items.iter().any(|item| item.tree.is_table()),
                _ => false,
            };
            self.leftovers.borrow_mut().push(Leftover {
                table: Rc::clone(table),
                key: name.into(),
                at: entry.at,
                is_table,
                known: asked.to_vec(),
            });
        }
    }

    /// Turns leftovers, and overrides of keys that do not exist, into errors.
    pub(super) fn report_unknown(&self) {
        for leftover in self.leftovers.borrow().iter() {
            let key = match leftover.table.as_ref() {
                "" if leftover.is_table => format!("[{}]", leftover.key),
                "" => leftover.key.clone(),
                table => format!("{table} {}", leftover.key),
            };
            let suggestion = self.suggestion(leftover);
            self.error(self.place(leftover.at), &key, Problem::UnknownKey { suggestion });
        }
        let docs = self.docs.borrow();
        let dotted: Vec<String> = docs
            .iter()
            .filter(|doc| !doc.table.starts_with("[["))
            .map(|doc| format!("{}.{}", doc.table.trim_matches(['[', ']']), doc.key))
            .collect();
        for over in &self.layers.command_line {
            if !dotted.contains(&over.key) {
                let short = over.key.get(..KEY_BYTES_COMPARED_MAX).unwrap_or(&over.key);
                let near = nearest(short, dotted.iter().map(String::as_str));
                let suggestion = near.map(|key| format!("did you mean `{key}`?"));
                let place = Place::CommandLine(over.option.clone());
                self.error(place, &over.key, Problem::UnknownKey { suggestion });
            }
        }
    }

    fn suggestion(&self, leftover: &Leftover) -> Option<String> {
        if leftover.key.len() > KEY_BYTES_COMPARED_MAX {
            return None;
        }
        if let Some(near) = nearest(&leftover.key, leftover.known.iter().copied()) {
            return Some(if leftover.is_table && leftover.table.is_empty() {
                format!("did you mean `[{near}]`?")
            } else {
                format!("did you mean `{near}`?")
            });
        }
        let docs = self.docs.borrow();
        let elsewhere = docs.iter().find(|doc| doc.key == leftover.key)?;
        Some(format!("`{}` belongs to {}", elsewhere.key, elsewhere.table))
    }
}
