//! Reads the text of Coraza's transformation vectors.
//!
//! They write bytes in three ways: as JSON; as a literal `\u0000` for NUL; and, in a text with a literal `\x`, as a
//! string literal of Go. A text that is no such literal would be empty to Coraza's own reader, and the vector would
//! compare nothing with nothing. Here its input is then taken as written and only `\xHH` of its output is read: what
//! its author meant.

/// Input and output of a vector as bytes.
pub(crate) fn vector(input: &str, output: &str) -> (Vec<u8>, Vec<u8>) {
    let nul = |text: &str| text.replace("\\u0000", "\0");
    let (input, output) = (nul(input), nul(output));
    let read = |text: &str| if text.contains("\\x") { unquote(text) } else { Some(text.as_bytes().to_vec()) };
    match (read(&input), read(&output)) {
        (Some(input), Some(output)) => (input, output),
        _ => (input.into_bytes(), hex_only(output.as_bytes())),
    }
}

/// The bytes of a string literal of Go, given without its quotes (Go specification, "String literals").
fn unquote(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if matches!(first, b'"' | b'\n') {
            return None;
        }
        if first != b'\\' {
            out.push(first);
            rest = after;
            continue;
        }
        let (&kind, after) = after.split_first()?;
        let (digits, base) = match kind {
            b'x' => (after.get(..2)?, 16),
            b'0'..=b'7' => (rest.get(1..4)?, 8),
            _ => {
                let index = b"abfnrtv\\\"".iter().position(|&letter| letter == kind)?;
                out.push(b"\x07\x08\x0c\n\r\t\x0b\\\""[index]);
                rest = after;
                continue;
            }
        };
        out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, base).ok()?);
        rest = if base == 16 { &after[2..] } else { &rest[4..] };
    }
    Some(out)
}

/// The text with `\xHH` read and all else as it stands.
fn hex_only(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let digits = rest
            .get(2..4)
            .filter(|_| rest.starts_with(b"\\x"))
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &rest[4..];
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}
