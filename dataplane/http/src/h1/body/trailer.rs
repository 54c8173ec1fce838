//! Trailer sections (RFC 9112 §7.1.2): collected up to their limit, then split as fields of a head are.
//!
//! Owns: the section's limits and its fields, kept apart from those of the head: a trailer is never merged into them.
//! Does not own: what may stand there (`head::Field::may_trail`); the rest is dropped.
use crate::{
    error::Error,
    h1::parse::{Source, index_fields},
    head::Fields,
    limits::FIELDS_CEILING,
};

/// A trailer section under way, and its fields once it has ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Section {
    raw: Vec<u8>,
    line_start: usize,
    fields: Fields,
}

impl Section {
    /// Takes one byte; whether the section has ended with it.
    pub(super) fn take(&mut self, byte: u8, bytes_max: u32, count_max: u16) -> Result<bool, Error> {
        if self.raw.len() >= bytes_max as usize {
            return Err(Error::TrailerBytes);
        }
        self.raw.push(byte);
        if byte != b'\n' {
            return Ok(false);
        }
        let Some([line @ .., b'\r', b'\n']) = self.raw.get(self.line_start..) else {
            return Err(Error::BareLineEnd);
        };
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(Error::FieldFolded);
        }
        let is_end = line.is_empty();
        self.line_start = self.raw.len();
        if is_end {
            self.split(count_max)?;
        }
        Ok(is_end)
    }

    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }

    pub(super) fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    fn split(&mut self, count_max: u16) -> Result<(), Error> {
        let mut slots = [httparse::EMPTY_HEADER; FIELDS_CEILING];
        let slots = slots.get_mut(..usize::from(count_max)).unwrap_or_default();
        let (len, headers) = match httparse::parse_headers(&self.raw, slots) {
            Ok(httparse::Status::Complete(split)) => split,
            Ok(httparse::Status::Partial) => return Err(Error::FieldName),
            Err(httparse::Error::TooManyHeaders) => return Err(Error::TrailersCount),
            Err(httparse::Error::HeaderValue) => return Err(Error::FieldValue),
            Err(_) => return Err(Error::FieldName),
        };
        if len != self.raw.len() {
            return Err(Error::FieldName);
        }
        let base = self.fields.push_bytes(&self.raw).start;
        index_fields(headers, Source { block: &self.raw, base }, &mut self.fields);
        self.fields.drop_forbidden_trailers();
        Ok(())
    }
}
