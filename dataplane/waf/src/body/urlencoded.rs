//! Queries and forms: `application/x-www-form-urlencoded`.
//!
//! Owns: splitting at a separator and at the first `=`, percent- and plus-decoding. Does not own: what is a query;
//! the caller cuts it out of the target.
//!
//! As ModSecurity v3 reads them: a parameter without `=` is a name with an empty value, an empty name is kept, a
//! percent sign that no two digits follow stays as it is and is reported. Nothing at all between two separators is
//! no parameter. `%uHHHH` is not decoded (a rule may, with `urlDecodeUni`) and is reported.
//!
//! Cost: one look for the separator, one for `=`, one for what needs decoding; a value without any is not copied.
//! Sources: WHATWG URL, "application/x-www-form-urlencoded parsing"; ModSecurity reference manual,
//! `URLENCODED_ERROR`.
use memchr::{memchr, memchr2};

use super::{BodyError, Event, Scratch, Sink, emit, hex};

/// What was noticed besides the parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `URLENCODED_ERROR`: a percent sign that no two hexadecimal digits follow.
    pub is_encoding_invalid: bool,
}

/// Hands over every parameter of a query or form as [`Event::Argument`].
///
/// `separator` is what `SecArgumentSeparator` says, `&` by default. `report` is also right when an error is returned.
///
/// # Errors
/// When the sink stops it.
pub fn parse(
    input: &[u8],
    separator: u8,
    scratch: &mut Scratch,
    report: &mut Report,
    sink: &mut Sink<'_>,
) -> Result<(), BodyError> {
    *report = Report::default();
    let is_encoded = memchr2(b'%', b'+', input).is_some();
    let mut at = 0;
    let mut rest = input;
    loop {
        let (parameter, next) = split(rest, separator);
        if !parameter.is_empty() {
            let (name, value) = split(parameter, b'=');
            let value = value.unwrap_or_default();
            let event = if is_encoded {
                let name = decoded(name, &mut scratch.name, report);
                Event::Argument { name, value: decoded(value, &mut scratch.value, report) }
            } else {
                Event::Argument { name, value }
            };
            emit(sink, at, event)?;
        }
        let Some(next) = next else {
            return Ok(());
        };
        at += parameter.len() + 1;
        rest = next;
    }
}

/// Before and after the first `byte`.
fn split(input: &[u8], byte: u8) -> (&[u8], Option<&[u8]>) {
    match memchr(byte, input) {
        Some(index) => (&input[..index], Some(&input[index + 1..])),
        None => (input, None),
    }
}

/// The input itself when nothing in it is encoded, else its decoded form in `scratch`.
fn decoded<'a>(input: &'a [u8], scratch: &'a mut Vec<u8>, report: &mut Report) -> &'a [u8] {
    let Some(first) = memchr2(b'%', b'+', input) else {
        return input;
    };
    scratch.clear();
    scratch.reserve(input.len());
    scratch.extend_from_slice(&input[..first]);
    let mut rest = &input[first..];
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (*byte, tail) {
            (b'+', _) => scratch.push(b' '),
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    scratch.push(high << 4 | low);
                    rest = tail;
                }
                _ => {
                    report.is_encoding_invalid = true;
                    scratch.push(b'%');
                }
            },
            (b'%', _) => {
                report.is_encoding_invalid = true;
                scratch.push(b'%');
            }
            (byte, _) => scratch.push(byte),
        }
    }
    scratch
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;

    /// Name and value of every parameter, and whether the encoding is valid.
    fn read(input: &str) -> (Vec<(String, String)>, bool) {
        let mut found = Vec::new();
        let mut report = Report::default();
        parse(input.as_bytes(), b'&', &mut Scratch::default(), &mut report, &mut |event| {
            let Event::Argument { name, value } = event else {
                panic!("{event:?}");
            };
            found.push((String::from_utf8_lossy(name).into(), String::from_utf8_lossy(value).into()));
            ControlFlow::Continue(())
        })
        .unwrap();
        (found, !report.is_encoding_invalid)
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn parameters_are_split_and_decoded() {
        assert_eq!(
            read("a=1&b+c=%41%2b%26&d=x=y"),
            (pairs(&[("a", "1"), ("b c", "A+&"), ("d", "x=y")]), true)
        );
    }

    #[test]
    fn names_without_values_and_values_without_names_are_kept() {
        assert_eq!(
            read("a&=b&c=&=&&&%3d"),
            (pairs(&[("a", ""), ("", "b"), ("c", ""), ("", ""), ("=", "")]), true)
        );
        assert_eq!(read(""), (vec![], true));
        assert_eq!(read("&&"), (vec![], true));
    }

    #[test]
    fn invalid_encoding_stays_and_is_reported() {
        for input in ["%", "%2", "a%zz", "%u0041", "%2%41"] {
            assert!(!read(input).1, "{input}");
        }
        assert_eq!(read("a=%&%4=%4g%41"), (pairs(&[("a", "%"), ("%4", "%4gA")]), false));
        assert_eq!(read("a=%%41"), (pairs(&[("a", "%A")]), false));
    }

    #[test]
    fn another_separator_may_be_set() {
        let mut names = Vec::new();
        let mut report = Report::default();
        parse(b"a=1;b&c=2", b';', &mut Scratch::default(), &mut report, &mut |event| {
            names.push(format!("{event:?}"));
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn the_sink_stops_it_and_the_error_says_where() {
        let mut count = 0;
        let error = parse(b"a&b&c&d", b'&', &mut Scratch::default(), &mut Report::default(), &mut |_| {
            count += 1;
            if count == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap_err();
        assert_eq!((count, error.at, error.message), (3, 4, super::super::LIMIT_REACHED));
    }
}
