//! The head of a request: bytes in, a checked value out.
//!
//! Strict where the specification leaves room for two readings (RFC 9112 §6.3): one Content-Length of digits
//! only, no Transfer-Encoding, no line folding. A request that is refused ends its connection, so nothing
//! that follows can be misread.

use core::fmt;

/// Longest head: request line and fields. Ours are a few hundred bytes; 16 KiB leaves room for a browser's
/// cookies. Longer: status 431.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// Longest body. The longest we expect is a few hundred bytes. Longer: status 413.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// Most header fields. More: status 431.
const FIELDS_MAX: usize = 64;

/// Methods that some route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Lifts something.
    Delete,
    /// Reads.
    Get,
    /// Reads, without the body of the answer.
    Head,
    /// Does something.
    Post,
}

/// A request's head, decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// The path's segments, percent-decoded.
    pub path: Vec<String>,
    /// The query's pairs, percent-decoded.
    pub query: Vec<(String, String)>,
    /// The Host field.
    pub host: Option<String>,
    /// What follows `Bearer ` in Authorization.
    pub token: Option<Vec<u8>>,
    /// Whether a web page made the request.
    pub from_page: bool,
    /// Length of the body in bytes.
    pub body_len: usize,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the connection stays open after the answer.
    pub keep_alive: bool,
    /// Length of the head in bytes; the body follows.
    pub head_len: usize,
}

impl fmt::Debug for Request {
    /// Never prints the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, path, query, body_len, keep_alive, token, .. } = self;
        f.debug_struct("Request")
            .field("method", method)
            .field("path", path)
            .field("query", query)
            .field("has_token", &token.is_some())
            .field("body_len", body_len)
            .field("keep_alive", keep_alive)
            .finish_non_exhaustive()
    }
}

/// Why a head is refused. The connection is closed after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Not HTTP/1.
    #[error("not an HTTP/1 request")]
    Syntax,
    /// Too long, or too many fields.
    #[error("the head is longer than {HEAD_BYTES_MAX} bytes or has more than {FIELDS_MAX} fields")]
    HeadTooLong,
    /// The body is too long.
    #[error("the body is longer than {BODY_BYTES_MAX} bytes")]
    BodyTooLong,
    /// No route takes this method.
    #[error("this method is not known here")]
    Method,
    /// The target is not a path, or has invalid percent-encoding.
    #[error("the target must be a path in valid percent-encoding of UTF-8")]
    Target,
    /// Transfer-Encoding, or several or odd Content-Length fields.
    #[error(
        "the length of the body must be given by one Content-Length of digits; Transfer-Encoding is not taken"
    )]
    Framing,
}

impl BadRequest {
    /// The status that belongs to it.
    pub const fn status(self) -> u16 {
        match self {
            Self::Syntax | Self::Target | Self::Framing => 400,
            Self::BodyTooLong => 413,
            Self::HeadTooLong => 431,
            Self::Method => 501,
        }
    }
}

/// Parses the head at the front of `bytes`; `None` while it is incomplete.
///
/// # Errors
/// Why the request is refused.
pub fn parse(bytes: &[u8]) -> Result<Option<Request>, BadRequest> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    let head_len = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) if len <= HEAD_BYTES_MAX => len,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(BadRequest::HeadTooLong),
        Err(_) => return Err(BadRequest::Syntax),
    };
    let method = match head.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("POST") => Method::Post,
        Some("DELETE") => Method::Delete,
        _ => return Err(BadRequest::Method),
    };
    let (path, query) = target(head.path.unwrap_or_default()).ok_or(BadRequest::Target)?;
    let mut request = Request {
        method,
        path,
        query,
        host: None,
        token: None,
        from_page: false,
        body_len: 0,
        expects_continue: false,
        // RFC 9112 §9.3: persistent unless said otherwise, since HTTP/1.1.
        keep_alive: head.version == Some(1),
        head_len,
    };
    let mut has_length = false;
    for field in head.headers.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            if core::mem::replace(&mut has_length, true) {
                return Err(BadRequest::Framing);
            }
            request.body_len = length(field.value)?;
        } else if is("transfer-encoding") {
            return Err(BadRequest::Framing);
        } else if is("connection") {
            let has = |token: &[u8]| {
                field.value.split(|b| *b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(token))
            };
            request.keep_alive = !has(b"close") && (request.keep_alive || has(b"keep-alive"));
        } else if is("expect") {
            request.expects_continue = field.value.eq_ignore_ascii_case(b"100-continue");
        } else if is("host") {
            request.host = core::str::from_utf8(field.value).ok().map(Into::into);
        } else if is("authorization") {
            request.token = bearer(field.value);
        } else if is("origin") || is("sec-fetch-site") {
            request.from_page = true;
        }
    }
    Ok(Some(request))
}

/// RFC 9110 §8.6: digits only, no sign, no list.
fn length(value: &[u8]) -> Result<usize, BadRequest> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return Err(BadRequest::Framing);
    }
    let length = value.iter().fold(0u64, |sum, digit| sum.saturating_mul(10) + u64::from(digit - b'0'));
    usize::try_from(length).ok().filter(|length| *length <= BODY_BYTES_MAX).ok_or(BadRequest::BodyTooLong)
}

/// RFC 6750 §2.1; the scheme's case does not matter.
fn bearer(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii().to_vec())
}

type Target = (Vec<String>, Vec<(String, String)>);

/// Path segments and query pairs of an origin-form target (RFC 9112 §3.2.1).
fn target(target: &str) -> Option<Target> {
    let rest = target.strip_prefix('/')?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = path.split('/').filter(|s| !s.is_empty()).map(|s| decode(s, false)).collect::<Option<_>>()?;
    let query = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name, true)?, decode(value, true)?))
        })
        .collect::<Option<_>>()?;
    Some((path, query))
}

/// Percent-decoding (RFC 3986 §2.1), in queries `+` is a space. Control characters are refused.
fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

/// What the fuzzer and the replay of its corpus call.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    if let Ok(Some(request)) = parse(bytes) {
        assert!(request.head_len <= bytes.len() && request.head_len <= HEAD_BYTES_MAX);
        assert!(request.body_len <= BODY_BYTES_MAX);
        // What is complete stays the same when more follows.
        let longer = [bytes, b"GET / HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(parse(&longer), Ok(Some(request)));
    }
    let (head, body) = bytes.split_at(bytes.len() / 2);
    super::body::fuzz(head);
    super::body::fuzz(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &str) -> Result<Option<Request>, BadRequest> {
        parse(lines.replace('\n', "\r\n").as_bytes())
    }

    fn corpus() -> Vec<Vec<u8>> {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/node_api_request");
        let files = std::fs::read_dir(directory).unwrap();
        files.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
    }

    #[test]
    fn corpus_of_the_fuzzer_is_replayed() {
        let corpus = corpus();
        assert!(corpus.len() >= 10, "the corpus is missing");
        corpus.iter().for_each(|bytes| fuzz(bytes));
    }

    #[test]
    fn damaged_requests_never_panic() {
        // A linear congruential generator (Knuth's constants): the same damage every time.
        let mut state = 1u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below.max(1)
        };
        for original in corpus() {
            for _ in 0..2_000 {
                let mut bytes = original.clone();
                for _ in 0..=random(4) {
                    let at = random(bytes.len());
                    match random(4) {
                        0 => bytes.truncate(at),
                        1 => bytes.insert(at.min(bytes.len()), random(256) as u8),
                        2 if at < bytes.len() => bytes[at] ^= 1 << random(8),
                        _ if at < bytes.len() => {
                            let piece = bytes[at..].to_vec();
                            bytes.extend_from_slice(&piece);
                        }
                        _ => {}
                    }
                }
                fuzz(&bytes);
            }
        }
    }

    #[test]
    fn path_and_query_are_split_and_decoded() {
        let request =
            head("GET /api/v1/events?type=at%74ack&since=5&x=a+b HTTP/1.1\nHost: a\n\n").unwrap().unwrap();
        assert_eq!(request.path, ["api", "v1", "events"]);
        let query: Vec<_> = request.query.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(query, [("type", "attack"), ("since", "5"), ("x", "a b")]);
        assert!(request.keep_alive);
        let request = head("DELETE /api/v1/block-ip/10.0.0.0%2F8 HTTP/1.1\n\n").unwrap().unwrap();
        assert_eq!(request.path.last().map(String::as_str), Some("10.0.0.0/8"));
    }

    #[test]
    fn incomplete_head_waits_and_an_endless_one_is_refused() {
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost"), Ok(None));
        let endless = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; HEAD_BYTES_MAX]].concat();
        assert_eq!(parse(&endless), Err(BadRequest::HeadTooLong));
        let many = "X: 1\n".repeat(FIELDS_MAX + 1);
        assert_eq!(head(&format!("GET / HTTP/1.1\n{many}\n")), Err(BadRequest::HeadTooLong));
    }

    #[test]
    fn ambiguous_body_lengths_are_refused() {
        for fields in [
            "Content-Length: 1\nContent-Length: 1\n",
            "Content-Length: +1\n",
            "Content-Length: 1, 1\n",
            "Content-Length: \n",
            "Content-Length: 0x10\n",
            "Transfer-Encoding: chunked\n",
            "Transfer-Encoding: identity\nContent-Length: 3\n",
        ] {
            assert_eq!(head(&format!("POST / HTTP/1.1\n{fields}\n")), Err(BadRequest::Framing), "{fields}");
        }
        let long = format!("POST / HTTP/1.1\nContent-Length: {}\n\n", BODY_BYTES_MAX + 1);
        assert_eq!(head(&long), Err(BadRequest::BodyTooLong));
        let most = format!("POST / HTTP/1.1\nContent-Length: {BODY_BYTES_MAX}\n\n");
        assert_eq!(head(&most).unwrap().unwrap().body_len, BODY_BYTES_MAX);
    }

    #[test]
    fn odd_targets_methods_and_protocols_are_refused() {
        assert_eq!(head("GET http://a/ HTTP/1.1\n\n"), Err(BadRequest::Target));
        assert_eq!(head("GET /%zz HTTP/1.1\n\n"), Err(BadRequest::Target));
        assert_eq!(head("GET /%ff HTTP/1.1\n\n"), Err(BadRequest::Target));
        assert_eq!(head("GET /%00 HTTP/1.1\n\n"), Err(BadRequest::Target));
        assert_eq!(head("PATCH / HTTP/1.1\n\n"), Err(BadRequest::Method));
        assert_eq!(head("GET / HTTP/2.0\n\n"), Err(BadRequest::Syntax));
        assert_eq!(parse(b"\x16\x03\x01\x02\x00"), Err(BadRequest::Syntax), "a TLS hello");
    }

    #[test]
    fn connection_persists_by_version_and_field() {
        let keep = |text: &str| head(text).unwrap().unwrap().keep_alive;
        assert!(keep("GET / HTTP/1.1\n\n"));
        assert!(!keep("GET / HTTP/1.1\nConnection: close\n\n"));
        assert!(!keep("GET / HTTP/1.0\n\n"));
        assert!(keep("GET / HTTP/1.0\nConnection: Keep-Alive\n\n"));
        assert!(!keep("GET / HTTP/1.1\nConnection: keep-alive, Close\n\n"));
    }

    #[test]
    fn token_is_taken_from_bearer_only_and_never_printed() {
        let token = |value: &str| {
            head(&format!("GET / HTTP/1.1\nAuthorization: {value}\n\n")).unwrap().unwrap().token
        };
        assert_eq!(token("bearer  abc "), Some(b"abc".to_vec()));
        assert_eq!(token("Basic abc"), None);
        let request = head("GET / HTTP/1.1\nAuthorization: Bearer hush\n\n").unwrap().unwrap();
        assert!(!format!("{request:?}").contains("hush"));
    }

    #[test]
    fn requests_of_web_pages_are_recognised() {
        assert!(head("POST / HTTP/1.1\nOrigin: http://evil\n\n").unwrap().unwrap().from_page);
        assert!(!head("POST / HTTP/1.1\n\n").unwrap().unwrap().from_page);
    }
}
