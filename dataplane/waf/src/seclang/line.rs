//! Bytes of a rule file into lines, and lines into words.
//!
//! Owns: continuation with `\`, comments, byte order mark, line ends, quotes; the line of the file for every byte of a
//! word. Does not own: what a word means.
//!
//! A line that ends with `\` goes on with the next one, whose leading blanks are dropped (as Coraza; Apache keeps
//! them). A comment never goes on. Inside double quotes `\"` is a quote, every other backslash stands for itself, so
//! that regular expressions arrive as written. Cost: one pass, one copy of each line and of each word.

use super::diagnostics::Fault;

/// Lines of a file, joined where they go on, without comments.
pub(super) struct Lines<'a> {
    rest: Option<&'a [u8]>,
    number: u32,
}

/// A joined line.
pub(super) struct Line {
    /// Line of the file on which it begins.
    pub(super) number: u32,
    text: String,
    /// Byte offset in `text` from which a line of the file holds.
    marks: Vec<(usize, u32)>,
}

/// A word of a line, quotes taken off.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) text: String,
    marks: Vec<(usize, u32)>,
}

impl Word {
    /// The line of the file for a byte of the text.
    pub(super) fn line(&self, at: usize) -> u32 {
        line_at(&self.marks, at)
    }
}

fn line_at(marks: &[(usize, u32)], at: usize) -> u32 {
    let after = marks.partition_point(|(offset, _)| *offset <= at);
    marks.get(after.saturating_sub(1)).map_or(0, |(_, line)| *line)
}

impl<'a> Lines<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: Some(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)), number: 0 }
    }

    fn physical(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let line = match memchr::memchr(b'\n', rest) {
            Some(end) => {
                let (line, after) = rest.split_at(end);
                self.rest = after.get(1..);
                line
            }
            None => {
                self.rest = None;
                rest
            }
        };
        self.number = self.number.saturating_add(1);
        Some(line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start())
    }
}

impl Iterator for Lines<'_> {
    /// Not UTF-8: the line's number.
    type Item = Result<Line, u32>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut piece = self.physical()?;
        while piece.is_empty() || piece.starts_with(b"#") {
            piece = self.physical()?;
        }
        let number = self.number;
        let mut bytes = Vec::new();
        let mut marks = vec![(0, number)];
        while let Some(head) = piece.strip_suffix(b"\\") {
            bytes.extend_from_slice(head);
            match self.physical() {
                Some(next) => {
                    marks.push((bytes.len(), self.number));
                    piece = next;
                }
                None => piece = b"",
            }
        }
        bytes.extend_from_slice(piece);
        Some(String::from_utf8(bytes).map(|text| Line { number, text, marks }).map_err(|_| number))
    }
}

impl Line {
    /// Line of the file for a byte of the joined text.
    pub(super) fn line(&self, at: usize) -> u32 {
        line_at(&self.marks, at)
    }

    /// Its words; an offset in an error is one of the joined line.
    pub(super) fn words(&self) -> Result<Vec<Word>, Fault> {
        let bytes = self.text.as_bytes();
        let mut words = Vec::new();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if byte.is_ascii_whitespace() {
                at += 1;
                continue;
            }
            let (word, end) = match byte {
                b'"' | b'\'' => self.quoted(at, *byte)?,
                _ => self.bare(at)?,
            };
            words.push(word);
            at = end;
        }
        Ok(words)
    }

    fn quoted(&self, open: usize, quote: u8) -> Result<(Word, usize), Fault> {
        let bytes = self.text.as_bytes();
        let close = closing(bytes, open + 1, quote).ok_or_else(|| {
            let name = if quote == b'"' { "double" } else { "single" };
            Fault::new(open, format!("the {name} quote is not closed"))
        })?;
        if bytes.get(close + 1).is_some_and(|byte| !byte.is_ascii_whitespace()) {
            return Err(Fault::new(
                close,
                "a closing quote must be followed by a blank or the end of the line",
            ));
        }
        Ok((self.cut(open + 1, close, Some(quote)), close + 1))
    }

    /// Up to a blank; blanks inside `:'...'` belong to it (`ARGS:'/a b/'`).
    fn bare(&self, start: usize) -> Result<(Word, usize), Fault> {
        let bytes = self.text.as_bytes();
        let mut at = start;
        while let Some(byte) = bytes.get(at) {
            if byte.is_ascii_whitespace() {
                break;
            }
            if *byte == b'\'' && at > start && bytes.get(at - 1) == Some(&b':') {
                at = closing(bytes, at + 1, b'\'')
                    .ok_or_else(|| Fault::new(at, "the single quote is not closed"))?;
            }
            at += 1;
        }
        Ok((self.cut(start, at, None), at))
    }

    fn cut(&self, start: usize, end: usize, quote: Option<u8>) -> Word {
        // Both ends stand beside ASCII bytes or at the ends of the text, so they are boundaries of characters.
        let piece = self.text.get(start..end).unwrap_or_default();
        let mut text = String::with_capacity(piece.len());
        let mut marks = vec![(0, self.line(start))];
        let mut next = self.marks.partition_point(|(offset, _)| *offset <= start);
        let mut characters = piece.char_indices().peekable();
        while let Some((offset, character)) = characters.next() {
            while let Some((_, line)) = self.marks.get(next).filter(|(mark, _)| *mark <= start + offset) {
                marks.push((text.len(), *line));
                next += 1;
            }
            let is_escape = character == '\\'
                && quote.is_some_and(|quote| {
                    characters.peek().is_some_and(|(_, following)| *following == char::from(quote))
                });
            if !is_escape {
                text.push(character);
            }
        }
        Word { text, marks }
    }
}

/// The quote that closes: one with an even number of backslashes before it.
pub(super) fn closing(bytes: &[u8], from: usize, quote: u8) -> Option<usize> {
    let mut is_escaped = false;
    for (offset, byte) in bytes.get(from..)?.iter().enumerate() {
        match byte {
            b'\\' => is_escaped = !is_escaped,
            byte if *byte == quote && !is_escaped => return Some(from + offset),
            _ => is_escaped = false,
        }
    }
    None
}
