//! The `Cookie` field: names and values.
//!
//! Owns: splitting at `;` and at the first `=`, and removing white space around both. Values are not decoded (format
//! 0 of `SecCookieFormat`, the only one that browsers send); a rule decodes them.
//!
//! As ModSecurity v3, but for two things that would hide bytes from rules: a cookie without a name (`=value`, which
//! browsers send) is kept, and white space before `=` is no part of the name.
//!
//! Cost: one look for `;` and one for `=` per cookie; nothing is copied.
//! Sources: RFC 6265 §4.2.1, §5.2; ModSecurity reference manual, `REQUEST_COOKIES`.
use memchr::memchr;

use super::{BodyError, Event, Sink, emit, trimmed};

/// Hands over every cookie of one field as [`Event::Cookie`].
///
/// # Errors
/// When the sink stops it.
pub fn parse(field: &[u8], sink: &mut Sink<'_>) -> Result<(), BodyError> {
    let mut at = 0;
    while at < field.len() {
        let rest = &field[at..];
        let cookie = &rest[..memchr(b';', rest).unwrap_or(rest.len())];
        let (name, value) = match memchr(b'=', cookie) {
            Some(index) => (trimmed(&cookie[..index]), trimmed(&cookie[index + 1..])),
            None => (trimmed(cookie), &[][..]),
        };
        if !name.is_empty() || !value.is_empty() {
            emit(sink, at, Event::Cookie { name, value })?;
        }
        at += cookie.len() + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;

    fn read(field: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        parse(field.as_bytes(), &mut |event| {
            let Event::Cookie { name, value } = event else {
                panic!("{event:?}");
            };
            found.push((String::from_utf8_lossy(name).into(), String::from_utf8_lossy(value).into()));
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }

    #[test]
    fn cookies_are_split_and_trimmed_but_not_decoded() {
        let expected = [("a", "1"), ("b", "x=y"), ("c", "%41+"), ("flag", ""), ("d", "\"q\"")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read("a=1; b=x=y;c = %41+;;  flag ; ; d=\"q\"  "), expected);
    }

    #[test]
    fn a_value_without_a_name_is_kept() {
        assert_eq!(
            read("=<script>; = ; = = "),
            [(String::new(), "<script>".to_owned()), (String::new(), "=".to_owned())]
        );
        assert!(read(" ;; ").is_empty());
    }
}
