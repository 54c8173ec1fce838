//! The accessors of a table, one per kind of value.
//!
//! Each notes its key for the reference, reads the highest layer that has it, and answers a mistake with an error in
//! the document and the default as value.

use core::ops::RangeInclusive;
use core::time::Duration;
use std::borrow::Cow;

use super::tree::Tree;
use super::{Choice, Raw, Table, Unit, Value, unknown};
use crate::error::Problem;
use crate::secret::{Secret, weakness};
use crate::units::{format_duration, parse_duration};

impl Table<'_> {
    /// True or false.
    pub(crate) fn boolean(&mut self, key: &'static str, default: bool, text: &'static str) -> bool {
        self.note(key, "boolean", "", text, || (default.to_string(), "true or false".into()));
        self.read_boolean(key).unwrap_or(default)
    }

    /// True, false or absent.
    pub(crate) fn boolean_optional(&mut self, key: &'static str, text: &'static str) -> Option<bool> {
        self.note(key, "boolean", "", text, || (String::new(), "true or false".into()));
        self.read_boolean(key)
    }

    fn read_boolean(&self, key: &str) -> Option<bool> {
        match self.raw(key)? {
            Raw::Tree(Tree::Boolean(value)) => Some(*value),
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
        self.note(key, "integer", unit, text, || {
            (default.to_string(), format!("{} to {}", range.start(), range.end()))
        });
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

    /// A whole number beyond 32 bits, up to `max`, where 0 means that there is no limit.
    pub(crate) fn limit_wide(
        &mut self,
        key: &'static str,
        default: i64,
        max: i64,
        unit: &'static str,
        text: &'static str,
    ) -> Option<u64> {
        let value: u64 = self.integer(key, default, 0..=max, unit, text);
        (value > 0).then_some(value)
    }

    fn read_integer(&self, key: &str, range: &RangeInclusive<i64>, unit: &str) -> Option<i64> {
        let value = match self.raw(key)? {
            Raw::Tree(Tree::Integer(value)) => Some(*value),
            Raw::Tree(Tree::OddInteger { value, .. }) => *value,
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
        self.note(key, "number", unit, text, || (default.to_string(), allowed.clone()));
        let value = match self.raw(key) {
            None => return default,
            Some(Raw::Tree(Tree::Float(number))) => number.replace('_', "").parse::<f64>(),
            Some(Raw::Tree(Tree::Integer(number))) => number.to_string().parse(),
            Some(Raw::Tree(Tree::OddInteger { shown, .. })) => shown.parse(),
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

    /// A duration up to `max` where 0 means that there is none.
    pub(crate) fn duration_limit(
        &mut self,
        key: &'static str,
        default: Duration,
        max: Duration,
        unit: Unit,
        text: &'static str,
    ) -> Option<Duration> {
        let value = self.duration(key, default, Duration::ZERO..=max, unit, text);
        (value > Duration::ZERO).then_some(value)
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
        self.note(key, "duration", unit.name(), text, || {
            let allowed = format!("{} to {}", format_duration(*range.start()), format_duration(*range.end()));
            (default.map(format_duration).unwrap_or_default(), allowed)
        });
    }

    fn read_duration(&self, key: &str, range: &RangeInclusive<Duration>, unit: Unit) -> Option<Duration> {
        let expected = "a duration: a number, or a string such as \"5s\"";
        let (shown, parsed) = match self.raw(key)? {
            Raw::Tree(tree @ (Tree::Integer(_) | Tree::OddInteger { .. })) => {
                let count = tree.integer().and_then(|value| u64::try_from(value).ok());
                let parsed = count.map(|count| unit.times(count)).ok_or_else(|| "is not a duration".into());
                (Cow::Owned(super::show(tree)), parsed)
            }
            Raw::Tree(Tree::Text(text)) => {
                let text = self.expanded(key, text)?;
                let parsed = parse_duration(&text, unit);
                (text, parsed)
            }
            Raw::Text(text) => (Cow::Borrowed(text), parse_duration(text, unit)),
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
                self.problem(key, Problem::OutOfRange { value: shown.into_owned(), allowed });
                None
            }
            Err(reason) => {
                self.problem(key, Problem::Invalid { value: shown.into_owned(), reason });
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn choice<C: Choice>(&mut self, key: &'static str, default: C, text: &'static str) -> C {
        self.note(key, "string", "", text, || (format!("\"{}\"", default.word()), C::words()));
        self.read_choice(key).unwrap_or(default)
    }

    /// One of a few words, or nothing.
    pub(crate) fn choice_optional<C: Choice>(&mut self, key: &'static str, text: &'static str) -> Option<C> {
        self.note(key, "string", "", text, || (String::new(), C::words()));
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
        self.note(key, "list of strings", "", text, || {
            let shown = default.iter().map(|c| format!("\"{}\"", c.word())).collect::<Vec<_>>().join(", ");
            (format!("[{shown}]"), C::words())
        });
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
        self.note(key, "string", "", text, || (format!("\"{default}\""), V::EXPECTED.into()));
        self.read_value(key).unwrap_or_else(|| V::parse(default).expect("the default of a key is valid"))
    }

    /// A value with a shape of its own, or nothing.
    pub(crate) fn value_optional<V: Value>(&mut self, key: &'static str, text: &'static str) -> Option<V> {
        self.note(key, "string", "", text, || (String::new(), V::EXPECTED.into()));
        self.read_value(key)
    }

    /// A value with a shape of its own where the empty string means that there is none.
    pub(crate) fn value_or_off<V: Value>(
        &mut self,
        key: &'static str,
        default: &'static str,
        text: &'static str,
    ) -> Option<V> {
        self.note(key, "string", "", text, || (format!("\"{default}\""), V::EXPECTED.into()));
        match self.raw(key) {
            None => V::parse(default).ok(),
            Some(Raw::Text("")) => None,
            Some(Raw::Tree(Tree::Text(text))) if text.is_empty() => None,
            Some(_) => self.read_value(key),
        }
    }

    /// A value that has no default; `placeholder` stands in after the mistake was noted.
    pub(crate) fn required<V: Value>(
        &mut self,
        key: &'static str,
        placeholder: &'static str,
        text: &'static str,
    ) -> V {
        self.note(key, "string", "", text, || ("required".into(), V::EXPECTED.into()));
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
        self.note(key, "list", "", text, || {
            (format!("[{}]", default.join(", ")), format!("at most {count_max}, each {}", V::EXPECTED))
        });
        match self.read_texts(key, count_max) {
            Some(texts) => texts.iter().filter_map(|text| self.parsed(key, text)).collect(),
            None => default.iter().filter_map(|text| self.parsed(key, text)).collect(),
        }
    }

    /// A secret or nothing; a weak one is refused and none is ever shown.
    pub(crate) fn secret(&mut self, key: &'static str, text: &'static str) -> Option<Secret> {
        self.note(key, "secret", "", text, || {
            (String::new(), "at least 16 characters, made at random".into())
        });
        let value = match self.raw(key)? {
            Raw::Text(text) => text.into(),
            Raw::Tree(Tree::Text(text)) => self.expanded(key, text)?.into_owned(),
            Raw::Tree(_) => {
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
}
