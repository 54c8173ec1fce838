//! Pages the node answers with in its own name: HTML, or JSON for clients that ask for it.
//!
//! Owns: their text and which of the two a client gets. Does not own: when one is sent. A page says the status, what it
//! means in a sentence, and the request's id; never why a rule decided or what stands behind the node.
//! Cost: written into a buffer of the worker; no allocation.

use secbeat_http::head::{Known, Request};

/// The operator's own pages, which take the place of the node's.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    own: Vec<(Box<[u16]>, Box<str>)>,
}

impl Pages {
    /// Pages by the status codes they are for (none = every other one), as HTML in which `{status}`, `{reason}` and
    /// `{request_id}` are filled in. Clients that ask for JSON get the node's own.
    pub fn new(own: impl IntoIterator<Item = (Vec<u16>, String)>) -> Self {
        Self { own: own.into_iter().map(|(statuses, html)| (statuses.into(), html.into())).collect() }
    }

    fn of(&self, status: u16) -> Option<&str> {
        let named = self.own.iter().find(|(statuses, _)| statuses.contains(&status));
        named.or_else(|| self.own.iter().find(|(statuses, _)| statuses.is_empty())).map(|(_, html)| &**html)
    }
}

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Html,
    Json,
}

impl Format {
    /// What a client that sent this head reads: JSON when its `Accept` names JSON, and HTML not before it.
    pub(super) fn of(head: &Request) -> Self {
        let mut accepted =
            head.fields().all_known(Known::Accept).flat_map(|value| value.split(|b| *b == b','));
        let found = accepted.find_map(|range| {
            let media = range.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
            let subtype = media.rsplit(|b| *b == b'/').next().unwrap_or_default();
            let is_json = subtype.eq_ignore_ascii_case(b"json")
                || subtype.rsplit(|b| *b == b'+').next().is_some_and(|s| s.eq_ignore_ascii_case(b"json"));
            let is_html = subtype.eq_ignore_ascii_case(b"html") || subtype.eq_ignore_ascii_case(b"xhtml+xml");
            match (is_html, is_json) {
                (true, _) => Some(Self::Html),
                (_, true) => Some(Self::Json),
                _ => None,
            }
        });
        found.unwrap_or(Self::Html)
    }

    pub(super) const fn content_type(self) -> &'static [u8] {
        match self {
            Self::Html => b"text/html; charset=utf-8",
            Self::Json => b"application/json",
        }
    }
}

/// Writes the page of a status. `id` holds nothing that needs escaping.
pub(super) fn write(out: &mut Vec<u8>, pages: &Pages, format: Format, status: u16, id: &str) {
    let (title, sentence) = words(status);
    let mut digits = [0; 3];
    let number = digits_of(status, &mut digits);
    match (format, pages.of(status)) {
        (Format::Html, Some(page)) => {
            fill(out, page, &[("{status}", number), ("{reason}", title), ("{request_id}", id)]);
        }
        (Format::Html, None) => {
            put(
                out,
                &["<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>", number, " "],
            );
            put(out, &[title, "</title></head>\n<body><h1>", number, " ", title, "</h1>\n<p>", sentence]);
            put(out, &["</p>\n<p>Request <code>", id, "</code></p></body></html>\n"]);
        }
        (Format::Json, _) => {
            put(out, &["{\"status\":", number, ",\"error\":\"", title, "\",\"message\":\"", sentence]);
            put(out, &["\",\"request_id\":\"", id, "\"}\n"]);
        }
    }
}

fn put(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Writes a page with names in braces replaced by values, none of which needs escaping.
fn fill(out: &mut Vec<u8>, page: &str, values: &[(&str, &str)]) {
    let mut rest = page;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        put(out, &[before]);
        let found = values.iter().find_map(|(name, value)| Some((from.strip_prefix(name)?, value)));
        rest = match found {
            Some((after, value)) => {
                put(out, &[value]);
                after
            }
            None => {
                put(out, &["{"]);
                &from[1..]
            }
        };
    }
    put(out, &[rest]);
}

fn digits_of(status: u16, digits: &mut [u8; 3]) -> &str {
    *digits = [status / 100 % 10, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
    core::str::from_utf8(digits).unwrap_or_default()
}

/// Title and sentence of a status.
fn words(status: u16) -> (&'static str, &'static str) {
    match status {
        400 => ("Bad Request", "The request could not be read."),
        403 => ("Forbidden", "The request was not let through."),
        404 => ("Not Found", "There is nothing here."),
        405 => ("Method Not Allowed", "This method is not served."),
        408 => ("Request Timeout", "The request took too long to arrive."),
        411 => ("Length Required", "The request must say how long its body is."),
        413 => ("Content Too Large", "The request is larger than is taken here."),
        414 => ("URI Too Long", "The address asked for is too long."),
        417 => ("Expectation Failed", "The expectation of the request cannot be met."),
        421 => ("Misdirected Request", "This host is not served here."),
        429 => ("Too Many Requests", "There were too many requests. Try again a little later."),
        431 => ("Request Header Fields Too Large", "The head of the request is too large."),
        500 => ("Internal Server Error", "Something went wrong here."),
        501 => ("Not Implemented", "The request asks for something that is not done here."),
        502 => ("Bad Gateway", "The server behind did not answer as it should."),
        503 => ("Service Unavailable", "The service cannot answer now. Try again a little later."),
        504 => ("Gateway Timeout", "The server behind did not answer in time."),
        505 => ("HTTP Version Not Supported", "This version of HTTP is not spoken here."),
        _ => ("Error", "The request could not be answered."),
    }
}

/// Writes bytes as the inside of a JSON string. What is no UTF-8 becomes `\u00xx`, byte by byte: a log must show what
/// came without being broken by it.
pub(super) fn escape_json(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for &byte in chunk.valid().as_bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                0..0x20 | 0x7f => escape_byte(out, byte),
                _ => out.push(byte),
            }
        }
        for &byte in chunk.invalid() {
            escape_byte(out, byte);
        }
    }
}

fn escape_byte(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
    out.extend_from_slice(b"\\u00");
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(value: &str) -> Format {
        let mut head = Request::new();
        head.fields_mut().append(b"Accept", value.as_bytes()).expect("a field");
        Format::of(&head)
    }

    #[test]
    fn client_gets_the_format_it_names_first() {
        assert_eq!(Format::of(&Request::new()), Format::Html);
        assert_eq!(accepts("text/html,application/xhtml+xml,application/json;q=0.9"), Format::Html);
        assert_eq!(accepts("application/json, text/html"), Format::Json);
        assert_eq!(accepts("application/problem+json"), Format::Json);
        assert_eq!(accepts("*/*"), Format::Html);
    }

    fn page(pages: &Pages, format: Format, status: u16) -> String {
        let mut out = Vec::new();
        write(&mut out, pages, format, status, "id-1");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn pages_say_status_and_id() {
        let pages = Pages::default();
        let html = page(&pages, Format::Html, 403);
        assert!(html.contains("<h1>403 Forbidden</h1>") && html.contains("<code>id-1</code>"), "{html}");
        for status in
            [400, 403, 404, 405, 408, 411, 413, 414, 417, 421, 429, 431, 500, 501, 502, 503, 504, 505]
        {
            let json = page(&pages, Format::Json, status);
            let value: serde_json::Value = serde_json::from_str(&json).expect("valid JSON");
            assert_eq!(value["status"], status);
            assert_eq!(value["request_id"], "id-1");
            assert_ne!(value["error"], "Error", "{status} has words of its own");
        }
    }

    #[test]
    fn pages_of_the_operator_take_the_place_of_ours() {
        let pages = Pages::new([
            (vec![403, 404], "{x} {status} {reason} {request_id} {".to_owned()),
            (Vec::new(), "other".to_owned()),
        ]);
        assert_eq!(page(&pages, Format::Html, 404), "{x} 404 Not Found id-1 {");
        assert_eq!(page(&pages, Format::Html, 502), "other");
        assert!(page(&pages, Format::Json, 404).starts_with("{\"status\":404"));
    }

    #[test]
    fn any_bytes_become_valid_json() {
        let mut out = b"\"".to_vec();
        escape_json(&mut out, b"a\"\\\n\x00\xff\xc3\xa4");
        out.push(b'"');
        let text: String = serde_json::from_slice(&out).expect("valid JSON");
        assert_eq!(text, "a\"\\\n\0\u{ff}\u{e4}");
    }
}
