//! Values of the web: header names, host patterns, paths; and where a log goes.

use core::fmt;
use std::path::PathBuf;

use super::{Value, is_host_name};

/// Longest field name or path prefix that can be configured, bytes.
const NAME_BYTES_MAX: usize = 256;

/// The name of a header field (RFC 9110 §5.1), lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderName(String);

impl HeaderName {
    /// The name, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for HeaderName {
    const EXPECTED: &'static str = "the name of a header field, e.g. x-request-id";

    fn parse(text: &str) -> Result<Self, String> {
        // RFC 9110 §5.6.2: token.
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(token) {
            return Err(format!("is not {}", Self::EXPECTED));
        }
        let name = text.to_ascii_lowercase();
        // What frames a message or names its target is not free for other use.
        const TAKEN: &[&str] =
            &["connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"];
        if TAKEN.contains(&name.as_str()) {
            return Err("has a meaning of its own in HTTP".into());
        }
        Ok(Self(name))
    }
}

/// A path, or the beginning of one: starts with a slash, no query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UrlPath(String);

impl UrlPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is any path.
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }
}

impl fmt::Display for UrlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for UrlPath {
    const EXPECTED: &'static str = "a path that starts with a slash, e.g. /api";

    fn parse(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'%' | b'\\');
        if !text.starts_with('/') || text.len() > NAME_BYTES_MAX || !text.bytes().all(plain) {
            return Err(format!("is not {} (no query, no escapes)", Self::EXPECTED));
        }
        if text.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err("has a segment `.` or `..`, which no request is left with".into());
        }
        Ok(Self(text.into()))
    }
}

/// Hosts that a route serves, lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// One name or address.
    Exact(String),
    /// `*.name`, kept without the star: `.name`. One or more labels stand before it.
    Suffix(String),
}

impl HostPattern {
    /// Whether `host` (lower case, without port) is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
        }
    }
}

impl Value for HostPattern {
    const EXPECTED: &'static str = "a host without port, e.g. www.example.org, *.example.org or 192.0.2.1";

    fn parse(text: &str) -> Result<Self, String> {
        let text = text.to_ascii_lowercase();
        let wrong = || format!("is not {}", Self::EXPECTED);
        if let Some(name) = text.strip_prefix("*.") {
            return if is_host_name(name) { Ok(Self::Suffix(format!(".{name}"))) } else { Err(wrong()) };
        }
        let address = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if address.is_some_and(|address| address.parse::<core::net::Ipv6Addr>().is_ok())
            || is_host_name(&text)
        {
            return Ok(Self::Exact(text));
        }
        Err(wrong())
    }
}

/// Where lines of a log go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

impl Value for LogTarget {
    const EXPECTED: &'static str = "a path, `stdout` or `off`";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "stdout" => Ok(Self::Stdout),
            text => PathBuf::parse(text).map(Self::File),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_exactly_or_by_suffix_of_whole_labels() {
        let pattern = HostPattern::parse("*.Example.org").expect("pattern");
        assert_eq!(pattern.to_string(), "*.example.org");
        assert!(pattern.matches("a.example.org") && pattern.matches("a.b.example.org"));
        assert!(!pattern.matches("example.org") && !pattern.matches(".example.org"));
        assert!(!pattern.matches("badexample.org"));
        assert!(HostPattern::parse("[2001:db8::1]").expect("address").matches("[2001:db8::1]"));
        for wrong in ["", "*", "a:80", "*.*.org", "a..b", "[::1", "a b"] {
            assert!(HostPattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths_start_with_a_slash_and_hold_nothing_that_a_request_would_not() {
        for good in ["/", "/api", "/api/v1/", "/a.b"] {
            assert_eq!(UrlPath::parse(good).expect("path").as_str(), good);
        }
        for wrong in ["", "api", "/a?b", "/a b", "/a%20b", "/../a", "/a/.", "/a#b"] {
            assert!(UrlPath::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn header_names_are_tokens_that_http_leaves_free() {
        assert_eq!(HeaderName::parse("X-Request-ID").expect("name").as_str(), "x-request-id");
        for wrong in ["", "a b", "a:", "Host", "Transfer-Encoding", "ä"] {
            assert!(HeaderName::parse(wrong).is_err(), "{wrong}");
        }
    }
}
