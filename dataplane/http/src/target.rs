//! What a path would mean to an origin that decodes it: for checks and routing, never for what is forwarded.
//!
//! [`Resolved::resolve`] decodes once, resolves dot segments as the most generous origin would (backslash and encoded
//! slash separate, `;parameters` are cut) and says what it [found](Finding) on the way. The request keeps its target
//! unless the caller sets another; [`encode`] writes one that means the resolved path and nothing else.
//! Sections: RFC 3986 §5.2.4 and §6.2.2; overlong forms: RFC 3629 §10.
//! Cost: one pass for a path without surprises; no allocation once warm.
use std::fmt;

/// Something about a path that origins may read differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Finding {
    /// `%` without two hex digits after it.
    BadPercent,
    /// `\`, plain or encoded: a separator on some systems.
    Backslash,
    /// An encoded control byte other than NUL.
    Control,
    /// A `.` or `..` segment in plain.
    DotSegment,
    /// `%25` before two hex digits: decoded twice, it means something else.
    DoubleEncoded,
    /// A `..` segment that shows up when decoded twice.
    DoubleEncodedDots,
    /// `//`.
    EmptySegment,
    /// A `.` or `..` segment with an encoded dot or beside an encoded slash.
    EncodedDotSegment,
    /// `%2f`.
    EncodedSlash,
    /// More `..` than segments before them.
    EscapesRoot,
    /// Bytes that are no UTF-8.
    InvalidUtf8,
    /// `%00`, also when decoded twice.
    Nul,
    /// A character in more bytes than it needs: `%c0%af` for a slash.
    Overlong,
    /// `..;x`: a dot segment for servers that cut parameters.
    ParameterDotSegment,
    /// `%uXXXX`.
    UnicodePercent,
}

impl Finding {
    /// All.
    pub const ALL: &'static [Self] = &[
        Self::BadPercent,
        Self::Backslash,
        Self::Control,
        Self::DotSegment,
        Self::DoubleEncoded,
        Self::DoubleEncodedDots,
        Self::EmptySegment,
        Self::EncodedDotSegment,
        Self::EncodedSlash,
        Self::EscapesRoot,
        Self::InvalidUtf8,
        Self::Nul,
        Self::Overlong,
        Self::ParameterDotSegment,
        Self::UnicodePercent,
    ];

    /// For logs and counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadPercent => "bad_percent",
            Self::Backslash => "backslash",
            Self::Control => "control",
            Self::DotSegment => "dot_segment",
            Self::DoubleEncoded => "double_encoded",
            Self::DoubleEncodedDots => "double_encoded_dots",
            Self::EmptySegment => "empty_segment",
            Self::EncodedDotSegment => "encoded_dot_segment",
            Self::EncodedSlash => "encoded_slash",
            Self::EscapesRoot => "escapes_root",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::Nul => "nul",
            Self::Overlong => "overlong",
            Self::ParameterDotSegment => "parameter_dot_segment",
            Self::UnicodePercent => "unicode_percent",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// A set of findings.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Findings(u16);

impl Findings {
    /// What no ordinary client sends and what traversal needs: refused unless a route says otherwise. Plain dot
    /// segments that stay below the root, double slashes, encoded slashes and double encoding are not among them.
    pub const HOSTILE: Self = Self(
        Finding::Backslash.bit()
            | Finding::BadPercent.bit()
            | Finding::Control.bit()
            | Finding::DoubleEncodedDots.bit()
            | Finding::EncodedDotSegment.bit()
            | Finding::EscapesRoot.bit()
            | Finding::Nul.bit()
            | Finding::Overlong.bit()
            | Finding::ParameterDotSegment.bit()
            | Finding::UnicodePercent.bit(),
    );

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it holds this one.
    pub const fn contains(self, finding: Finding) -> bool {
        self.0 & finding.bit() != 0
    }

    /// Those that are in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it holds one of [`Findings::HOSTILE`].
    pub const fn is_hostile(self) -> bool {
        self.0 & Self::HOSTILE.0 != 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Finding> {
        Finding::ALL.iter().copied().filter(move |finding| self.contains(*finding))
    }

    fn add(&mut self, finding: Finding) {
        self.0 |= finding.bit();
    }
}

impl FromIterator<Finding> for Findings {
    fn from_iter<T: IntoIterator<Item = Finding>>(findings: T) -> Self {
        Self(findings.into_iter().fold(0, |bits, finding| bits | finding.bit()))
    }
}

impl fmt::Debug for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Finding::name)).finish()
    }
}

/// A path as an origin may understand it. Reuse it: it keeps its room.
#[derive(Debug, Clone, Default)]
pub struct Resolved {
    path: Vec<u8>,
    decoded: Vec<u8>,
    findings: Findings,
}

impl Resolved {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The decoded path without dot segments and empty segments; begins with `/`, except for `*`.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// What was found in the path that came.
    pub fn findings(&self) -> Findings {
        self.findings
    }

    /// Resolves a path as it came (`Request::path`, without the query).
    pub fn resolve(&mut self, path: &[u8]) {
        self.path.clear();
        self.findings = Findings::default();
        if is_plain(path) {
            self.path.extend_from_slice(path);
            return;
        }
        let mut findings = Findings::default();
        decode(path, &mut self.decoded, &mut findings);
        check_utf8(&self.decoded, &mut findings);
        self.find_segments(path, &mut findings);
        if findings.contains(Finding::DoubleEncoded) {
            self.decode_again(&mut findings);
        }
        self.findings = findings;
    }

    /// Resolves the segments of `decoded` into `path`.
    fn find_segments(&mut self, raw: &[u8], findings: &mut Findings) {
        let is_separator = |byte: &u8| matches!(byte, b'/' | b'\\');
        let mut segments = self.decoded.split(is_separator).peekable();
        let mut has_dots = false;
        // What comes before the first slash is empty.
        segments.next_if(|segment| segment.is_empty());
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
            let is_dots = matches!(name, b"." | b"..");
            has_dots |= is_dots;
            if is_dots && name.len() < segment.len() {
                findings.add(Finding::ParameterDotSegment);
            }
            if name == b".." {
                let parent = self.path.iter().rposition(|byte| *byte == b'/');
                if parent.is_none() {
                    findings.add(Finding::EscapesRoot);
                }
                self.path.truncate(parent.unwrap_or_default());
            } else if segment.is_empty() && !is_last {
                findings.add(Finding::EmptySegment);
            } else if !is_dots && !segment.is_empty() {
                self.path.push(b'/');
                self.path.extend_from_slice(segment);
            }
            if is_last && (is_dots || segment.is_empty()) {
                self.path.push(b'/');
            }
        }
        if has_dots {
            let plain = raw.split(|byte| *byte == b'/').filter(|segment| is_dot_segment(segment)).count();
            let all = self.decoded.split(is_separator).filter(|segment| is_dot_segment(segment)).count();
            if plain > 0 {
                findings.add(Finding::DotSegment);
            }
            if all > plain {
                findings.add(Finding::EncodedDotSegment);
            }
        }
    }

    /// What a server that decodes twice would find.
    fn decode_again(&self, findings: &mut Findings) {
        let mut again = Vec::with_capacity(self.decoded.len());
        decode(&self.decoded, &mut again, &mut Findings::default());
        let dots = |bytes: &[u8]| {
            bytes.split(|byte| matches!(byte, b'/' | b'\\')).filter(|segment| is_dot_segment(segment)).count()
        };
        if dots(&again) > dots(&self.decoded) {
            findings.add(Finding::DoubleEncodedDots);
        }
        if memchr::memchr(0, &again).is_some() {
            findings.add(Finding::Nul);
        }
    }
}

fn is_dot_segment(segment: &[u8]) -> bool {
    matches!(segment.split(|byte| *byte == b';').next(), Some(b"." | b".."))
}

/// Whether nothing in the path can be read in two ways: no `%`, `\`, bytes over 0x7e, `//`, `/.`.
fn is_plain(path: &[u8]) -> bool {
    let mut last = 0;
    for byte in path {
        let is_surprise = matches!(byte, b'%' | b'\\' | 0x7f.. | ..=0x20);
        if is_surprise || (last == b'/' && matches!(byte, b'/' | b'.')) {
            return false;
        }
        last = *byte;
    }
    true
}

/// Percent-decodes; what is no percent-encoding stays as it is.
fn decode(path: &[u8], decoded: &mut Vec<u8>, findings: &mut Findings) {
    decoded.clear();
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            if *byte == b'\\' {
                findings.add(Finding::Backslash);
            }
            decoded.push(*byte);
            continue;
        }
        let (value, consumed) = match after {
            [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                ((hex(*high) << 4) | hex(*low), 2)
            }
            [b'u' | b'U', digits @ ..]
                if digits.len() >= 4 && digits.iter().take(4).all(u8::is_ascii_hexdigit) =>
            {
                findings.add(Finding::UnicodePercent);
                (b'%', 0)
            }
            _ => {
                findings.add(Finding::BadPercent);
                (b'%', 0)
            }
        };
        rest = after.get(consumed..).unwrap_or_default();
        if consumed == 2 {
            note_encoded(value, rest, findings);
        }
        decoded.push(value);
    }
}

/// What an encoded byte may be for.
fn note_encoded(value: u8, rest: &[u8], findings: &mut Findings) {
    match value {
        0 => findings.add(Finding::Nul),
        b'/' => findings.add(Finding::EncodedSlash),
        b'\\' => findings.add(Finding::Backslash),
        ..=0x1f | 0x7f => findings.add(Finding::Control),
        b'%' if matches!(rest, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()) => {
            findings.add(Finding::DoubleEncoded);
        }
        _ => {}
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Overlong forms are a subset of what is no UTF-8 (RFC 3629 §10).
fn check_utf8(decoded: &[u8], findings: &mut Findings) {
    if std::str::from_utf8(decoded).is_ok() {
        return;
    }
    findings.add(Finding::InvalidUtf8);
    let is_overlong = decoded.windows(2).any(|pair| {
        matches!(
            pair,
            [0xc0 | 0xc1, 0x80..=0xbf] | [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f] | [0xf8 | 0xfc, _]
        )
    });
    if is_overlong {
        findings.add(Finding::Overlong);
    }
}

/// Writes a decoded path as one that decodes to it: bytes that a path may not hold as they are, and `%`, encoded.
pub fn encode(path: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in path {
        let is_plain = byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(byte);
        if is_plain {
            out.push(*byte);
        } else {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]];
            out.push(b'%');
            out.extend_from_slice(&digits);
        }
    }
}

#[cfg(test)]
mod tests;
