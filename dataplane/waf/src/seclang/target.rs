//! What a rule looks at: `ARGS|!ARGS:/^id_/|&REQUEST_HEADERS:Host|XML:/*`.
//!
//! Owns: the grammar of targets, and which variables of other engines are refused or empty here. Does not own: values.
//!
//! Sources: ModSecurity reference manual v3, "Variables"; ModSecurity's regression tests (`.` parts name and member as
//! `:` does).

use super::ast::{Selector, Target};
use super::diagnostics::{Fault, quoted, unknown};
use super::line::closing;
use crate::limits::{PATTERN_BYTES_MAX, TARGETS_MAX};
use crate::variable::{Kind, Variable};

/// Variables of other engines, and why a rule that asks them is refused: it would never match.
const REFUSED: &[(&str, &str)] = &[
    ("MSC_PCRE_ERROR", "regular expressions run in linear time and cannot fail"),
    ("MSC_PCRE_LIMITS_EXCEEDED", "regular expressions run in linear time and have no match limit"),
    ("WEBSERVER_ERROR_LOG", "there is no web server's error log"),
    ("STREAM_INPUT_BODY", "use REQUEST_BODY"),
    ("STREAM_OUTPUT_BODY", "use RESPONSE_BODY"),
    ("SCRIPT_BASENAME", "there are no scripts on a proxy"),
    ("SCRIPT_FILENAME", "there are no scripts on a proxy"),
    ("SCRIPT_GID", "there are no scripts on a proxy"),
    ("SCRIPT_GROUPNAME", "there are no scripts on a proxy"),
    ("SCRIPT_MODE", "there are no scripts on a proxy"),
    ("SCRIPT_UID", "there are no scripts on a proxy"),
    ("SCRIPT_USERNAME", "there are no scripts on a proxy"),
];

/// Variables that hold nothing here, and why: rules that ask them are told to the operator.
pub(super) const fn empty_reason(variable: Variable) -> Option<&'static str> {
    match variable {
        Variable::Geo => Some("GEO: holds nothing, there is no geographic database"),
        Variable::FilesTmpnames => Some("FILES_TMPNAMES: holds nothing, uploads are not written to disk"),
        Variable::FilesTmpContent => {
            Some("FILES_TMP_CONTENT: holds nothing, uploads are not written to disk")
        }
        _ => None,
    }
}

/// All targets of a rule.
pub(super) fn parse(text: &str) -> Result<Vec<Target>, Fault> {
    let mut targets = Vec::new();
    let mut cursor = Cursor { text, at: 0 };
    loop {
        if targets.len() >= TARGETS_MAX {
            return Err(Fault::new(cursor.at, format!("more than {TARGETS_MAX} targets")));
        }
        targets.push(cursor.target()?);
        cursor.skip_blanks();
        match cursor.peek() {
            None => return Ok(targets),
            Some(b'|' | b',') => cursor.at += 1,
            Some(_) => {
                let rest = quoted(cursor.rest());
                return Err(Fault::new(cursor.at, format!("targets must be parted by '|', found {rest}")));
            }
        }
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let taken = self.rest().get(..bytes).unwrap_or_default();
        self.at += bytes;
        taken
    }

    fn target(&mut self) -> Result<Target, Fault> {
        self.skip_blanks();
        let (mut is_count, mut is_exclusion) = (false, false);
        while let Some(flag @ (b'!' | b'&')) = self.peek() {
            let seen = if flag == b'!' { &mut is_exclusion } else { &mut is_count };
            if std::mem::replace(seen, true) {
                return Err(Fault::new(self.at, format!("'{}' stands twice", char::from(flag))));
            }
            self.at += 1;
        }
        if is_count && is_exclusion {
            return Err(Fault::new(self.at, "a target is excluded ('!') or counted ('&'), not both"));
        }
        let at = self.at;
        let len = self.rest().find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let name = self.take(len.unwrap_or(self.rest().len()));
        let variable = variable(name).map_err(|message| Fault::new(at, message))?;
        let selector = match self.peek() {
            Some(b':' | b'.') => {
                self.at += 1;
                self.selector(variable)?
            }
            _ => Selector::All,
        };
        if variable.kind() == Kind::Single && selector != Selector::All {
            return Err(Fault::new(at, format!("{} has no members to choose from", variable.name())));
        }
        Ok(Target { variable, selector, is_count, is_exclusion })
    }

    fn selector(&mut self, variable: Variable) -> Result<Selector, Fault> {
        let at = self.at;
        let selector = match self.peek() {
            Some(b'\'') => {
                let close = closing(self.text.as_bytes(), self.at + 1, b'\'')
                    .ok_or_else(|| Fault::new(at, "the single quote is not closed"))?;
                let inner = self.text.get(at + 1..close).unwrap_or_default();
                self.at = close + 1;
                let inner = inner.replace("\\'", "'");
                match inner.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
                    Some(pattern) if variable != Variable::Xml => Selector::Pattern(pattern.to_owned()),
                    _ => Selector::Name(inner),
                }
            }
            Some(b'/') if variable != Variable::Xml => self.pattern()?,
            _ => {
                let len = name_len(self.rest(), variable);
                Selector::Name(self.take(len).trim_ascii_end().to_owned())
            }
        };
        match &selector {
            Selector::Name(name) if name.is_empty() => {
                Err(Fault::new(at, format!("{} is followed by ':' and no name", variable.name())))
            }
            Selector::Pattern(pattern) if pattern.len() > PATTERN_BYTES_MAX => {
                Err(Fault::new(at, format!("the pattern has more than {PATTERN_BYTES_MAX} bytes")))
            }
            _ => Ok(selector),
        }
    }

    /// `/pattern/`: ends at a slash without backslash that is followed by a separator or nothing. `\/` stays as it is:
    /// a regular expression takes it for a slash.
    fn pattern(&mut self) -> Result<Selector, Fault> {
        let at = self.at;
        let bytes = self.text.as_bytes();
        let mut from = at + 1;
        while let Some(close) = closing(bytes, from, b'/') {
            if bytes
                .get(close + 1)
                .is_none_or(|byte| matches!(byte, b'|' | b',') || byte.is_ascii_whitespace())
            {
                let pattern = self.text.get(at + 1..close).unwrap_or_default();
                self.at = close + 1;
                return Ok(Selector::Pattern(pattern.to_owned()));
            }
            from = close + 1;
        }
        Err(Fault::new(at, "the pattern is not closed by '/'"))
    }
}

fn variable(name: &str) -> Result<Variable, String> {
    if name.is_empty() {
        return Err("a target is missing".into());
    }
    if let Some((refused, why)) = REFUSED.iter().find(|(refused, _)| refused.eq_ignore_ascii_case(name)) {
        return Err(format!("{refused} is not supported: {why}"));
    }
    Variable::from_name(name)
        .ok_or_else(|| unknown("variable", name, Variable::ALL.iter().map(|variable| variable.name())))
}

/// Bytes up to the separator; in a path of XML those in brackets and quotes belong to it.
fn name_len(text: &str, variable: Variable) -> usize {
    let mut depth = 0_usize;
    let mut quote = None;
    for (offset, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            (_, b'\'' | b'"') if variable == Variable::Xml => quote = Some(byte),
            (_, b'[' | b'(') if variable == Variable::Xml => depth += 1,
            (_, b']' | b')') if variable == Variable::Xml => depth = depth.saturating_sub(1),
            (_, b'|' | b',') if depth == 0 => return offset,
            _ => {}
        }
    }
    text.len()
}
