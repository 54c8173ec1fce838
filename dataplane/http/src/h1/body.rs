//! Bodies: where data lies in what arrives, and where the message ends (RFC 9112 §6-7).
//!
//! Owns: the state between two pieces of input. Takes everything it is given up to the message's end, so the
//! caller keeps nothing back. Allocates only when a trailer section arrives.
use std::ops::Range;

use super::BodyKind;
use crate::{error::Error, head::Fields, limits::Limits};

/// What a piece of input holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Data of the body at this place of the input; everything before its end is consumed. Call again with the rest.
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
    left: u64,
}

impl Decoder {
    /// A reader for a body of this kind.
    pub fn new(kind: BodyKind, limits: &Limits) -> Self {
        let _ = (kind, limits);
        Self { left: 0 }
    }

    /// Reads on.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, Error> {
        let _ = input;
        Ok(Step::NeedMore)
    }

    /// The peer ended its side: fine for `UntilClose` and for what has ended, [`Error::Truncated`] otherwise.
    pub fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Whether the message has ended.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Bytes still to come, when that is known.
    pub fn remaining(&self) -> Option<u64> {
        Some(self.left)
    }

    /// The trailer section, once the message has ended; without fields that may not stand there.
    pub fn trailers(&self) -> Option<&Fields> {
        None
    }
}
