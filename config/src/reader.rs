//! One table of a TOML document, read key by key.
//!
//! Each accessor names its key with default, range and sentence. It returns the value of the highest layer that
//! has one, or the default after noting an error, so that one pass finds every mistake; it also notes the
//! key for the reference. What the document holds beyond the keys asked for is unknown, hence an error.

use core::cell::RefCell;
use std::borrow::Cow;
use std::rc::Rc;

use toml::de::DeTable;

pub(crate) use crate::units::{Unit, Value};

use crate::error::{ConfigError, ConfigErrors, Place, Problem};
use crate::layers::{Layers, VARIABLES};
use crate::reference::KeyDoc;

mod expand;
pub(crate) mod json;
pub(crate) mod tree;
mod unknown;
mod value;

use tree::{Entries, Item, PART_BASE, Tree};
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
    root: Root<'d>,
    errors: RefCell<Vec<ConfigError>>,
    docs: RefCell<Vec<KeyDoc>>,
    leftovers: RefCell<Vec<Leftover>>,
    /// True while the reference is made: arrays of tables get one pretended entry.
    documenting: bool,
    /// Where it begins.
    at: usize,
    /// Whether `$` stands for itself.
    is_literal: bool,
    /// Names the places beyond [`PART_BASE`]; without it no such place is there.
    name_part: Option<&'d dyn Fn(usize) -> String>,
}

impl<'d> Document<'d> {
    pub(crate) fn new(layers: &'d Layers, root: Option<&'d DeTable<'d>>, documenting: bool) -> Self {
        Self {
            layers,
            root: root.map_or(Root::Absent, |root| Root::Own(Entries::of_toml(root))),
            errors: RefCell::default(),
            docs: RefCell::default(),
            leftovers: RefCell::default(),
            documenting,
            at: 0,
            is_literal: false,
            name_part: None,
        }
    }

    /// A document that was not read from TOML alone, whose top is at `at`; `name_part` names places from [`PART_BASE`]
    /// on.
    pub(crate) fn of_tree(
        layers: &'d Layers,
        root: &'d Entries<'d>,
        at: usize,
        name_part: &'d dyn Fn(usize) -> String,
    ) -> Self {
        Self { root: Root::Lent(root), at, name_part: Some(name_part), ..Self::new(layers, None, false) }
    }

    /// With no `${NAME}` in values.
    #[must_use]
    pub(crate) fn literal(self) -> Self {
        Self { is_literal: true, ..self }
    }

    /// The top of the document.
    pub(crate) fn top(&'d self) -> Table<'d> {
        Table {
            document: self,
            path: Rc::from(""),
            name: Rc::from(""),
            entries: match &self.root {
                Root::Absent => None,
                Root::Own(entries) => Some(entries),
                Root::Lent(entries) => Some(entries),
            },
            at: self.at,
            asked: Vec::new(),
            is_listed: false,
            is_noting: true,
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
        if let (Some(part), Some(name)) = (offset.checked_sub(PART_BASE), self.name_part) {
            return Place::Part(name(part));
        }
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

/// The top of a document.
enum Root<'d> {
    Absent,
    Own(Entries<'d>),
    Lent(&'d Entries<'d>),
}

/// A value as found in some layer.
enum Raw<'d> {
    /// Text of the environment or the command line: its type is what the key wants.
    Text(&'d str),
    /// A value of the file.
    Tree(&'d Tree<'d>),
}

/// One table under reading.
pub(crate) struct Table<'d> {
    document: &'d Document<'d>,
    /// Dotted: `http.upstream`; empty at the top.
    path: Rc<str>,
    /// As the documentation writes it: `[[backends]]`.
    name: Rc<str>,
    entries: Option<&'d Entries<'d>>,
    /// Where its header is, in bytes.
    at: usize,
    asked: Vec<&'static str>,
    /// Whether it is an entry of an array, or below one: nothing overrides its keys.
    is_listed: bool,
    /// Whether its keys are noted for the documentation; those of the first entry of an array stand for all.
    is_noting: bool,
}

impl<'d> Table<'d> {
    // Structure.

    /// Reads the table `key` below this one.
    pub(crate) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.asked.push(key);
        let path = self.dotted(key);
        let found = self.entries.and_then(|entries| entries.entry(key));
        let (entries, at) = match found {
            Some(entry) => match &entry.item.tree {
                Tree::Table(table) => (Some(table), entry.at),
                other => {
                    let problem =
                        Problem::WrongType { expected: format!("a table [{path}]"), found: show(other) };
                    self.document.error(self.document.place(entry.at), &path, problem);
                    (None, entry.at)
                }
            },
            None => (None, self.at),
        };
        let mut table = Table {
            document: self.document,
            name: format!("[{path}]").into(),
            path: path.into(),
            entries,
            at,
            asked: Vec::new(),
            is_listed: self.is_listed,
            is_noting: self.is_noting,
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
        let name: Rc<str> = format!("[[{path}]]").into();
        let path: Rc<str> = path.into();
        let items = self.items(key, count_max, &path, &name);
        let pretended = (items.is_empty() && self.document.documenting).then_some((self.at, None));
        let items = items.iter().map(|item| (item.at, Some(&item.tree))).chain(pretended);
        let mut result = Vec::with_capacity(items.size_hint().0);
        for (index, (at, tree)) in items.enumerate() {
            let entries = match tree {
                Some(Tree::Table(table)) => Some(table),
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
                path: Rc::clone(&path),
                name: Rc::clone(&name),
                entries,
                at,
                asked: Vec::with_capacity(16),
                is_listed: true,
                is_noting: self.is_noting && index == 0,
            };
            result.push(read(&mut table));
            table.finish();
        }
        result
    }

    /// The entries of an array of tables, at most `count_max`.
    fn items(&self, key: &str, count_max: usize, path: &str, name: &str) -> &'d [Item<'d>] {
        let Some(entry) = self.entries.and_then(|entries| entries.entry(key)) else { return &[] };
        let place = || self.document.place(entry.at);
        let Tree::List(items) = &entry.item.tree else {
            let expected = format!("an array of tables {name}");
            let problem = Problem::WrongType { expected, found: show(&entry.item.tree) };
            self.document.error(place(), path, problem);
            return &[];
        };
        if items.len() > count_max {
            let value = format!("{} entries", items.len());
            let problem = Problem::OutOfRange { value, allowed: format!("at most {count_max}") };
            self.document.error(place(), name, problem);
        }
        items.get(..count_max).unwrap_or(items)
    }

    /// Hands what was not asked for to the document.
    fn finish(self) {
        self.document.leave(&self.name, &self.asked, self.entries);
    }

    /// Ends the top table.
    pub(crate) fn end(self) {
        self.finish();
    }

    /// Where the table's header is, for [`Self::conflict_on`].
    pub(crate) fn line(&self) -> Option<usize> {
        self.entries.map(|_| self.at)
    }

    /// What stands in the table.
    pub(crate) const fn entries(&self) -> Option<&'d Entries<'d>> {
        self.entries
    }

    /// The entries of the list `key` as they stand, at most `count_max`.
    pub(crate) fn elements(
        &mut self,
        key: &'static str,
        count_max: usize,
        text: &'static str,
    ) -> &'d [Item<'d>] {
        self.note(key, "list", "", text, || ("[]".into(), format!("at most {count_max} tables")));
        let (path, name) = (self.dotted(key), self.named(key));
        self.items(key, count_max, &path, &name)
    }

    /// Notes a problem with an element of [`Self::elements`].
    pub(crate) fn element_problem(&self, element: &Item<'_>, key: &str, problem: Problem) {
        self.document.error(self.document.place(element.at), key, problem);
    }

    /// Whether this is a configuration that resources of a policy were put into.
    pub(crate) const fn is_composed(&self) -> bool {
        self.document.name_part.is_some()
    }

    /// Whether a layer above the defaults has `key`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.overridden(key).is_some() || self.entries.is_some_and(|entries| entries.get(key).is_some())
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

    /// Notes that an entry of `key` that begins at `line` does not fit the rest.
    pub(crate) fn conflict_on(&self, line: Option<usize>, key: &str, why: &str) {
        let Some(line) = line else { return self.conflict(key, why) };
        self.document.error(self.document.place(line), &self.named(key), Problem::Conflict(why.into()));
    }

    /// Notes a problem with `key`, at the place its value came from.
    pub(crate) fn problem(&self, key: &str, problem: Problem) {
        let place = match self.overridden(key) {
            Some((place, _)) => place,
            None => match self.entries.and_then(|entries| entries.get(key)) {
                Some(value) => self.document.place(value.at),
                None if self.entries.is_some() => self.document.place(self.at),
                None => Place::Whole,
            },
        };
        self.document.error(place, &self.named(key), problem);
    }

    // Layers.

    fn raw(&self, key: &str) -> Option<Raw<'d>> {
        if let Some((_, value)) = self.overridden(key) {
            return Some(Raw::Text(value));
        }
        Some(Raw::Tree(&self.entries?.get(key)?.tree))
    }

    fn overridden(&self, key: &str) -> Option<(Place, &'d str)> {
        if self.is_listed { None } else { self.document.overridden(&self.dotted(key)) }
    }

    fn read_text(&self, key: &str, expected: &str) -> Option<Cow<'d, str>> {
        match self.raw(key)? {
            Raw::Text(text) => Some(text.into()),
            Raw::Tree(Tree::Text(text)) => self.expanded(key, text),
            Raw::Tree(Tree::Integer(number)) => Some(number.to_string().into()),
            Raw::Tree(Tree::OddInteger { shown, is_decimal: true, .. }) => Some(shown.into()),
            other => self.wrong_type(key, expected, &other),
        }
    }

    fn read_texts(&self, key: &str, count_max: usize) -> Option<Vec<Cow<'d, str>>> {
        let texts: Vec<Cow<'d, str>> = match self.raw(key)? {
            Raw::Text(text) => {
                text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(Into::into).collect()
            }
            Raw::Tree(Tree::List(items)) => {
                let mut texts = Vec::with_capacity(items.len().min(count_max));
                for item in items.iter().take(count_max.saturating_add(1)) {
                    match &item.tree {
                        Tree::Text(text) => texts.push(self.expanded(key, text)?),
                        Tree::Integer(number) => texts.push(number.to_string().into()),
                        Tree::OddInteger { shown, is_decimal: true, .. } => texts.push(shown.into()),
                        other => return self.wrong_type(key, "a list of strings", &Raw::Tree(other)),
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

    fn expanded(&self, key: &str, text: &'d str) -> Option<Cow<'d, str>> {
        if self.document.is_literal {
            return Some(Cow::Borrowed(text));
        }
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
            Raw::Tree(value) => show(value),
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

    /// Notes that `key` is asked for; `doc` gives its default and what is allowed.
    fn note(
        &mut self,
        key: &'static str,
        kind: &'static str,
        unit: &'static str,
        text: &'static str,
        doc: impl FnOnce() -> (String, String),
    ) {
        self.asked.push(key);
        if !self.is_noting {
            return;
        }
        let mut docs = self.document.docs.borrow_mut();
        if !docs.iter().any(|doc| doc.key == key && doc.table == self.name.as_ref()) {
            let (default, allowed) = doc();
            docs.push(KeyDoc { table: self.name.as_ref().into(), key, kind, default, allowed, unit, text });
        }
    }
}

/// A value for messages: its type, and itself where it is short.
fn show(value: &Tree<'_>) -> String {
    match value {
        Tree::Text(text) if text.len() <= 64 => format!("\"{text}\""),
        Tree::Text(_) => "a string".into(),
        Tree::Integer(number) => number.to_string(),
        Tree::OddInteger { shown, .. } => shown.clone(),
        Tree::Float(number) => number.to_string(),
        Tree::Boolean(value) => value.to_string(),
        Tree::List(_) => "a list".into(),
        Tree::Table(_) => "a table".into(),
        Tree::Other(kind) => format!("a {kind}"),
    }
}
