//! `@restpath /orders/{id}/items/{item}`: the value is a path of this form; what stands in place of the names goes to
//! `ARGS_PATH`.
//!
//! As in Coraza, the argument is a regular expression in which `{name}` is `(?P<name>.*)`: it may match in the
//! middle of the value, and a name may take a `/`.

use std::{fmt::Write as _, ops::Range};

use regex_automata::{Input, meta, util::primitives::NonMaxUsize};

use super::{Call, OperatorError, verify};

/// Most names of a path.
const NAMES_MAX: usize = 16;

/// The compiled word.
#[derive(Clone, Debug)]
pub struct RestPath {
    regex: meta::Regex,
    /// The names, in the order of their groups.
    names: Vec<(usize, String)>,
}

impl RestPath {
    pub(super) fn compile(call: &Call<'_>) -> Result<Self, OperatorError> {
        let mut pattern = String::new();
        let mut rest = call.text()?;
        if rest.is_empty() {
            return Err(call.wrong("no path is given"));
        }
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, behind)) = after.split_once('}').filter(|(name, _)| !name.is_empty()) else {
                return Err(call.wrong("a { has no name and }"));
            };
            // Writing to a text never fails.
            let _ = write!(pattern, "{before}(?P<{name}>.*)");
            rest = behind;
        }
        pattern.push_str(rest);
        let regex = verify::compiled(call, &pattern)?;
        if regex.captures_len() > NAMES_MAX + 1 {
            return Err(call.wrong(format!("more than {NAMES_MAX} names or groups")));
        }
        let groups = regex.group_info().pattern_names(regex_automata::PatternID::ZERO).enumerate();
        let names = groups.filter_map(|(group, name)| Some((group, name?.to_owned()))).collect();
        Ok(Self { regex, names })
    }

    pub(super) fn matches(&self, value: &[u8]) -> bool {
        self.regex.is_match(value)
    }

    pub(super) fn arguments(&self, value: &[u8], give: &mut dyn FnMut(&str, Range<usize>)) {
        let mut slots: [Option<NonMaxUsize>; 2 * (NAMES_MAX + 1)] = [None; 2 * (NAMES_MAX + 1)];
        // No more slots than the expression has: on long values the engine would reach past its table.
        let Some(slots) = slots.get_mut(..2 * self.regex.captures_len()) else {
            return;
        };
        if self.regex.search_slots(&Input::new(value), slots).is_none() {
            return;
        }
        for (group, name) in &self.names {
            if let (Some(Some(start)), Some(Some(end))) = (slots.get(group * 2), slots.get(group * 2 + 1)) {
                give(name, start.get()..end.get());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{Word, tests_support::call};

    #[test]
    fn names_take_what_stands_in_their_place() {
        let path = RestPath::compile(&call(Word::RestPath, "/orders/{id}/items/{item}")).unwrap();
        let value = b"/orders/12/items/blue/x";
        assert!(path.matches(value));
        let mut arguments = Vec::new();
        path.arguments(value, &mut |name, range| {
            arguments.push((name.to_owned(), String::from_utf8_lossy(&value[range]).into_owned()));
        });
        let expected =
            [("id", "12"), ("item", "blue/x")].map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(arguments, expected);
        assert!(!path.matches(b"/orders/12"));
        path.arguments(b"/orders/12", &mut |name, _| panic!("{name}"));
    }

    #[test]
    fn wrong_paths_are_refused() {
        let many = "/{a}".repeat(2);
        let wide: String = (0..20).map(|n| format!("/{{n{n}}}")).collect();
        for argument in ["", "/{", "/{}", "/{a b}", many.as_str(), wide.as_str(), "/("] {
            assert!(RestPath::compile(&call(Word::RestPath, argument)).is_err(), "{argument}");
        }
    }
}
