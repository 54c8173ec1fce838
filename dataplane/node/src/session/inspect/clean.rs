//! A request without what rules want taken out of it (the action `sanitize` of JSON rules).
//!
//! Owns: [`Change`], writing query, form, cookies and fields anew. Does not own: what is taken out (`secbeat_waf`).
//! Only what changes is encoded anew; everything else stays byte for byte. What cannot be found again as rules saw it
//! is refused by the caller rather than passed half clean. Cost: a copy of the part that changes, for such requests
//! alone.

use secbeat_http::head::Request;
use secbeat_waf::variable::Variable;

/// A value of a request and what takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Change {
    pub(in super::super) place: Variable,
    pub(in super::super) name: Vec<u8>,
    pub(in super::super) before: Vec<u8>,
    pub(in super::super) after: Vec<u8>,
}

/// What is to be done about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Cleaning {
    /// Nothing.
    Keep,
    /// It cannot be cleaned.
    Refuse,
    /// These values are replaced.
    Change(Vec<Change>),
}

/// It cannot be cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Stays;

/// Writes the head, and the body of a form, anew. `body`: all of it, when it is a form. Yields the new body if it
/// changed.
pub(in super::super) fn clean(
    head: &mut Request,
    body: Option<&[u8]>,
    changes: &[Change],
) -> Result<Option<Vec<u8>>, Stays> {
    let mut form = None;
    for change in changes {
        match change.place {
            Variable::ArgsGet => {
                let query = head.query().ok_or(Stays)?;
                let mut target = head.path().to_vec();
                target.push(b'?');
                target.extend_from_slice(&pairs(query, change)?);
                head.set_target(&target).map_err(|_| Stays)?;
            }
            Variable::ArgsPost => {
                let old = form.as_deref().or(body).ok_or(Stays)?;
                form = Some(pairs(old, change)?);
            }
            Variable::RequestCookies => fields(head, b"cookie", |value| cookies(value, change))?,
            Variable::RequestHeaders if !change.name.eq_ignore_ascii_case(b"host") => {
                let name = change.name.clone();
                fields(head, &name, |value| {
                    (value == change.before).then(|| change.after.trim_ascii().to_vec())
                })?;
            }
            _ => return Err(Stays),
        }
    }
    Ok(form)
}

/// `a=b&c=d` with every value that is meant replaced.
fn pairs(text: &[u8], change: &Change) -> Result<Vec<u8>, Stays> {
    let mut out = Vec::with_capacity(text.len());
    let mut is_found = false;
    for (index, pair) in text.split(|byte| *byte == b'&').enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        let equals = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = match equals {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        if equals.is_some() && decoded(name) == change.name && decoded(value) == change.before {
            is_found = true;
            out.extend_from_slice(name);
            out.push(b'=');
            encode(&change.after, &mut out);
        } else {
            out.extend_from_slice(pair);
        }
    }
    if is_found { Ok(out) } else { Err(Stays) }
}

/// One field of cookies; `None` = the cookie is not in it.
fn cookies(field: &[u8], change: &Change) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(field.len());
    let mut is_found = false;
    for (index, cookie) in field.split(|byte| *byte == b';').enumerate() {
        if index > 0 {
            out.push(b';');
        }
        let at = cookie.iter().position(|byte| *byte == b'=');
        let meant = at.filter(|at| {
            cookie[..*at].trim_ascii() == change.name && cookie[*at + 1..].trim_ascii() == change.before
        });
        match meant {
            Some(at) => {
                is_found = true;
                out.extend_from_slice(&cookie[..=at]);
                out.extend_from_slice(change.after.trim_ascii());
            }
            None => out.extend_from_slice(cookie),
        }
    }
    is_found.then_some(out)
}

/// Replaces the values of a field; `Err` when none of them was meant.
fn fields(head: &mut Request, name: &[u8], replace: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Result<(), Stays> {
    let mut is_found = false;
    let mut all = Vec::new();
    for field in head.fields().iter().filter(|field| field.name.eq_ignore_ascii_case(name)) {
        let new = replace(field.value);
        is_found |= new.is_some();
        all.push((field.name.to_vec(), new.unwrap_or_else(|| field.value.to_vec())));
    }
    if !is_found {
        return Err(Stays);
    }
    head.fields_mut().remove(name);
    for (name, value) in all {
        head.fields_mut().append(&name, &value).map_err(|_| Stays)?;
    }
    Ok(())
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let digit = |place: usize| text.get(at + place).and_then(|byte| (*byte as char).to_digit(16));
        at += match (byte, digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                3
            }
            (b'+', ..) => {
                out.push(b' ');
                1
            }
            _ => {
                out.push(*byte);
                1
            }
        };
    }
    out
}

/// Percent-encoding of a form: letters, digits and `-._~` stay.
fn encode(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(*byte),
            b' ' => out.push(b'+'),
            _ => out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(place: Variable, name: &str, before: &str, after: &str) -> Change {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Change { place, name: bytes(name), before: bytes(before), after: bytes(after) }
    }

    fn request(target: &str, fields: &[(&str, &str)]) -> Request {
        let mut head = Request::new();
        head.set_method(b"GET").expect("a method");
        head.set_target(target.as_bytes()).expect("a target");
        for (name, value) in fields {
            head.fields_mut().append(name.as_bytes(), value.as_bytes()).expect("a field");
        }
        head
    }

    #[test]
    fn only_the_value_that_is_meant_is_written_anew() {
        let mut head = request("/a?x=%3Cb%3E+c&y=%41&x=other", &[]);
        let changes = [change(Variable::ArgsGet, "x", "<b> c", "b c")];
        assert_eq!(clean(&mut head, None, &changes), Ok(None));
        assert_eq!(head.target(), b"/a?x=b+c&y=%41&x=other");
        let form = clean(&mut head, Some(b"q=1&x=%3cb%3e"), &[change(Variable::ArgsPost, "x", "<b>", "")]);
        assert_eq!(form, Ok(Some(b"q=1&x=".to_vec())));
    }

    #[test]
    fn cookies_and_fields_keep_their_neighbours() {
        let mut head = request("/", &[("Cookie", "a=1; b=bad ;c=3"), ("X-A", "evil"), ("X-A", "good")]);
        let changes = [
            change(Variable::RequestCookies, "b", "bad", ""),
            change(Variable::RequestHeaders, "x-a", "evil", " e "),
        ];
        assert_eq!(clean(&mut head, None, &changes), Ok(None));
        assert_eq!(head.fields().value(b"cookie"), Some(&b"a=1; b=;c=3"[..]));
        let values: Vec<_> = head
            .fields()
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(b"x-a"))
            .map(|f| f.value)
            .collect();
        assert_eq!(values, [&b"e"[..], b"good"]);
    }

    #[test]
    fn what_is_not_found_again_is_refused() {
        let mut head = request("/a?x=1", &[("Host", "evil")]);
        for change in [
            change(Variable::ArgsGet, "x", "2", ""),
            change(Variable::ArgsPost, "x", "1", ""),
            change(Variable::RequestCookies, "x", "1", ""),
            change(Variable::RequestHeaders, "host", "evil", ""),
            change(Variable::RequestFilename, "", "/a", "/"),
        ] {
            assert_eq!(clean(&mut head, None, &[change]), Err(Stays));
        }
        assert_eq!(head.target(), b"/a?x=1");
    }
}
