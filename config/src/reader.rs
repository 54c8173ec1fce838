//! One table of a TOML document, read key by key.
//!
//! Each accessor names its key with default, range and sentence. It returns the value of the highest layer that
//! has one, or the default after noting an error, so that one pass finds every mistake; it also notes the
//! key for the reference. What the document holds beyond the keys asked for is unknown, hence an error.

use core::cell::RefCell;
use core::ops::RangeInclusive;
use core::time::Duration;

use toml::de::{DeTable, DeValue};

pub(crate) use crate::units::{Unit, Value};

use crate::error::{ConfigError, ConfigErrors, Place, Problem};
use crate::layers::{Layers, VARIABLES};
use crate::reference::KeyDoc;
use crate::secret::{Secret, weakness};
use crate::units::{format_duration, parse_duration};

mod expand;
mod unknown;

use unknown::Leftover;

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
            Place::Whole => (3, 0),
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

    // Values.

    /// True or false.
    pub(crate) fn boolean(&mut self, key: &'static str, default: bool, text: &'static str) -> bool {
        self.note(key, "boolean", default.to_string(), "true or false".into(), "", text);
        self.read_boolean(key).unwrap_or(default)
    }

    /// True, false or absent.
    pub(crate) fn boolean_optional(&mut self, key: &'static str, text: &'static str) -> Option<bool> {
        self.note(key, "boolean", String::new(), "true or false".into(), "", text);
        self.read_boolean(key)
    }

    fn read_boolean(&self, key: &str) -> Option<bool> {
        match self.raw(key)? {
            Raw::Toml(DeValue::Boolean(value)) => Some(*value),
            Raw::Text("true" | "1" | "yes" | "on") => Some(true),
            Raw::Text("false" | "0" | "no" | "off") => Some(false),
            other => self.wrong_type(key, "true or false", &other),
        }
    }

    /// A whole number inside `range`.
    pub(crate) fn integer<T: TryFrom<i64> + Copy>(
        &mut self,
        key: &'static str,
        default: i64,
        range: RangeInclusive<i64>,
        unit: &'static str,
        text: &'static str,
    ) -> T
    where
        <T as TryFrom<i64>>::Error: core::fmt::Debug,
    {
        self.note(
            key,
            "integer",
            default.to_string(),
            format!("{} to {}", range.start(), range.end()),
            unit,
            text,
        );
        let value = self.read_integer(key, &range, unit).unwrap_or(default);
        // The range of each key lies inside its type; the test of the reference reads every default.
        T::try_from(value).or_else(|_| T::try_from(default)).expect("the default fits the type of its key")
    }

    /// A whole number up to `max` where 0 means that there is no limit.
    pub(crate) fn limit(
        &mut self,
        key: &'static str,
        default: u32,
        max: u32,
        unit: &'static str,
        text: &'static str,
    ) -> Option<u32> {
        let value: u32 = self.integer(key, default.into(), 0..=max.into(), unit, text);
        (value > 0).then_some(value)
    }

    fn read_integer(&self, key: &str, range: &RangeInclusive<i64>, unit: &str) -> Option<i64> {
        let value = match self.raw(key)? {
            Raw::Toml(DeValue::Integer(number)) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            Raw::Text(text) => match text.parse::<i64>() {
                Ok(value) => Some(value),
                Err(_) => return self.wrong_type(key, "a whole number", &Raw::Text(text)),
            },
            other => return self.wrong_type(key, "a whole number", &other),
        };
        match value {
            Some(value) if range.contains(&value) => Some(value),
            value => {
                let allowed = format!("{} to {} {unit}", range.start(), range.end());
                let value = value.map_or_else(|| "a number beyond 64 bits".into(), |value| value.to_string());
                self.problem(key, Problem::OutOfRange { value, allowed: allowed.trim().into() });
                None
            }
        }
    }

    /// A number with a fraction inside `range`.
    pub(crate) fn number(
        &mut self,
        key: &'static str,
        default: f64,
        range: RangeInclusive<f64>,
        unit: &'static str,
        text: &'static str,
    ) -> f64 {
        let allowed = format!("{} to {}", range.start(), range.end());
        self.note(key, "number", default.to_string(), allowed.clone(), unit, text);
        let value = match self.raw(key) {
            None => return default,
            Some(Raw::Toml(DeValue::Float(number))) => number.as_str().replace('_', "").parse::<f64>(),
            Some(Raw::Toml(DeValue::Integer(number))) => number.as_str().parse(),
            Some(Raw::Text(text)) => text.parse(),
            Some(other) => return self.wrong_type(key, "a number", &other).unwrap_or(default),
        };
        match value {
            Ok(value) if range.contains(&value) => value,
            Ok(value) => {
                let allowed = format!("{allowed} {unit}").trim().to_owned();
                self.problem(key, Problem::OutOfRange { value: value.to_string(), allowed });
                default
            }
            Err(_) => {
                self.invalid(key, "", "is not a number");
                default
            }
        }
    }

    /// A number from 0 to 1.
    pub(crate) fn fraction(&mut self, key: &'static str, default: f64, text: &'static str) -> f64 {
        self.number(key, default, 0.0..=1.0, "", text)
    }

    /// A duration inside `range`: a number of `unit`, or a string such as `"1h 30m"`.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
        unit: Unit,
        text: &'static str,
    ) -> Duration {
        self.note_duration(key, Some(default), &range, unit, text);
        self.read_duration(key, &range, unit).unwrap_or(default)
    }

    /// A duration or nothing.
    pub(crate) fn duration_optional(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        unit: Unit,
        text: &'static str,
    ) -> Option<Duration> {
        self.note_duration(key, None, &range, unit, text);
        self.read_duration(key, &range, unit)
    }

    fn note_duration(
        &mut self,
        key: &'static str,
        default: Option<Duration>,
        range: &RangeInclusive<Duration>,
        unit: Unit,
        text: &'static str,
    ) {
        let allowed = format!("{} to {}", format_duration(*range.start()), format_duration(*range.end()));
        self.note(
            key,
            "duration",
            default.map(format_duration).unwrap_or_default(),
            allowed,
            unit.name(),
            text,
        );
    }

    fn read_duration(&self, key: &str, range: &RangeInclusive<Duration>, unit: Unit) -> Option<Duration> {
        let expected = "a duration: a number, or a string such as \"5s\"";
        let (shown, parsed) = match self.raw(key)? {
            Raw::Toml(DeValue::Integer(number)) => {
                let count = u64::from_str_radix(number.as_str(), number.radix());
                (
                    number.to_string(),
                    count.map(|count| unit.times(count)).map_err(|_| "is not a duration".into()),
                )
            }
            Raw::Toml(DeValue::String(text)) => {
                let text = self.expanded(key, text)?;
                let parsed = parse_duration(&text, unit);
                (text, parsed)
            }
            Raw::Text(text) => (text.into(), parse_duration(text, unit)),
            other => return self.wrong_type(key, expected, &other),
        };
        match parsed {
            Ok(value) if range.contains(&value) => Some(value),
            Ok(_) => {
                let allowed = format!(
                    "{} to {} (a bare number is {})",
                    format_duration(*range.start()),
                    format_duration(*range.end()),
                    unit.name()
                );
                self.problem(key, Problem::OutOfRange { value: shown, allowed });
                None
            }
            Err(reason) => {
                self.problem(key, Problem::Invalid { value: shown, reason });
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn choice<C: Choice>(&mut self, key: &'static str, default: C, text: &'static str) -> C {
        self.note(key, "string", format!("\"{}\"", default.word()), C::words(), "", text);
        self.read_choice(key).unwrap_or(default)
    }

    /// One of a few words, or nothing.
    pub(crate) fn choice_optional<C: Choice>(&mut self, key: &'static str, text: &'static str) -> Option<C> {
        self.note(key, "string", String::new(), C::words(), "", text);
        self.read_choice(key)
    }

    fn read_choice<C: Choice>(&self, key: &str) -> Option<C> {
        let text = self.read_text(key, "a string")?;
        self.word(key, &text)
    }

    /// Some of a few words, at least one.
    pub(crate) fn choices<C: Choice>(
        &mut self,
        key: &'static str,
        default: &[C],
        text: &'static str,
    ) -> Vec<C> {
        let shown = default.iter().map(|c| format!("\"{}\"", c.word())).collect::<Vec<_>>().join(", ");
        self.note(key, "list of strings", format!("[{shown}]"), C::words(), "", text);
        let Some(words) = self.read_texts(key, C::ALL.len()) else {
            return default.to_vec();
        };
        if words.is_empty() {
            self.invalid(key, "[]", "is empty; name at least one");
            return default.to_vec();
        }
        words.iter().filter_map(|word| self.word(key, word)).collect()
    }

    fn word<C: Choice>(&self, key: &str, text: &str) -> Option<C> {
        let found = C::ALL.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let near = unknown::nearest(text, C::ALL.iter().map(|(word, _)| *word));
            let near = near.map(|word| format!("; did you mean \"{word}\"?")).unwrap_or_default();
            self.invalid(key, text, &format!("must be one of {}{near}", C::words()));
        }
        found
    }

    /// A string.
    pub(crate) fn text(&mut self, key: &'static str, default: &'static str, text: &'static str) -> String {
        self.value(key, default, text)
    }

    /// A string or nothing; an empty one is refused.
    pub(crate) fn text_optional(&mut self, key: &'static str, text: &'static str) -> Option<String> {
        let value: String = self.value_optional(key, text)?;
        if value.is_empty() {
            self.invalid(key, "", "is empty");
            return None;
        }
        Some(value)
    }

    /// A value with a shape of its own.
    pub(crate) fn value<V: Value>(
        &mut self,
        key: &'static str,
        default: &'static str,
        text: &'static str,
    ) -> V {
        self.note(key, "string", format!("\"{default}\""), V::EXPECTED.into(), "", text);
        self.read_value(key).unwrap_or_else(|| V::parse(default).expect("the default of a key is valid"))
    }

    /// A value with a shape of its own, or nothing.
    pub(crate) fn value_optional<V: Value>(&mut self, key: &'static str, text: &'static str) -> Option<V> {
        self.note(key, "string", String::new(), V::EXPECTED.into(), "", text);
        self.read_value(key)
    }

    /// A value that has no default; `placeholder` stands in after the mistake was noted.
    pub(crate) fn required<V: Value>(
        &mut self,
        key: &'static str,
        placeholder: &'static str,
        text: &'static str,
    ) -> V {
        self.note(key, "string", "required".into(), V::EXPECTED.into(), "", text);
        if !self.has(key) {
            self.problem(key, Problem::Missing(V::EXPECTED.into()));
        }
        self.read_value(key)
            .unwrap_or_else(|| V::parse(placeholder).expect("the placeholder of a key is valid"))
    }

    fn read_value<V: Value>(&self, key: &str) -> Option<V> {
        let text = self.read_text(key, V::EXPECTED)?;
        self.parsed(key, &text)
    }

    fn parsed<V: Value>(&self, key: &str, text: &str) -> Option<V> {
        V::parse(text).map_err(|reason| self.invalid(key, text, &reason)).ok()
    }

    /// A list of values, at most `count_max`.
    pub(crate) fn list<V: Value>(
        &mut self,
        key: &'static str,
        default: &'static [&'static str],
        count_max: usize,
        text: &'static str,
    ) -> Vec<V> {
        let allowed = format!("at most {count_max}, each {}", V::EXPECTED);
        self.note(key, "list", format!("[{}]", default.join(", ")), allowed, "", text);
        match self.read_texts(key, count_max) {
            Some(texts) => texts.iter().filter_map(|text| self.parsed(key, text)).collect(),
            None => default.iter().filter_map(|text| self.parsed(key, text)).collect(),
        }
    }

    /// A secret or nothing; a weak one is refused and none is ever shown.
    pub(crate) fn secret(&mut self, key: &'static str, text: &'static str) -> Option<Secret> {
        self.note(key, "secret", String::new(), "at least 16 characters, made at random".into(), "", text);
        let value = match self.raw(key)? {
            Raw::Text(text) => text.into(),
            Raw::Toml(DeValue::String(text)) => self.expanded(key, text)?,
            Raw::Toml(_) => {
                self.problem(key, Problem::Secret("must be a string".into()));
                return None;
            }
        };
        if let Some(reason) = weakness(&value) {
            self.problem(key, Problem::Secret(reason));
            return None;
        }
        Some(Secret::new(value))
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
