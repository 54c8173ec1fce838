//! `multipart/form-data` taken apart, strictly.
//!
//! Owns: lines, boundaries, what is before, between and after them, and the [`Report`] that becomes `MULTIPART_*`.
//! Does not own: the boundary's own checks ([`boundary`]), the head of a part ([`head`]), `Content-Disposition`
//! ([`disposition`]).
//!
//! As ModSecurity v2 and v3: what is an error there is one here, what is flagged there is flagged here. Stricter: a
//! CR that is not before LF in the head of a part, a quoted string without its end, a repeated parameter whose first
//! value is empty. When a part is refused, its lines are still handed over (with an empty part name), so that rules
//! can name the reason. An upload whose `filename` is empty is an argument, so that its content is looked at.
//!
//! Cost: one search for line ends, one for the boundary; contents are not copied. Sources: RFC 7578, RFC 2046 §5.1,
//! ModSecurity reference manual, "MULTIPART_STRICT_ERROR" and the variables after it.
use memchr::{memchr, memmem};

use super::{BodyError, Event, LIMIT_REACHED, Scratch, Sink, emit, is_space};
use crate::variable::Variable;

mod boundary;
mod disposition;
mod head;

/// Most parts: forms have tens; each costs a few events.
pub const PARTS_MAX: usize = 4_096;
/// Most bytes of the head of a part, folds counted: ModSecurity takes lines of 4,096.
pub const HEAD_BYTES_MAX: usize = 8 << 10;
/// Longest line of the head of a part, bytes: as ModSecurity.
pub const LINE_BYTES_MAX: usize = 4_096;
/// Most lines of the head of a part: each name is compared with all before it. Browsers send two.
pub const LINES_MAX: usize = 32;

/// What was noticed besides the parts: `MULTIPART_*`. Also right when an error is returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Parsing ended with an error.
    pub is_error: bool,
    /// The boundary is quoted.
    pub is_boundary_quoted: bool,
    /// White space around `=` of the boundary.
    pub has_boundary_whitespace: bool,
    /// No semicolon before the boundary.
    pub is_semicolon_missing: bool,
    /// Bytes before the first boundary.
    pub has_data_before: bool,
    /// Bytes after the last boundary.
    pub has_data_after: bool,
    /// A field of a part is folded.
    pub has_header_folding: bool,
    /// It is folded with something else than space and tab.
    pub has_invalid_header_folding: bool,
    /// A part without a name.
    pub has_invalid_part: bool,
    /// Single quotes, or quotes that do not end where they should.
    pub has_invalid_quoting: bool,
    /// A line that ends with CR LF.
    pub has_crlf_line: bool,
    /// A line that ends with LF.
    pub has_lf_line: bool,
    /// More files than allowed.
    pub is_file_limit_exceeded: bool,
    /// 1: something looks like a boundary and is none. 2: so, and a boundary follows.
    pub unmatched_boundary: u8,
}

impl Report {
    /// `MULTIPART_STRICT_ERROR`: as ModSecurity, without `MULTIPART_UNMATCHED_BOUNDARY`, which has a rule of its own.
    #[must_use]
    pub const fn is_strict_error(&self) -> bool {
        self.is_error
            || self.is_boundary_quoted
            || self.has_boundary_whitespace
            || self.is_semicolon_missing
            || self.has_data_before
            || self.has_data_after
            || self.has_header_folding
            || self.has_invalid_header_folding
            || self.has_invalid_part
            || self.has_invalid_quoting
            || self.has_lf_line
            || self.is_file_limit_exceeded
    }

    /// The value of one of the `MULTIPART_*` variables that hold a number.
    #[must_use]
    pub const fn value(&self, variable: Variable) -> Option<u8> {
        Some(match variable {
            Variable::MultipartStrictError => self.is_strict_error() as u8,
            Variable::MultipartUnmatchedBoundary => self.unmatched_boundary,
            Variable::MultipartBoundaryQuoted => self.is_boundary_quoted as u8,
            Variable::MultipartBoundaryWhitespace => self.has_boundary_whitespace as u8,
            Variable::MultipartMissingSemicolon => self.is_semicolon_missing as u8,
            Variable::MultipartDataBefore => self.has_data_before as u8,
            Variable::MultipartDataAfter => self.has_data_after as u8,
            Variable::MultipartHeaderFolding => self.has_header_folding as u8,
            Variable::MultipartInvalidHeaderFolding => self.has_invalid_header_folding as u8,
            Variable::MultipartInvalidPart => self.has_invalid_part as u8,
            Variable::MultipartInvalidQuoting => self.has_invalid_quoting as u8,
            Variable::MultipartCrlfLfLines => (self.has_crlf_line && self.has_lf_line) as u8,
            Variable::MultipartLfLine => self.has_lf_line as u8,
            Variable::MultipartFileLimitExceeded => self.is_file_limit_exceeded as u8,
            _ => return None,
        })
    }
}

/// Hands over names, heads, arguments and files of all parts.
///
/// `content_type` is the whole field; `files_max` is what `SecUploadFileLimit` says: more are flagged and still
/// handed over.
///
/// # Errors When `content_type` names no boundary that is beyond doubt, or the body is not what it says; when the
/// sink stops it.
pub fn parse(
    content_type: &[u8],
    body: &[u8],
    files_max: usize,
    scratch: &mut Scratch,
    report: &mut Report,
    sink: &mut Sink<'_>,
) -> Result<(), BodyError> {
    *report = Report::default();
    let result = boundary::parse(content_type, report).and_then(|boundary| {
        if body.is_empty() {
            return Ok(());
        }
        // Without the two hyphens, which would need a copy; they are looked for where it is found.
        let finder = memmem::Finder::new(boundary);
        let next = finder.find(body);
        let state = State::Before;
        Parser {
            body,
            boundary,
            finder,
            next,
            files_max,
            files: 0,
            parts: 0,
            state,
            scratch,
            report: &mut *report,
        }
        .parse(sink)
    });
    report.is_error = result.is_err();
    result
}

/// Where a line is.
#[derive(Clone, Copy)]
enum State {
    /// Before the first boundary.
    Before,
    /// In the head of a part that began at `start`.
    Head { start: usize },
    /// In the content of a part that began at `start`.
    Content { start: usize, is_file: bool },
}

struct Parser<'a> {
    body: &'a [u8],
    boundary: &'a [u8],
    finder: memmem::Finder<'a>,
    /// Where the boundary occurs next, not before the current line.
    next: Option<usize>,
    files_max: usize,
    files: usize,
    /// Boundaries seen.
    parts: usize,
    state: State,
    scratch: &'a mut Scratch,
    report: &'a mut Report,
}

impl Parser<'_> {
    fn parse(&mut self, sink: &mut Sink<'_>) -> Result<(), BodyError> {
        let mut at = 0;
        while at < self.body.len() {
            let rest = &self.body[at..];
            let line = &rest[..memchr(b'\n', rest).map_or(rest.len(), |index| index + 1)];
            let end = at + line.len();
            match self.delimiter(line, at)? {
                Some(is_final) => {
                    self.end_part(at, sink)?;
                    if is_final {
                        self.report.has_data_after = end < self.body.len();
                        return Ok(());
                    }
                    if self.parts > PARTS_MAX {
                        return Err(BodyError::new("Multipart: Too many parts", at));
                    }
                    self.state = State::Head { start: end };
                }
                None => self.line(line, at, sink)?,
            }
            at = end;
        }
        if let State::Head { start } = self.state {
            self.head(start, at, false, sink)?;
        }
        let message = if self.parts > 0 {
            "Multipart: Final boundary missing"
        } else {
            "Multipart: No boundaries found in payload"
        };
        Err(BodyError::new(message, at))
    }

    /// A line that is no boundary.
    fn line(&mut self, line: &[u8], at: usize, sink: &mut Sink<'_>) -> Result<(), BodyError> {
        match self.state {
            State::Before => self.report.has_data_before = true,
            State::Head { start } => {
                if line.len() > LINE_BYTES_MAX || at - start > HEAD_BYTES_MAX {
                    return Err(BodyError::new("Multipart: Part header too long", at));
                }
                self.note_line_end(line);
                if matches!(line, b"\r\n" | b"\n") {
                    let is_file = self.head(start, at, true, sink)?;
                    self.state = State::Content { start: at + line.len(), is_file };
                }
            }
            State::Content { .. } => {}
        }
        Ok(())
    }

    fn note_line_end(&mut self, line: &[u8]) {
        if line.ends_with(b"\r\n") {
            self.report.has_crlf_line = true;
        } else {
            self.report.has_lf_line = true;
        }
    }

    /// Whether a line is a boundary, and if so whether the final one. Flags what looks like one.
    fn delimiter(&mut self, line: &[u8], at: usize) -> Result<Option<bool>, BodyError> {
        let end = at + line.len();
        // Whether the boundary is in this line with two hyphens in front. It has no line end in it, so never spans
        // two.
        let mut occurs = false;
        while let Some(found) = self.next.filter(|found| *found < end) {
            occurs |= found >= at + 2 && self.body[..found].ends_with(b"--");
            let from = if occurs { end } else { found + 1 };
            self.next = self.finder.find(&self.body[from..]).map(|index| from + index);
        }
        // Three bytes are too few: `--` and LF.
        if line.len() <= 3 || !line.starts_with(b"--") {
            if occurs {
                self.report.unmatched_boundary = 1;
            }
            return Ok(None);
        }
        let Some(rest) = line[2..].strip_prefix(self.boundary) else {
            self.report.unmatched_boundary = 1;
            return self.almost(line, at).map_or(Ok(None), Err);
        };
        let (rest, is_final) = rest.strip_prefix(b"--").map_or((rest, false), |rest| (rest, true));
        match rest {
            b"\r\n" | b"\n" => self.note_line_end(line),
            // The body may end with the final boundary.
            b"" if is_final => {}
            b"" => return Ok(None),
            _ => return Err(BodyError::new("Multipart: Invalid boundary", at)),
        }
        if self.parts > 0 && self.report.unmatched_boundary != 0 {
            self.report.unmatched_boundary = 2;
        }
        self.parts += 1;
        Ok(Some(is_final))
    }

    /// A line that a lenient parser could take for a boundary.
    fn almost(&self, line: &[u8], at: usize) -> Option<BodyError> {
        let rest = &line[2..];
        if self.report.is_boundary_quoted
            && rest.strip_prefix(b"\"").is_some_and(|rest| rest.starts_with(self.boundary))
        {
            return Some(BodyError::new("Multipart: Invalid boundary (quotes)", at));
        }
        let spaces = rest.iter().take_while(|byte| is_space(**byte)).count();
        if spaces > 0 && rest[spaces..].starts_with(self.boundary) {
            return Some(BodyError::new("Multipart: Invalid boundary (whitespace)", at));
        }
        None
    }

    /// Reads the head of a part. Whether it is a file.
    fn head(
        &mut self,
        start: usize,
        end: usize,
        is_complete: bool,
        sink: &mut Sink<'_>,
    ) -> Result<bool, BodyError> {
        let head = head::Head { bytes: &self.body[start..end], start };
        let found = head.read(is_complete, self.scratch, self.report, sink);
        if found.is_err_and(|error| error.message == LIMIT_REACHED) {
            return found;
        }
        let part = if found.is_ok() { &self.scratch.name[..] } else { &[] };
        head.emit_lines(part, &mut self.scratch.line, sink)?;
        found
    }

    /// A boundary at `at` ends what was before it.
    fn end_part(&mut self, at: usize, sink: &mut Sink<'_>) -> Result<(), BodyError> {
        match self.state {
            State::Before => Ok(()),
            State::Head { start } => {
                self.report.has_invalid_part = true;
                self.head(start, at, false, sink).map(|_| ())
            }
            State::Content { start, is_file } => {
                // The line end before a boundary belongs to the boundary.
                let content = &self.body[start..at];
                let content = content.strip_suffix(b"\n").unwrap_or(content);
                let content = content.strip_suffix(b"\r").unwrap_or(content);
                let Scratch { name, value, .. } = &*self.scratch;
                if !is_file {
                    return emit(sink, start, Event::Argument { name, value: content });
                }
                self.files += 1;
                self.report.is_file_limit_exceeded |= self.files > self.files_max;
                emit(sink, start, Event::File { field: name, filename: value, content })
            }
        }
    }
}

#[cfg(test)]
mod tests;
