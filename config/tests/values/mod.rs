//! The values of a request of the corpora, decoded as the WAF decodes them: URL decoding twice, HTML entities, no NUL.
//! Simple on purpose, for tests: it reads well-formed requests of our own.

use secbeat_config::waf_rules::Target;
use serde::Deserialize;

/// Fields whose values have a grammar of their own and are not searched. Cookie is, value by value.
const FIELDS_STRUCTURED: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "range",
    "transfer-encoding",
];

/// One line of a corpus.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) class: String,
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) headers: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) body: String,
    #[serde(default)]
    pub(crate) body_base64: String,
}

/// A decoded value and where it was.
pub(crate) struct Value {
    pub(crate) target: Target,
    pub(crate) bytes: Vec<u8>,
}

impl Request {
    fn field(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    fn body_bytes(&self) -> Vec<u8> {
        if self.body_base64.is_empty() { self.body.clone().into_bytes() } else { base64(&self.body_base64) }
    }

    /// Enough of a request to see why it passed.
    pub(crate) fn summary(&self) -> String {
        let fields = self.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host"));
        let fields: Vec<_> = fields.map(|(name, value)| format!("{name}: {value}")).collect();
        format!("{} {} {} {}", self.method, self.uri, self.body, fields.join(" | "))
    }
}

/// All values of a request.
pub(crate) fn values(request: &Request) -> Vec<Value> {
    let mut found = Vec::new();
    let (path, query) = request.uri.split_once('?').unwrap_or((&request.uri, ""));
    found.push(Value { target: Target::Path, bytes: path.into() });
    add(&mut found, Target::Path, path.as_bytes(), false);
    add_form(&mut found, Target::Args, query.as_bytes());
    for pair in request.field("cookie").split(';') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        add(&mut found, Target::Cookies, name.trim().as_bytes(), true);
        add(&mut found, Target::Cookies, value.trim().as_bytes(), true);
    }
    for (name, value) in &request.headers {
        if !FIELDS_STRUCTURED.contains(&name.to_ascii_lowercase().as_str()) {
            add(&mut found, Target::Headers, value.as_bytes(), true);
        }
    }
    let (kind, body) = (request.field("content-type").to_ascii_lowercase(), request.body_bytes());
    if kind.starts_with("multipart/") {
        add_multipart(&mut found, &body, request.field("content-type"));
    } else if kind.contains("json") || body.starts_with(b"{") || body.starts_with(b"[") {
        match serde_json::from_slice(&body) {
            Ok(json) => add_json(&mut found, &json),
            Err(_) => add(&mut found, Target::Body, &body, false),
        }
    } else if kind.contains("xml") {
        add_xml(&mut found, &body);
    } else if kind.contains("x-www-form-urlencoded") {
        add_form(&mut found, Target::Body, &body);
    } else if !body.is_empty() {
        add(&mut found, Target::Body, &body, false);
    }
    found
}

/// Adds a value after URL decoding twice, HTML entities and NUL; and once more as it stands after the first decoding,
/// because a second one may destroy what a decoder behind us would see.
fn add(found: &mut Vec<Value>, target: Target, raw: &[u8], is_url: bool) {
    let once = if is_url { url_decode(raw) } else { raw.to_vec() };
    let plain = |bytes: &[u8]| entities(bytes).into_iter().filter(|&b| b != 0).collect::<Vec<u8>>();
    let (first, second) = (plain(&once), plain(&url_decode(&once)));
    if first != second {
        found.push(Value { target, bytes: second });
    }
    found.push(Value { target, bytes: first });
}

fn add_form(found: &mut Vec<Value>, target: Target, form: &[u8]) {
    for pair in form.split(|&b| b == b'&').filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|&b| b == b'=').unwrap_or(pair.len());
        for part in [&pair[..at], pair.get(at + 1..).unwrap_or_default()] {
            let spaced: Vec<u8> = part.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect();
            add(found, target, &spaced, true);
        }
    }
}

fn add_json(found: &mut Vec<Value>, json: &serde_json::Value) {
    match json {
        serde_json::Value::Object(map) => {
            for (name, value) in map {
                add(found, Target::Body, name.as_bytes(), false);
                add_json(found, value);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| add_json(found, item)),
        serde_json::Value::String(text) => add(found, Target::Body, text.as_bytes(), false),
        other => add(found, Target::Body, other.to_string().as_bytes(), false),
    }
}

/// Text, values of attributes, and what stands before the root element: declarations are looked at whole.
fn add_xml(found: &mut Vec<Value>, body: &[u8]) {
    let mut rest = body;
    while let Some(at) = rest.iter().position(|&b| b == b'<') {
        add_text(found, &rest[..at]);
        rest = &rest[at..];
        let is_cdata = rest.starts_with(b"<![CDATA[");
        let stop: &[u8] = if is_cdata { b"]]>" } else { b">" };
        let end = find(rest, stop).map_or(rest.len(), |end| end + stop.len());
        let (tag, after) = rest.split_at(end);
        rest = after;
        if is_cdata {
            add_text(found, tag.get(9..end.saturating_sub(3)).unwrap_or_default());
        } else if tag.starts_with(b"<!") || tag.starts_with(b"<?xml-") {
            found.push(Value { target: Target::Body, bytes: body[..body.len().min(4_096)].to_vec() });
        } else {
            add_attributes(found, tag);
            if tag
                .windows(8)
                .any(|w| w.eq_ignore_ascii_case(b"xinclude") || w.eq_ignore_ascii_case(b":include"))
            {
                add(found, Target::Body, tag, false);
            }
        }
    }
    add_text(found, rest);
}

fn add_attributes(found: &mut Vec<Value>, tag: &[u8]) {
    let mut rest = tag;
    while let Some(at) = rest.iter().position(|&b| b == b'"' || b == b'\'') {
        let quote = rest[at];
        rest = &rest[at + 1..];
        let end = rest.iter().position(|&b| b == quote).unwrap_or(rest.len());
        add_text(found, &rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
    }
}

fn add_text(found: &mut Vec<Value>, text: &[u8]) {
    if !text.trim_ascii().is_empty() {
        add(found, Target::Body, text, false);
    }
}

fn add_multipart(found: &mut Vec<Value>, body: &[u8], kind: &str) {
    let Some((_, boundary)) = kind.split_once("boundary=") else { return };
    let mark = format!("--{}", boundary.trim_matches('"'));
    let mut rest = body;
    while let Some(at) = find(rest, mark.as_bytes()) {
        rest = &rest[at + mark.len()..];
        let part = &rest[..find(rest, mark.as_bytes()).unwrap_or(0)];
        let Some(head_end) = find(part, b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&part[..head_end]).into_owned();
        for quoted in head.split('"').skip(1).step_by(2) {
            add(found, Target::Body, quoted.as_bytes(), false);
        }
        add(found, Target::Body, part[head_end + 4..].trim_ascii_end(), false);
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn url_decode(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let byte = hex.filter(|h| !h.starts_with('+')).and_then(|h| u8::from_str_radix(h, 16).ok());
        match byte.filter(|_| bytes[at] == b'%') {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    decoded
}

fn entities(bytes: &[u8]) -> Vec<u8> {
    const NAMED: &[(&[u8], u8)] = &[
        (b"&lt;", b'<'),
        (b"&gt;", b'>'),
        (b"&amp;", b'&'),
        (b"&quot;", b'"'),
        (b"&apos;", b'\''),
        (b"&colon;", b':'),
        (b"&lpar;", b'('),
        (b"&rpar;", b')'),
        (b"&Tab;", b'\t'),
        (b"&NewLine;", b'\n'),
        (b"&nbsp;", b' '),
    ];
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        if let Some((name, byte)) = NAMED.iter().find(|(name, _)| rest.starts_with(name)) {
            decoded.push(*byte);
            rest = &rest[name.len()..];
        } else if let Some((byte, length)) = numeric_entity(rest) {
            decoded.push(byte);
            rest = &rest[length..];
        } else {
            decoded.push(first);
            rest = after;
        }
    }
    decoded
}

/// The byte and the length of a numeric entity of one byte.
fn numeric_entity(bytes: &[u8]) -> Option<(u8, usize)> {
    let digits = bytes.strip_prefix(b"&#")?;
    let (radix, skip) = if digits.first()?.eq_ignore_ascii_case(&b'x') { (16, 1) } else { (10, 0) };
    let digits = &digits[skip..];
    let count = digits.iter().take(10).take_while(|b| char::from(**b).is_digit(radix)).count();
    let number = u32::from_str_radix(std::str::from_utf8(&digits[..count]).ok()?, radix).ok()?;
    let semicolon = usize::from(digits.get(count) == Some(&b';'));
    Some((u8::try_from(number).ok()?, 2 + skip + count + semicolon))
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut decoded, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes().take_while(|&b| b != b'=') {
        let Some(value) = ALPHABET.iter().position(|&letter| letter == byte) else { continue };
        bits = bits << 6 | u32::try_from(value).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    decoded
}
