//! Origins that read carelessly, each in its own way, as those did that smuggling was found in.
//!
//! Whatever the node forwards, all of them must read alike: then no origin of the kind can be led astray.

/// Which way an origin is careless.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin {
    /// Content-Length before Transfer-Encoding, the first of several.
    LengthFirst,
    /// Content-Length before Transfer-Encoding, the last of several, digits up to the first other byte.
    LengthLast,
    /// Transfer-Encoding before Content-Length, if `chunked` stands anywhere in it.
    ChunksFirst,
    /// Takes `_` for `-`, folds lines, ends lines at CR alone as well.
    Old,
}

impl Origin {
    pub(crate) const ALL: [Self; 4] = [Self::LengthFirst, Self::LengthLast, Self::ChunksFirst, Self::Old];
}

/// A request as an origin reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) host: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// Reads requests until the bytes are used up; `None` when some are left that make none.
pub(crate) fn read(origin: Origin, bytes: &[u8]) -> Option<Vec<Seen>> {
    let mut rest = bytes;
    let mut seen = Vec::new();
    while !rest.is_empty() {
        let (request, len) = one(origin, rest)?;
        seen.push(request);
        rest = &rest[len..];
    }
    Some(seen)
}

fn one(origin: Origin, bytes: &[u8]) -> Option<(Seen, usize)> {
    let mut at = 0;
    let first = line(origin, bytes, &mut at)?;
    let mut words = first.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (method, target) = (words.next()?.to_vec(), words.next()?.to_vec());
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    loop {
        let line = line(origin, bytes, &mut at)?;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let mut name = line[..colon].trim_ascii().to_ascii_lowercase();
        if matches!(origin, Origin::Old) {
            name.iter_mut().filter(|byte| **byte == b'_').for_each(|byte| *byte = b'-');
        }
        fields.push((name, line.get(colon + 1..).unwrap_or_default().trim_ascii().to_vec()));
    }
    let all = |name: &[u8]| -> Vec<Vec<u8>> {
        fields.iter().filter(|field| field.0 == name).map(|field| field.1.clone()).collect()
    };
    let lengths = all(b"content-length");
    let length = if matches!(origin, Origin::LengthFirst) { lengths.first() } else { lengths.last() };
    let is_chunked = all(b"transfer-encoding")
        .iter()
        .any(|value| value.to_ascii_lowercase().windows(7).any(|part| part == b"chunked"));
    let prefers_chunks = matches!(origin, Origin::ChunksFirst | Origin::Old);
    let body = match length {
        Some(length) if !(is_chunked && prefers_chunks) => {
            let digits: Vec<u8> = length.iter().copied().take_while(u8::is_ascii_digit).collect();
            let len: usize = String::from_utf8(digits).ok()?.parse().ok()?;
            let body = bytes.get(at..at.checked_add(len)?)?.to_vec();
            at += len;
            body
        }
        _ if is_chunked => chunks(origin, bytes, &mut at)?,
        _ => Vec::new(),
    };
    let host = all(b"host").first().cloned().unwrap_or_default();
    Some((Seen { method, target, host, body }, at))
}

fn chunks(origin: Origin, bytes: &[u8], at: &mut usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(origin, bytes, at)?;
        let digits: Vec<u8> = size.iter().copied().take_while(u8::is_ascii_hexdigit).collect();
        let len = usize::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?;
        if len == 0 {
            while !line(origin, bytes, at)?.is_empty() {}
            return Some(body);
        }
        body.extend_from_slice(bytes.get(*at..at.checked_add(len)?)?);
        *at += len;
        line(origin, bytes, at)?;
    }
}

/// A line without its end: LF, CRLF, and for the old one CR.
fn line<'a>(origin: Origin, bytes: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let rest = bytes.get(*at..)?;
    let is_end = |byte: &u8| *byte == b'\n' || (matches!(origin, Origin::Old) && *byte == b'\r');
    let end = rest.iter().position(is_end)?;
    *at += end + 1;
    if rest[end] == b'\r' && rest.get(end + 1) == Some(&b'\n') {
        *at += 1;
    }
    Some(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]))
}
