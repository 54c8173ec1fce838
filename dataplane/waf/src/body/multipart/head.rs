//! The head of a part: its lines.
//!
//! Owns: folding, names of fields, repeated fields, and which line is `Content-Disposition`. Cost: each line is
//! looked at twice, once for the name of the part and once to be handed over with it; a line is copied only when it
//! is folded. Sources: RFC 7578 §4.8, RFC 5322 §2.2.
use memchr::{memchr, memchr2};

use super::{
    super::{BodyError, Event, Scratch, Sink, emit, is_space},
    LINES_MAX, Report, disposition,
};

const DISPOSITION: &[u8] = b"content-disposition";

/// The lines of a head, without the empty one.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) bytes: &'a [u8],
    /// Where it is in the body.
    pub(super) start: usize,
}

impl Head<'_> {
    /// Checks every line and, when the head is complete, leaves `name` and `filename` in the scratch. Whether it is
    /// a file.
    pub(super) fn read(
        &self,
        is_complete: bool,
        scratch: &mut Scratch,
        report: &mut Report,
        sink: &mut Sink<'_>,
    ) -> Result<bool, BodyError> {
        scratch.name.clear();
        scratch.value.clear();
        let mut names: [&[u8]; LINES_MAX] = [&[]; LINES_MAX];
        let mut count = 0;
        let mut disposition = None;
        let mut at = 0;
        while at < self.bytes.len() {
            let (line, next) = self.line(at);
            if memchr2(0, b'\r', line).is_some() {
                return Err(self.error("Multipart: NUL or CR byte in part headers", at));
            }
            if line.first().is_some_and(|byte| is_space(*byte)) {
                report.has_header_folding = true;
                let mut prefix = line.iter().take_while(|byte| is_space(**byte));
                report.has_invalid_header_folding |= prefix.any(|byte| !matches!(byte, b' ' | b'\t'));
                if count == 0 {
                    return Err(self.error("Multipart: Invalid part header (folding error)", at));
                }
            } else {
                let name = self.name(line, at)?;
                if names[..count].iter().any(|other| other.eq_ignore_ascii_case(name)) {
                    return Err(self.error("Multipart: Duplicate part header", at));
                }
                let Some(slot) = names.get_mut(count) else {
                    return Err(self.error("Multipart: Too many part headers", at));
                };
                *slot = name;
                count += 1;
                if name.eq_ignore_ascii_case(DISPOSITION) {
                    disposition = Some(at);
                }
            }
            at = next;
        }
        if !is_complete {
            return Ok(false);
        }
        let Some(at) = disposition else {
            return Err(self.error("Multipart: Part missing Content-Disposition header", 0));
        };
        self.disposition(at, scratch, report, sink)
    }

    /// Name and file name of the part, out of the line at `at`.
    fn disposition(
        &self,
        at: usize,
        scratch: &mut Scratch,
        report: &mut Report,
        sink: &mut Sink<'_>,
    ) -> Result<bool, BodyError> {
        let Scratch { name, value: filename, line, .. } = scratch;
        let (line, _) = self.unfolded(at, line);
        let value = line.get(DISPOSITION.len() + 1..).unwrap_or_default();
        let spaces = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let found = disposition::parse(&value[spaces..], name, filename, report);
        if !name.is_empty() {
            emit(sink, self.start + at, Event::PartName(name))?;
        }
        if !filename.is_empty() {
            emit(sink, self.start + at, Event::PartFilename(filename))?;
        }
        found.map_err(|message| self.error(message, at))?;
        if name.is_empty() {
            return Err(self.error("Multipart: Content-Disposition header missing name field", at));
        }
        // Crude parsers look for this text; what they would not find is not what it seems.
        if !filename.is_empty() && memchr::memmem::find(value, b"filename=").is_none() {
            return Err(self.error("Multipart: Invalid Content-Disposition header (filename)", at));
        }
        Ok(!filename.is_empty())
    }

    /// Hands every line over, unfolded, with the name of its part.
    pub(super) fn emit_lines(
        &self,
        part: &[u8],
        scratch: &mut Vec<u8>,
        sink: &mut Sink<'_>,
    ) -> Result<(), BodyError> {
        let mut at = 0;
        while at < self.bytes.len() {
            let (line, next) = self.unfolded(at, scratch);
            emit(sink, self.start + at, Event::PartHeader { part, line })?;
            at = next;
        }
        Ok(())
    }

    /// The line at `at` without its end, and where the next one begins.
    fn line(&self, at: usize) -> (&[u8], usize) {
        let rest = &self.bytes[at..];
        let (line, len) = match memchr(b'\n', rest) {
            Some(index) => (&rest[..index], index + 1),
            None => (rest, rest.len()),
        };
        (line.strip_suffix(b"\r").unwrap_or(line), at + len)
    }

    /// The line at `at` with all that continue it, joined by a space each, and where the next one begins.
    fn unfolded<'b>(&'b self, at: usize, scratch: &'b mut Vec<u8>) -> (&'b [u8], usize) {
        let (line, mut next) = self.line(at);
        let is_folded = |at: usize| self.bytes.get(at).is_some_and(|byte| is_space(*byte));
        if !is_folded(next) {
            return (line, next);
        }
        scratch.clear();
        scratch.extend_from_slice(line);
        while is_folded(next) {
            let (line, after) = self.line(next);
            let spaces = line.iter().take_while(|byte| is_space(**byte)).count();
            scratch.push(b' ');
            scratch.extend_from_slice(&line[spaces..]);
            next = after;
        }
        (scratch, next)
    }

    /// The name of a field, checked.
    fn name<'b>(&self, line: &'b [u8], at: usize) -> Result<&'b [u8], BodyError> {
        let Some(colon) = memchr(b':', line) else {
            return Err(self.error("Multipart: Invalid part header (colon missing)", at));
        };
        let name = &line[..colon];
        if name.is_empty() {
            return Err(self.error("Multipart: Invalid part header (header name missing)", at));
        }
        if !name.iter().all(u8::is_ascii_graphic) {
            return Err(self.error("Multipart: Invalid part header (contains invalid character)", at));
        }
        Ok(name)
    }

    const fn error(&self, message: &'static str, at: usize) -> BodyError {
        BodyError::new(message, self.start + at)
    }
}
