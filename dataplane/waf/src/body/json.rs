//! JSON flattened into arguments.
//!
//! Owns: a strict reader of RFC 8259 and the names of what it finds. Does not own: a tree; nothing is kept but the
//! path to the current value.
//!
//! Names are those of ModSecurity v3, which rules and exclusions are written for: `json`, then `.key` for a member
//! and `.array_N` for an element. `{"a":[1,{"b":2}]}` gives `json.a.array_0` and `json.a.array_1.b`. A value: a
//! string decoded, a number as written, `true`, `false`, and nothing for `null` (as ModSecurity and Coraza). An
//! empty object or array that is a member or an element gives its name with an empty value, so that rules see every
//! key. Of duplicate keys, both come.
//!
//! Errors: all that RFC 8259 does not allow, a byte order mark, a lone surrogate (origins read it in different
//! ways), too deep, a name too long. Bytes that are not UTF-8 are handed over as they are, and the error comes at
//! the end. An empty body is no error.
//!
//! Cost: one pass, plus one over the bytes for UTF-8; strings without escapes are not copied.
use memchr::memchr2;

use super::{BodyError, Event, Scratch, Sink, emit, hex};

/// Longest name, bytes: a path grows with each level and comes with each value, so a short body could make many long
/// names. Real paths have a few hundred.
pub const NAME_BYTES_MAX: usize = 8 << 10;
/// Deepest nesting whatever `SecRequestBodyJsonDepthLimit` says: 16 bytes of memory per level.
pub const DEPTH_MAX: usize = 10_000;

/// An object or an array that is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// Length of its own name.
    name_len: u32,
    /// Elements or members so far.
    count: u32,
    is_object: bool,
}

/// Hands over every value as [`Event::Argument`].
///
/// `depth_max` is what `SecRequestBodyJsonDepthLimit` says: how many objects and arrays may be open.
///
/// # Errors
/// When it is not JSON, with what is wrong and where; when the sink stops it.
pub fn parse(
    body: &[u8],
    depth_max: usize,
    scratch: &mut Scratch,
    sink: &mut Sink<'_>,
) -> Result<(), BodyError> {
    if body.is_empty() {
        return Ok(());
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err(BodyError::new("JSON: byte order mark", 0));
    }
    let Scratch { name, value, levels, .. } = scratch;
    name.clear();
    name.extend_from_slice(b"json");
    levels.clear();
    let depth_max = depth_max.min(DEPTH_MAX);
    Reader { body, at: 0, depth_max, name, text: value, levels }.document(sink)?;
    match std::str::from_utf8(body) {
        Ok(_) => Ok(()),
        Err(error) => Err(BodyError::new("JSON: not UTF-8", error.valid_up_to())),
    }
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    depth_max: usize,
    /// Path to the current value.
    name: &'a mut Vec<u8>,
    /// A string with escapes, decoded.
    text: &'a mut Vec<u8>,
    levels: &'a mut Vec<Level>,
}

/// What follows a value or an opening.
enum Next {
    Value,
    Close,
}

impl Reader<'_> {
    /// One value with white space around it, and nothing else.
    fn document(&mut self, sink: &mut Sink<'_>) -> Result<(), BodyError> {
        self.skip_space();
        let mut is_open = self.value(sink)?;
        // Here a value has ended, or an object or array has just been opened.
        while !self.levels.is_empty() {
            match self.next(is_open)? {
                Next::Close => {
                    self.close(sink)?;
                    is_open = false;
                }
                Next::Value => is_open = self.value(sink)?,
            }
        }
        self.skip_space();
        if self.at == self.body.len() { Ok(()) } else { Err(self.error("JSON: bytes after the value")) }
    }

    /// Reads up to the next value of the innermost object or array and puts its name together.
    fn next(&mut self, is_open: bool) -> Result<Next, BodyError> {
        let Some(level) = self.levels.last() else {
            return Ok(Next::Close);
        };
        let Level { name_len, count, is_object } = *level;
        self.name.truncate(name_len as usize);
        self.skip_space();
        let close = if is_object { b'}' } else { b']' };
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                return Ok(Next::Close);
            }
            Some(b',') if !is_open => {
                self.at += 1;
                self.skip_space();
            }
            Some(_) if is_open => {}
            Some(_) => return Err(self.error("JSON: comma or end expected")),
            None => return Err(self.error("JSON: ends early")),
        }
        if let Some(level) = self.levels.last_mut() {
            level.count = count.saturating_add(1);
        }
        if is_object {
            self.key()?;
        } else {
            self.name.extend_from_slice(b".array_");
            push_decimal(self.name, count);
            self.check_name()?;
        }
        Ok(Next::Value)
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<(), BodyError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("JSON: key expected"));
        }
        self.name.push(b'.');
        let text = string(self.body, &mut self.at, self.text)?;
        self.name.extend_from_slice(text);
        self.check_name()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.error("JSON: colon expected"));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn check_name(&self) -> Result<(), BodyError> {
        if self.name.len() <= NAME_BYTES_MAX { Ok(()) } else { Err(self.error("JSON: name too long")) }
    }

    /// Reads a value, or opens an object or array: then true.
    fn value(&mut self, sink: &mut Sink<'_>) -> Result<bool, BodyError> {
        let start = self.at;
        let value = match self.peek() {
            Some(byte @ (b'{' | b'[')) => {
                if self.levels.len() >= self.depth_max {
                    return Err(self.error("JSON: too deep"));
                }
                self.at += 1;
                let name_len = u32::try_from(self.name.len()).unwrap_or(u32::MAX);
                self.levels.push(Level { name_len, count: 0, is_object: byte == b'{' });
                return Ok(true);
            }
            Some(b'"') => string(self.body, &mut self.at, self.text)?,
            Some(b'-' | b'0'..=b'9') => number(self.body, &mut self.at)?,
            Some(b't') => self.word(b"true")?,
            Some(b'f') => self.word(b"false")?,
            Some(b'n') => {
                self.word(b"null")?;
                &[]
            }
            Some(_) => return Err(self.error("JSON: value expected")),
            None => return Err(self.error("JSON: ends early")),
        };
        emit(sink, start, Event::Argument { name: self.name, value })?;
        Ok(false)
    }

    /// Leaves the innermost object or array.
    fn close(&mut self, sink: &mut Sink<'_>) -> Result<(), BodyError> {
        let Some(level) = self.levels.pop() else {
            return Ok(());
        };
        self.name.truncate(level.name_len as usize);
        if level.count == 0 && !self.levels.is_empty() {
            emit(sink, self.at, Event::Argument { name: self.name, value: &[] })?;
        }
        Ok(())
    }

    fn word(&mut self, word: &'static [u8]) -> Result<&'static [u8], BodyError> {
        if !self.body[self.at..].starts_with(word) {
            return Err(self.error("JSON: value expected"));
        }
        self.at += word.len();
        Ok(word)
    }

    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    const fn error(&self, message: &'static str) -> BodyError {
        BodyError::new(message, self.at)
    }
}

/// A string whose opening quote is at `at`: what is between the quotes when nothing is escaped, else its decoded
/// form.
fn string<'b>(body: &'b [u8], at: &mut usize, text: &'b mut Vec<u8>) -> Result<&'b [u8], BodyError> {
    *at += 1;
    let start = *at;
    let mut is_plain = true;
    text.clear();
    loop {
        let rest = &body[*at..];
        let Some(len) = memchr2(b'"', b'\\', rest) else {
            return Err(BodyError::new("JSON: string without end", start));
        };
        let run = &rest[..len];
        if let Some(index) = control(run) {
            return Err(BodyError::new("JSON: control character in a string", *at + index));
        }
        *at += len;
        if rest[len] == b'"' {
            let end = *at;
            *at += 1;
            if is_plain {
                return Ok(&body[start..end]);
            }
            text.extend_from_slice(run);
            return Ok(text);
        }
        is_plain = false;
        text.extend_from_slice(run);
        escape(body, at, text)?;
    }
}

/// The first byte below a space. Looks at all bytes of eight at once, which the compiler turns into vector code.
fn control(run: &[u8]) -> Option<usize> {
    let has_any = run.chunks(32).any(|chunk| chunk.iter().fold(false, |found, byte| found | (*byte < b' ')));
    if has_any { run.iter().position(|byte| *byte < b' ') } else { None }
}

/// An escape whose backslash is at `at`.
fn escape(body: &[u8], at: &mut usize, text: &mut Vec<u8>) -> Result<(), BodyError> {
    let start = *at;
    let byte = match body.get(start + 1).copied() {
        Some(byte @ (b'"' | b'\\' | b'/')) => byte,
        Some(b'b') => 0x08,
        Some(b'f') => 0x0c,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'u') => return unicode(body, at, text),
        _ => return Err(BodyError::new("JSON: escape not valid", start)),
    };
    text.push(byte);
    *at += 2;
    Ok(())
}

/// `\uHHHH`, or two of them that are a surrogate pair, whose first backslash is at `at`.
fn unicode(body: &[u8], at: &mut usize, text: &mut Vec<u8>) -> Result<(), BodyError> {
    let start = *at;
    let wrong = BodyError::new("JSON: escape not valid", start);
    let lone = BodyError::new("JSON: lone surrogate", start);
    let first = unit(body, start).ok_or(wrong)?;
    *at += 6;
    let code = match first {
        0xd800..=0xdbff => {
            let second = unit(body, *at).filter(|unit| (0xdc00..=0xdfff).contains(unit)).ok_or(lone)?;
            *at += 6;
            0x1_0000 + ((first - 0xd800) << 10 | (second - 0xdc00))
        }
        code => code,
    };
    let character = char::from_u32(code).ok_or(lone)?;
    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(())
}

/// The code unit of the `\uHHHH` at `at`.
fn unit(body: &[u8], at: usize) -> Option<u32> {
    let [b'\\', b'u', digits @ ..] = body.get(at..at + 6)? else {
        return None;
    };
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | u32::from(hex(*digit)?)))
}

/// A number at `at`, as written.
fn number<'b>(body: &'b [u8], at: &mut usize) -> Result<&'b [u8], BodyError> {
    let start = *at;
    let wrong = BodyError::new("JSON: number not valid", start);
    let digits = |at: &mut usize| {
        let first = *at;
        while body.get(*at).is_some_and(u8::is_ascii_digit) {
            *at += 1;
        }
        *at - first
    };
    if body.get(*at) == Some(&b'-') {
        *at += 1;
    }
    let has_leading_zero = body.get(*at) == Some(&b'0');
    let whole = digits(at);
    if whole == 0 || (has_leading_zero && whole > 1) {
        return Err(wrong);
    }
    if body.get(*at) == Some(&b'.') {
        *at += 1;
        if digits(at) == 0 {
            return Err(wrong);
        }
    }
    if let Some(b'e' | b'E') = body.get(*at) {
        *at += 1;
        if let Some(b'+' | b'-') = body.get(*at) {
            *at += 1;
        }
        if digits(at) == 0 {
            return Err(wrong);
        }
    }
    Ok(&body[start..*at])
}

/// Appends a number in decimal.
fn push_decimal(name: &mut Vec<u8>, mut number: u32) {
    let mut digits = [0; 10];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    name.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;

    fn read(body: &[u8], depth_max: usize) -> (Vec<String>, Result<(), BodyError>) {
        let mut found = Vec::new();
        let result = parse(body, depth_max, &mut Scratch::default(), &mut |event| {
            let Event::Argument { name, value } = event else {
                panic!("{event:?}");
            };
            found.push(format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
            ControlFlow::Continue(())
        });
        (found, result)
    }

    fn good(body: &str) -> Vec<String> {
        let (found, result) = read(body.as_bytes(), 100);
        assert_eq!(result, Ok(()), "{body}");
        found
    }

    #[test]
    fn names_are_paths() {
        assert_eq!(
            good(r#" {"a":{"b":"x","c":[1,[true,null],{"d":false}]},"e":-0.5e+3} "#),
            [
                "json.a.b=x",
                "json.a.c.array_0=1",
                "json.a.c.array_1.array_0=true",
                "json.a.c.array_1.array_1=",
                "json.a.c.array_2.d=false",
                "json.e=-0.5e+3",
            ]
        );
        assert_eq!(good("[1,2]"), ["json.array_0=1", "json.array_1=2"]);
        assert_eq!(good("\"x\""), ["json=x"]);
        assert_eq!(good(r#"{"":1,"a":1,"a":2}"#), ["json.=1", "json.a=1", "json.a=2"]);
    }

    #[test]
    fn keys_of_empty_values_are_seen() {
        assert_eq!(good(r#"{"a":{},"b":[],"c":[{}]}"#), ["json.a=", "json.b=", "json.c.array_0="]);
        assert!(good("{}").is_empty() && good(" [ ] ").is_empty() && good("").is_empty());
    }

    #[test]
    fn strings_are_decoded() {
        assert_eq!(
            good(r#"["\"\\\/\b\f\n\r\t","\u003cscript\u003E","\ud83d\ude00","\u0000"]"#),
            [
                "json.array_0=\"\\/\u{8}\u{c}\n\r\t",
                "json.array_1=<script>",
                "json.array_2=\u{1f600}",
                "json.array_3=\0",
            ]
        );
        assert_eq!(good(r#"{"\u0061b":1}"#), ["json.ab=1"]);
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        let cases: [(&str, &str, usize); 22] = [
            ("a", "JSON: value expected", 0),
            (" ", "JSON: ends early", 1),
            ("{\"a\":1,}", "JSON: key expected", 7),
            ("[1,]", "JSON: value expected", 3),
            ("[,1]", "JSON: value expected", 1),
            ("{,}", "JSON: key expected", 1),
            ("[1 2]", "JSON: comma or end expected", 3),
            ("[1}", "JSON: comma or end expected", 2),
            ("{\"a\" 1}", "JSON: colon expected", 5),
            ("{'a':1}", "JSON: key expected", 1),
            ("{} {}", "JSON: bytes after the value", 3),
            ("[01]", "JSON: number not valid", 1),
            ("[1.]", "JSON: number not valid", 1),
            ("[-]", "JSON: number not valid", 1),
            ("[1e]", "JSON: number not valid", 1),
            ("[\"a", "JSON: string without end", 2),
            ("[\"a\tb\"]", "JSON: control character in a string", 3),
            ("[\"\\x41\"]", "JSON: escape not valid", 2),
            ("[\"\\u00g0\"]", "JSON: escape not valid", 2),
            ("[\"\\ud800\"]", "JSON: lone surrogate", 2),
            ("[\"\\udc00\"]", "JSON: lone surrogate", 2),
            ("\u{feff}{}", "JSON: byte order mark", 0),
        ];
        for (body, message, at) in cases {
            assert_eq!(read(body.as_bytes(), 100).1, Err(BodyError { message, at }), "{body}");
        }
        for body in ["nul", "[1", "{\"a\":", "/**/1", "NaN", "+1", "[\"\\ud800\\u0041\"]", "tru e", "1\0"] {
            assert!(read(body.as_bytes(), 100).1.is_err(), "{body}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let body = br#"{"1":{"2":{"3":{"4":{"5":"x"}}}}}"#;
        assert_eq!(read(body, 5), (vec!["json.1.2.3.4.5=x".to_owned()], Ok(())));
        assert_eq!(read(body, 4).1.unwrap_err().message, "JSON: too deep");
        let deep = "[".repeat(100_000);
        assert_eq!(read(deep.as_bytes(), usize::MAX).1.unwrap_err().message, "JSON: name too long");
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_seen_and_refused() {
        let (found, result) = read(b"[\"\xc0\xbc\",\"after\"]", 5);
        assert_eq!((found.len(), found[1].as_str()), (2, "json.array_1=after"));
        assert_eq!(result, Err(BodyError { message: "JSON: not UTF-8", at: 2 }));
    }
}
