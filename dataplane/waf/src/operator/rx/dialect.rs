//! PCRE's way of writing expressions, turned into that of the engines here.
//!
//! Owns: the spellings that mean the same in another way: literal braces and brackets, hyphens in classes, `\x{bc}`,
//! octal numbers, escapes of punctuation, `\h`, `\R`, `\Z`, `\e`. Does not own: what cannot be said in linear time
//! (look-around, back-references): [`needs_backtracking`] tells, and another engine runs it. Possessive quantifiers
//! and atomic groups are read as their greedy forms, which match at least as much. Source: pcre2pattern(3).

/// Whether the expression has look-around or back-references.
pub(super) fn needs_backtracking(pattern: &str) -> bool {
    let bytes = pattern.as_bytes();
    let (mut at, mut in_class) = (0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => {
                let next = bytes.get(at + 1).copied().unwrap_or_default();
                if !in_class && matches!(next, b'1'..=b'9' | b'k' | b'g') {
                    return true;
                }
                at += 1;
            }
            b'[' if !in_class => {
                in_class = true;
                at += class_head(&bytes[at + 1..]);
            }
            b']' => in_class = false,
            b'(' if !in_class => {
                let rest = &bytes[at + 1..];
                if ["?=", "?!", "?<=", "?<!"].iter().any(|look| rest.starts_with(look.as_bytes())) {
                    return true;
                }
            }
            _ => {}
        }
        at += 1;
    }
    false
}

/// Bytes after `[` that cannot end the class: `^`, and a `]` that comes first.
fn class_head(rest: &[u8]) -> usize {
    match rest {
        [b'^', b']', ..] => 2,
        [b'^' | b']', ..] => 1,
        _ => 0,
    }
}

/// The expression without its look-around and with back-references that match anything: whatever the expression
/// matches, this one matches too.
pub(super) fn relaxed(pattern: &str) -> String {
    let bytes = pattern.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let (mut at, mut in_class) = (0, false);
    while at < bytes.len() {
        let byte = bytes[at];
        match byte {
            b'\\' => {
                let next = bytes.get(at + 1).copied().unwrap_or_default();
                if !in_class && next.is_ascii_digit() && next != b'0' {
                    out.extend_from_slice(b"[\\s\\S]*?");
                } else {
                    out.extend_from_slice(&bytes[at..(at + 2).min(bytes.len())]);
                }
                at += 2;
                continue;
            }
            b'[' if !in_class => {
                in_class = true;
                let head = class_head(&bytes[at + 1..]);
                out.extend_from_slice(&bytes[at..=at + head]);
                at += head + 1;
                continue;
            }
            b']' => in_class = false,
            b'(' if !in_class => {
                let rest = &bytes[at + 1..];
                if ["?=", "?!", "?<=", "?<!"].iter().any(|look| rest.starts_with(look.as_bytes())) {
                    at = group_end(bytes, at);
                    out.extend_from_slice(b"(?:)");
                    continue;
                }
            }
            _ => {}
        }
        out.push(byte);
        at += 1;
    }
    String::from_utf8(out).unwrap_or_default()
}

/// Behind the group that opens at `at`.
fn group_end(bytes: &[u8], at: usize) -> usize {
    let (mut at, mut depth, mut in_class) = (at, 0_usize, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'[' if !in_class => {
                in_class = true;
                at += class_head(&bytes[at + 1..]);
            }
            b']' => in_class = false,
            b'(' if !in_class => depth += 1,
            b')' if !in_class => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The expression in the dialect of the engines here.
pub(super) fn rewritten(pattern: &str) -> String {
    let mut writer = Writer { rest: pattern, out: String::with_capacity(pattern.len() + 16) };
    while let Some(next) = writer.rest.chars().next() {
        match next {
            '\\' => writer.escape(false),
            '[' => writer.class(),
            '{' => writer.brace(),
            // Atomic groups give back nothing; read as plain ones they match at least as much.
            '(' if writer.rest.starts_with("(?>") => writer.replace(3, "(?:"),
            _ => writer.copy(next),
        }
    }
    writer.out
}

struct Writer<'a> {
    rest: &'a str,
    out: String,
}

impl Writer<'_> {
    fn copy(&mut self, next: char) {
        self.out.push(next);
        self.rest = &self.rest[next.len_utf8()..];
    }

    fn replace(&mut self, len: usize, by: &str) {
        self.out.push_str(by);
        self.rest = &self.rest[len..];
    }

    /// `{` is a quantifier only as `{n}`, `{n,}` or `{n,m}`, and behind something.
    fn brace(&mut self) {
        let inside = self.rest[1..].split_once('}').map(|(inside, _)| inside);
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_quantifier = inside.is_some_and(|inside| match inside.split_once(',') {
            Some((low, high)) => is_number(low) && (high.is_empty() || is_number(high)),
            None => is_number(inside),
        });
        if is_quantifier && !self.out.is_empty() {
            self.copy('{');
        } else {
            self.replace(1, "\\{");
        }
    }

    fn escape(&mut self, in_class: bool) {
        let Some(kind) = self.rest[1..].chars().next() else {
            return self.replace(1, "\\\\");
        };
        let after = &self.rest[1 + kind.len_utf8()..];
        let len = 1 + kind.len_utf8();
        match kind {
            'x' => self.hexadecimal(after),
            '0' => {
                let digits = after.bytes().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                let value = u8::from_str_radix(&self.rest[1..2 + digits], 8).unwrap_or(0);
                self.replace(2 + digits, &format!("\\x{value:02x}"));
            }
            'b' if in_class => self.replace(len, "\\x08"),
            'h' => self.replace(len, if in_class { "\\t " } else { "[\\t ]" }),
            'e' => self.replace(len, "\\x1b"),
            'Z' if !in_class => self.replace(len, "\\n?\\z"),
            'R' if !in_class => self.replace(len, "(?:\\r\\n|[\\n-\\r])"),
            _ if kind.is_ascii_alphanumeric() || regex_syntax::is_meta_character(kind) => {
                self.out.push('\\');
                self.out.push(kind);
                self.rest = after;
            }
            _ if kind.is_ascii() => self.replace(len, &format!("\\x{:02x}", kind as u32)),
            _ => self.replace(len, kind.encode_utf8(&mut [0; 4])),
        }
    }

    /// `\x{bc}`, or `\x` with up to two digits.
    fn hexadecimal(&mut self, after: &str) {
        let braced = after.strip_prefix('{').and_then(|inside| inside.split_once('}'));
        if let Some((digits, _)) = braced
            && (1..=2).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return self.replace(4 + digits.len(), &format!("\\x{digits:0>2}"));
        }
        let digits = after.bytes().take(2).take_while(u8::is_ascii_hexdigit).count();
        let text = format!("\\x{:0>2}", &after[..digits]);
        self.replace(2 + digits, &text);
    }

    /// A class: `[` and set operators are plain characters in PCRE, and so is a hyphen beside `\w` and its like.
    fn class(&mut self) {
        let head = class_head(&self.rest.as_bytes()[1..]);
        let begin = self.rest[..=head].replace("[]", "[\\]").replace("^]", "^\\]");
        self.replace(head + 1, &begin);
        let mut after_set = false;
        while let Some(next) = self.rest.chars().next() {
            let is_set = |text: &str| {
                let mut chars = text.chars();
                chars.next() == Some('\\')
                    && matches!(chars.next(), Some('w' | 'W' | 'd' | 'D' | 's' | 'S' | 'h'))
            };
            match next {
                ']' => return self.copy(next),
                '\\' => {
                    let set = is_set(self.rest);
                    self.escape(true);
                    after_set = set;
                    continue;
                }
                '[' if self.rest.starts_with("[:") && self.rest.contains(":]") => {
                    let end = self.rest.find(":]").map_or(self.rest.len(), |end| end + 2);
                    let name = self.rest[..end].to_owned();
                    self.replace(end, &name);
                    after_set = true;
                    continue;
                }
                '[' => self.replace(1, "\\["),
                '&' | '~' => {
                    let escaped = format!("\\{next}");
                    self.replace(1, &escaped);
                }
                '-' if after_set || is_set(&self.rest[1..]) || self.rest.starts_with("--") => {
                    self.replace(1, "\\-");
                }
                _ => self.copy(next),
            }
            after_set = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_turned() {
        for (pattern, expected) in [
            (r"\x{bc}a\x{a}", r"\xbca\x0a"),
            (r"{{.*?}}", r"\{\{.*?}}"),
            (r"a{2}b{2,}c{2,3}d{,3}", r"a{2}b{2,}c{2,3}d\{,3}"),
            (r"[^(![\x5c\]{}]+", r"[^(!\[\x5c\]{}]+"),
            (r"[]a]", r"[\]a]"),
            (r"[^]a]", r"[^\]a]"),
            (r"[\w-.]", r"[\w\-.]"),
            (r"[a-z&&b]", r"[a-z\&\&b]"),
            (r"[[:alpha:]-]", r"[[:alpha:]\-]"),
            (r"(?>a+)", r"(?:a+)"),
            (r"a\/b\<", r"a\x2fb\x3c"),
            (r"\012[\b]", r"\x0a[\x08]"),
        ] {
            assert_eq!(rewritten(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn look_around_and_references_are_seen() {
        for pattern in ["(?=a)", "(?!a)b", "(?<=a)", "(?<!a)", r"(a)\1"] {
            assert!(needs_backtracking(pattern), "{pattern}");
        }
        for pattern in [r"a\\1", r"[(?=]", "(?:a)", "(?i:b)", r"\(?=", r"[\1]"] {
            assert!(!needs_backtracking(pattern), "{pattern}");
        }
        assert_eq!(relaxed(r"<\?(?!xml(?:a|[)]))b(c)\1"), r"<\?(?:)b(c)[\s\S]*?");
    }
}
