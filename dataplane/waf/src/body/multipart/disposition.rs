//! The value of `Content-Disposition` of a part.
//!
//! Owns: `form-data` with `name` and `filename` and nothing else. `filename*` is refused (RFC 7578 §4.2 forbids it,
//! and parsers disagree which of the two counts), as is any parameter given twice. Single quotes are read as quotes,
//! since some origins do, and flagged. Sources: RFC 6266 §4.1, RFC 7578 §4.2, ModSecurity v3's checks and messages.
use super::Report;

const MALFORMED: &str = "Multipart: Invalid Content-Disposition header";

/// Leaves `name` and `filename`, decoded, in the two buffers; also what was read before an error.
///
/// # Errors
/// With a message.
pub(super) fn parse(
    value: &[u8],
    name: &mut Vec<u8>,
    filename: &mut Vec<u8>,
    report: &mut Report,
) -> Result<(), &'static str> {
    let Some(rest) = value.strip_prefix(b"form-data") else {
        return Err(MALFORMED);
    };
    let (mut has_name, mut has_filename) = (false, false);
    let mut rest = skip_blank(rest);
    while let [b';', after @ ..] = rest {
        // A semicolon at the very end is common and harmless; one with a blank after it is not valid.
        if after.is_empty() {
            return Ok(());
        }
        rest = skip_blank(after);
        let len = rest.iter().position(|byte| matches!(byte, b'=' | b' ' | b'\t' | b';')).ok_or(MALFORMED)?;
        let parameter = &rest[..len];
        let Some(text) = skip_blank(&rest[len..]).strip_prefix(b"=") else {
            return Err(MALFORMED);
        };
        let out = match parameter {
            b"name" if has_name => return Err("Multipart: Duplicate Content-Disposition name"),
            b"filename" if has_filename => return Err("Multipart: Duplicate Content-Disposition filename"),
            b"name" => {
                has_name = true;
                &mut *name
            }
            b"filename" => {
                has_filename = true;
                &mut *filename
            }
            _ => return Err("Multipart: Invalid Content-Disposition header (parameter)"),
        };
        rest = text_value(skip_blank(text), out, report)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(MALFORMED) }
}

/// Reads a token or a quoted string; what follows it and blanks.
fn text_value<'a>(text: &'a [u8], out: &mut Vec<u8>, report: &mut Report) -> Result<&'a [u8], &'static str> {
    let (quote, mut rest) = match text {
        [quote @ (b'"' | b'\''), rest @ ..] => (*quote, rest),
        [] => return Err(MALFORMED),
        _ => {
            let len = text.iter().position(|byte| !is_token(*byte)).unwrap_or(text.len());
            let (token, rest) = text.split_at(len);
            out.extend_from_slice(token);
            report.has_invalid_quoting |= token.contains(&b'\'') || rest.starts_with(b"\"");
            return Ok(skip_blank(rest));
        }
    };
    report.has_invalid_quoting |= quote == b'\'';
    loop {
        match rest {
            // Only a quote and a backslash are escaped; file names of old browsers have other backslashes.
            [b'\\', byte, tail @ ..] if *byte == quote || *byte == b'\\' => {
                out.push(*byte);
                rest = tail;
            }
            [byte, tail @ ..] if *byte == quote => {
                let after = skip_blank(tail);
                // More after the quote: the string ended elsewhere for another parser.
                report.has_invalid_quoting |= !matches!(after, [] | [b';', ..]);
                return Ok(after);
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
            [] => {
                report.has_invalid_quoting = true;
                return Err("Multipart: Invalid Content-Disposition header (quote)");
            }
        }
    }
}

fn skip_blank(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    text
}

/// RFC 2045, `token`.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(
            byte,
            b'(' | b')'
                | b'<'
                | b'>'
                | b'@'
                | b','
                | b';'
                | b':'
                | b'\\'
                | b'"'
                | b'/'
                | b'['
                | b']'
                | b'?'
                | b'='
        )
}
