//! One table of a TOML document, read key by key.
//!
//! Each accessor names its key with default, range and sentence. It returns the value of the highest layer that
//! has one, or the default after noting an error, so that one pass finds every mistake; it also notes the
//! key for the reference. What the document holds beyond the keys asked for is unknown, hence an error.

use core::cell::RefCell;

use toml::de::{DeTable, DeValue};

pub(crate) use crate::units::{Unit, Value};

use crate::error::{ConfigError, ConfigErrors, Place, Problem};
use crate::layers::{Layers, VARIABLES};
use crate::reference::KeyDoc;

mod expand;
pub(crate) mod tree;
mod unknown;
mod value;

use unknown::Leftover;
pub(crate) use unknown::nearest;

/// An enumeration that is written as one of a few words.
pub(crate) trait Choice: Copy + PartialEq + 'static {
    /// Word and value, in the order of the documentation.
    const ALL: &'static [(&'static str, Self)];

    /// The word.
    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }

    /// All words, for messages.
    fn words() -> String {
        Self::ALL.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
    }
}

/// A document under reading: its layers, and what was found so far.
pub(crate) struct Document<'d> {
    layers: &'d Layers,
    root: Option<&'d DeTable<'d>>,
    errors: RefCell<Vec<ConfigError>>,
    docs: RefCell<Vec<KeyDoc>>,
    leftovers: RefCell<Vec<Leftover>>,
    /// True while the reference is made: arrays of tables get one pretended entry.
    documenting: bool,
}

impl<'d> Document<'d> {
    pub(crate) fn new(layers: &'d Layers, root: Option<&'d DeTable<'d>>, documenting: bool) -> Self {
        Self {
            layers,
            root,
            errors: RefCell::default(),
            docs: RefCell::default(),
            leftovers: RefCell::default(),
            documenting,
        }
    }

    /// The top of the document.
    pub(crate) fn top(&'d self) -> Table<'d> {
        Table {
            document: self,
            path: String::new(),
            name: String::new(),
            entries: self.root,
            at: 0,
            asked: Vec::new(),
        }
    }

    /// Notes a mistake.
    pub(crate) fn error(&self, place: Place, key: &str, problem: Problem) {
        self.errors.borrow_mut().push(ConfigError { place, key: key.into(), problem });
    }

    /// Ends the reading: the keys that were asked for, and all mistakes.
    pub(crate) fn finish(self) -> (Vec<KeyDoc>, Result<(), ConfigErrors>) {
        self.report_unknown();
        let mut errors = self.errors.into_inner();
        errors.sort_by_key(|error| match &error.place {
            Place::File { line, .. } => (0, *line),
            Place::Environment(_) => (1, 0),
            Place::CommandLine(_) => (2, 0),
            Place::Part(_) => (3, 0),
            Place::Whole => (4, 0),
        });
        let result = if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) };
        (self.docs.into_inner(), result)
    }

    /// The line of the file that byte `offset` is on.
    fn line(&self, offset: usize) -> u32 {
        let text = self.layers.file.as_ref().map_or("", |(_, text)| text.as_str());
        let upto = text.as_bytes().get(..offset.min(text.len())).unwrap_or_default();
        1 + u32::try_from(upto.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u32::MAX - 1)
    }

    /// The place of byte `offset` of the file.
    fn place(&self, offset: usize) -> Place {
        match &self.layers.file {
            Some((name, _)) => Place::File { name: name.clone(), line: self.line(offset) },
            None => Place::Whole,
        }
    }

    /// The override of a dotted key and where it comes from.
    fn overridden(&self, key: &str) -> Option<(Place, &'d str)> {
        if let Some(over) = self.layers.command_line.iter().rev().find(|over| over.key == key) {
            return Some((Place::CommandLine(over.option.clone()), &over.value));
        }
        let (name, _) = VARIABLES.iter().find(|(_, of)| *of == key)?;
        let value = self.layers.environment.get(*name)?;
        Some((Place::Environment((*name).into()), value))
    }
}

/// A value as found in some layer.
enum Raw<'d> {
    /// Text of the environment or the command line: its type is what the key wants.
    Text(&'d str),
    /// A value of the file.
    Toml(&'d DeValue<'d>),
}

/// One table under reading.
pub(crate) struct Table<'d> {
    document: &'d Document<'d>,
    /// Dotted, with indexes: `backends[1]`; empty at the top.
    path: String,
    /// As the documentation writes it: `[[backends]]`.
    name: String,
    entries: Option<&'d DeTable<'d>>,
    /// Where its header is, in bytes.
    at: usize,
    asked: Vec<&'static str>,
}

impl<'d> Table<'d> {
    // Structure.

    /// Reads the table `key` below this one.
    pub(crate) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.asked.push(key);
        let path = self.dotted(key);
        let found = self.entries.and_then(|entries| entries.get_key_value(key));
        let (entries, at) = match found {
            Some((name, value)) => match value.get_ref() {
                DeValue::Table(table) => (Some(table), name.span().start),
                other => {
                    let problem =
                        Problem::WrongType { expected: format!("a table [{path}]"), found: show(other) };
                    self.document.error(self.document.place(name.span().start), &path, problem);
                    (None, name.span().start)
                }
            },
            None => (None, self.at),
        };
        let mut table = Table {
            document: self.document,
            name: format!("[{path}]"),
            path,
            entries,
            at,
            asked: Vec::new(),
        };
        let value = read(&mut table);
        table.finish();
        value
    }

    /// Reads the array of tables `key`, at most `count_max` of them.
    pub(crate) fn tables<T>(
        &mut self,
        key: &'static str,
        count_max: usize,
        mut read: impl FnMut(&mut Self) -> T,
    ) -> Vec<T> {
        self.asked.push(key);
        let path = self.dotted(key);
        let name = format!("[[{path}]]");
        let mut items = Vec::new();
        if let Some((at, value)) = self.entries.and_then(|entries| entries.get_key_value(key)) {
            let place = self.document.place(at.span().start);
            let DeValue::Array(array) = value.get_ref() else {
                let problem = Problem::WrongType {
                    expected: format!("an array of tables {name}"),
                    found: show(value.get_ref()),
                };
                self.document.error(place, &path, problem);
                return Vec::new();
            };
            if array.len() > count_max {
                let problem = Problem::OutOfRange {
                    value: format!("{} entries", array.len()),
                    allowed: format!("at most {count_max}"),
                };
                self.document.error(place, &name, problem);
            }
            for value in array.iter().take(count_max) {
                items.push((value.span().start, Some(value.get_ref())));
            }
        }
        if items.is_empty() && self.document.documenting {
            items.push((0, None));
        }
        let mut result = Vec::with_capacity(items.len());
        for (index, (at, value)) in items.into_iter().enumerate() {
            let entries = match value {
                Some(DeValue::Table(table)) => Some(table),
                Some(other) => {
                    let problem =
                        Problem::WrongType { expected: format!("a table {name}"), found: show(other) };
                    self.document.error(self.document.place(at), &name, problem);
                    continue;
                }
                None => None,
            };
            let mut table = Table {
                document: self.document,
                path: format!("{path}[{index}]"),
                name: name.clone(),
                entries,
                at,
                asked: Vec::new(),
            };
            result.push(read(&mut table));
            table.finish();
        }
        result
    }

    /// Hands what was not asked for to the document.
    fn finish(self) {
        self.document.leave(self.name, self.asked, self.entries);
    }

    /// Ends the top table.
    pub(crate) fn end(self) {
        self.finish();
    }

    /// The line of the table's header.
    pub(crate) fn line(&self) -> Option<u32> {
        self.entries.map(|_| self.document.line(self.at))
    }

    /// Whether a layer above the defaults has `key`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.document.overridden(&self.dotted(key)).is_some()
            || self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    // Mistakes found by the caller.

    /// Notes that `key` has a wrong value.
    pub(crate) fn invalid(&self, key: &str, value: &str, reason: &str) {
        self.problem(key, Problem::Invalid { value: value.into(), reason: reason.into() });
    }

    /// Notes that `key` does not fit another one.
    pub(crate) fn conflict(&self, key: &str, why: &str) {
        self.problem(key, Problem::Conflict(why.into()));
    }

    /// Notes that an entry of `key` that begins on `line` does not fit the rest.
    pub(crate) fn conflict_on(&self, line: Option<u32>, key: &str, why: &str) {
        let (Some(line), Some((name, _))) = (line, &self.document.layers.file) else {
            return self.conflict(key, why);
        };
        let place = Place::File { name: name.clone(), line };
        self.document.error(place, &self.named(key), Problem::Conflict(why.into()));
    }

    /// Notes a problem with `key`, at the place its value came from.
    pub(crate) fn problem(&self, key: &str, problem: Problem) {
        let place = match self.document.overridden(&self.dotted(key)) {
            Some((place, _)) => place,
            None => match self.entries.and_then(|entries| entries.get(key)) {
                Some(value) => self.document.place(value.span().start),
                None if self.entries.is_some() => self.document.place(self.at),
                None => Place::Whole,
            },
        };
        self.document.error(place, &self.named(key), problem);
    }

    // Layers.

    fn raw(&self, key: &str) -> Option<Raw<'d>> {
        if let Some((_, value)) = self.document.overridden(&self.dotted(key)) {
            return Some(Raw::Text(value));
        }
        Some(Raw::Toml(self.entries?.get(key)?.get_ref()))
    }

    fn read_text(&self, key: &str, expected: &str) -> Option<String> {
        match self.raw(key)? {
            Raw::Text(text) => Some(text.into()),
            Raw::Toml(DeValue::String(text)) => self.expanded(key, text),
            Raw::Toml(DeValue::Integer(number)) if number.radix() == 10 => Some(number.to_string()),
            other => self.wrong_type(key, expected, &other),
        }
    }

    fn read_texts(&self, key: &str, count_max: usize) -> Option<Vec<String>> {
        let texts: Vec<String> = match self.raw(key)? {
            Raw::Text(text) => {
                text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(Into::into).collect()
            }
            Raw::Toml(DeValue::Array(array)) => {
                let mut texts = Vec::with_capacity(array.len().min(count_max));
                for value in array.iter().take(count_max.saturating_add(1)) {
                    match value.get_ref() {
                        DeValue::String(text) => texts.push(self.expanded(key, text)?),
                        DeValue::Integer(number) if number.radix() == 10 => texts.push(number.to_string()),
                        other => return self.wrong_type(key, "a list of strings", &Raw::Toml(other)),
                    }
                }
                texts
            }
            other => return self.wrong_type(key, "a list", &other),
        };
        if texts.len() > count_max {
            let value = format!("a list of {} and more", count_max + 1);
            self.problem(key, Problem::OutOfRange { value, allowed: format!("at most {count_max} entries") });
            return None;
        }
        Some(texts)
    }

    fn expanded(&self, key: &str, text: &str) -> Option<String> {
        match expand::expand(text, &self.document.layers.environment) {
            Ok(text) => Some(text),
            Err(expand::Failure::Missing(name)) => {
                self.problem(key, Problem::MissingVariable(name));
                None
            }
            Err(expand::Failure::Unclosed) => {
                self.problem(
                    key,
                    Problem::Invalid {
                        value: text.into(),
                        reason: "has a `${` without `}`; write `$$` for a dollar sign".into(),
                    },
                );
                None
            }
        }
    }

    fn wrong_type<T>(&self, key: &str, expected: &str, found: &Raw<'_>) -> Option<T> {
        let found = match found {
            Raw::Text(text) => format!("`{text}`"),
            Raw::Toml(value) => show(value),
        };
        self.problem(key, Problem::WrongType { expected: expected.into(), found });
        None
    }

    // Names.

    fn dotted(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }

    fn named(&self, key: &str) -> String {
        if self.name.is_empty() { key.into() } else { format!("{} {key}", self.name) }
    }

    fn note(
        &mut self,
        key: &'static str,
        kind: &'static str,
        default: String,
        allowed: String,
        unit: &'static str,
        text: &'static str,
    ) {
        self.asked.push(key);
        let mut docs = self.document.docs.borrow_mut();
        if !docs.iter().any(|doc| doc.table == self.name && doc.key == key) {
            docs.push(KeyDoc { table: self.name.clone(), key, kind, default, allowed, unit, text });
        }
    }
}

/// A value for messages: its type, and itself where it is short.
fn show(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.len() <= 64 => format!("\"{text}\""),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Array(_) => "a list".into(),
        other => format!("a {}", other.type_str()),
    }
}
