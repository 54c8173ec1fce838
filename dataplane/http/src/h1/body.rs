//! Bodies: where data lies in what arrives, and where the message ends (RFC 9112 §6-7).
//!
//! Owns: the state between two pieces of input. Takes everything it is given up to the message's end, so the
//! caller keeps nothing back. Does not own: how large a body may be, and how slow.
//! Cost: data is found, not copied; allocates only when a trailer section arrives.
//!
//! ```text
//! Length    -> Done                                  Size -> (Extension ->) SizeEnd -> Data -> DataCr -> DataLf
//! UntilClose (the connection's end is the body's)     ^                       | size 0                    |
//!                                                     +-----------------------|---------------------------+
//!                                                                             +-> Trailer -> Done
//! ```
mod extension;
mod trailer;

use std::ops::Range;

use self::{extension::Extension, trailer::Section};
use super::BodyKind;
use crate::{error::Error, head::Fields, limits::Limits};

/// Hex digits of a chunk size at most: more cannot be a size below 2^63, and parsers differ on what they do then.
const SIZE_DIGITS_MAX: u8 = 16;
/// Largest chunk: sums of ours never wrap.
const CHUNK_SIZE_MAX: u64 = i64::MAX as u64;

/// What a piece of input holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Data of the body at this place of the input, never empty; everything before its end is consumed. Call again
    /// with what follows it.
    Data(Range<usize>),
    /// The message ends after this many bytes of the input: what follows is the next message.
    End {
        /// Bytes that belonged to this message.
        consumed: usize,
    },
    /// All of the input is consumed and holds no more data.
    NeedMore,
}

/// Reads one body.
#[derive(Debug, Clone)]
pub struct Decoder {
    state: State,
    /// Data left of the body or of the chunk; while a size is read, the size so far.
    left: u64,
    /// Bytes of the chunk-size line under way.
    line_bytes: u16,
    line_bytes_max: u16,
    digits: u8,
    trailers_max: u16,
    /// Extension bytes that this body may still carry.
    extension_bytes_left: u32,
    trailer_bytes_max: u32,
    section: Option<Box<Section>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Length,
    UntilClose,
    Size,
    Extension(Extension),
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    /// After the last chunk: an empty line ends the message, anything else begins a trailer section.
    TrailerStart,
    TrailerEnd,
    Trailer,
    Done,
}

impl Decoder {
    /// A reader for a body of this kind.
    pub fn new(kind: BodyKind, limits: &Limits) -> Self {
        let (state, left) = match kind {
            BodyKind::None | BodyKind::Length(0) => (State::Done, 0),
            BodyKind::Length(length) => (State::Length, length),
            BodyKind::Chunked => (State::Size, 0),
            BodyKind::UntilClose => (State::UntilClose, 0),
        };
        Self {
            state,
            left,
            line_bytes: 0,
            line_bytes_max: limits.chunk_line_bytes_max,
            digits: 0,
            trailers_max: limits.trailers_max,
            extension_bytes_left: limits.chunk_extension_bytes_max,
            trailer_bytes_max: limits.trailer_bytes_max,
            section: None,
        }
    }

    /// Reads on. After an error the body is of no more use, and neither is its connection.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, Error> {
        let mut at = 0;
        loop {
            match self.state {
                State::Done => return Ok(Step::End { consumed: at }),
                State::Length | State::Data => {
                    let available = input.len() - at;
                    let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(available);
                    if len == 0 {
                        return Ok(Step::NeedMore);
                    }
                    self.take_data(len as u64);
                    return Ok(Step::Data(at..at + len));
                }
                State::UntilClose if at < input.len() => return Ok(Step::Data(at..input.len())),
                State::UntilClose => return Ok(Step::NeedMore),
                _ => {}
            }
            let Some(byte) = input.get(at) else {
                return Ok(Step::NeedMore);
            };
            at += 1;
            self.take_framing(*byte)?;
        }
    }

    /// The peer ended its side: fine for `UntilClose` and for what has ended, [`Error::Truncated`] otherwise.
    pub fn finish(&mut self) -> Result<(), Error> {
        match self.state {
            State::UntilClose | State::Done => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(Error::Truncated),
        }
    }

    /// Whether the message has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes still to come, when the head said how many.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length => Some(self.left),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// The trailer section, once the message has ended; without fields that may not stand there.
    pub fn trailers(&self) -> Option<&Fields> {
        let section = self.section.as_deref().filter(|_| self.is_done())?;
        Some(section.fields()).filter(|fields| !fields.is_empty())
    }

    /// The same, to change before they are forwarded.
    pub fn trailers_mut(&mut self) -> Option<&mut Fields> {
        let is_done = self.is_done();
        Some(self.section.as_deref_mut().filter(|_| is_done)?.fields_mut())
    }

    fn take_data(&mut self, len: u64) {
        self.left -= len;
        if self.left == 0 {
            self.state = if self.state == State::Data { State::DataCr } else { State::Done };
        }
    }

    /// One byte that is not data.
    fn take_framing(&mut self, byte: u8) -> Result<(), Error> {
        self.state = match self.state {
            State::Size => self.take_size(byte)?,
            State::Extension(extension) => self.take_extension(extension, byte)?,
            State::SizeEnd if byte != b'\n' => return Err(Error::BareLineEnd),
            State::SizeEnd if self.left == 0 => State::TrailerStart,
            State::SizeEnd => State::Data,
            State::DataCr if byte == b'\r' => State::DataLf,
            State::DataLf if byte == b'\n' => {
                self.digits = 0;
                self.line_bytes = 0;
                State::Size
            }
            State::DataCr | State::DataLf => return Err(Error::ChunkEnd),
            State::TrailerStart if byte == b'\r' => State::TrailerEnd,
            State::TrailerEnd if byte == b'\n' => State::Done,
            State::TrailerEnd => return Err(Error::BareLineEnd),
            State::TrailerStart | State::Trailer => {
                let (bytes_max, count_max) = (self.trailer_bytes_max, self.trailers_max);
                let section = self.section.get_or_insert_default();
                if section.take(byte, bytes_max, count_max)? { State::Done } else { State::Trailer }
            }
            state @ (State::Length | State::UntilClose | State::Data | State::Done) => state,
        };
        Ok(())
    }

    fn take_size(&mut self, byte: u8) -> Result<State, Error> {
        self.count_line_byte()?;
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.digits > 0 => return Ok(State::SizeEnd),
            b';' if self.digits > 0 => return Ok(State::Extension(Extension::START)),
            b'\n' => return Err(Error::BareLineEnd),
            _ => return Err(Error::ChunkSize),
        };
        self.digits += 1;
        self.left = (self.left << 4) | u64::from(digit);
        if self.digits > SIZE_DIGITS_MAX || self.left > CHUNK_SIZE_MAX {
            return Err(Error::ChunkSizeOverflow);
        }
        Ok(State::Size)
    }

    fn take_extension(&mut self, extension: Extension, byte: u8) -> Result<State, Error> {
        self.count_line_byte()?;
        let left = self.extension_bytes_left.checked_sub(1).ok_or(Error::ChunkExtension)?;
        self.extension_bytes_left = left;
        let next = extension.take(byte)?;
        Ok(next.map_or(State::SizeEnd, State::Extension))
    }

    fn count_line_byte(&mut self) -> Result<(), Error> {
        self.line_bytes = self.line_bytes.saturating_add(1);
        if self.line_bytes > self.line_bytes_max { Err(Error::ChunkExtension) } else { Ok(()) }
    }
}
