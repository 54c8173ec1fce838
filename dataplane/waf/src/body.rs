//! Request data taken apart: queries, forms, cookies, multipart, JSON, XML.
//!
//! Owns: what the parsers of [`urlencoded`], [`cookies`], [`multipart`], [`json`] and [`xml`] share: the [`Event`]s
//! they hand over, the [`Scratch`] they decode into, the [`BodyError`] they end with. Does not own: where values are
//! kept and how many of them may be; a transaction decides that and ends a parser with [`ControlFlow::Break`].
//!
//! Every parser works on a whole slice, front to back, once. None allocates once its [`Scratch`] is warm; [`xml`] is
//! the exception and says why.
//!
//! Parsers that disagree about the same bytes are how attacks get past a firewall. So these are strict: what a
//! lenient origin could read in another way is an error or a flag, and what was read up to there has been handed
//! over.

pub mod cookies;
#[doc(hidden)]
pub mod fuzz;
pub mod json;
pub mod multipart;
pub mod urlencoded;
pub mod xml;

use std::ops::ControlFlow;

/// One thing that a parser found. Slices live as long as the call that hands them over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// `ARGS`, `ARGS_NAMES`: a parameter of a query or a form, a part that is no file, a value of JSON.
    Argument {
        /// Decoded; may be empty.
        name: &'a [u8],
        /// Decoded; may be empty.
        value: &'a [u8],
    },
    /// `REQUEST_COOKIES`, `REQUEST_COOKIES_NAMES`.
    Cookie {
        /// As sent, without white space around it.
        name: &'a [u8],
        /// As sent, without white space around it.
        value: &'a [u8],
    },
    /// `MULTIPART_NAME`: `name` of a part, decoded.
    PartName(&'a [u8]),
    /// `MULTIPART_FILENAME`: `filename` of a part, decoded.
    PartFilename(&'a [u8]),
    /// `MULTIPART_PART_HEADERS`: a line of the head of a part.
    PartHeader {
        /// `name` of the part; empty when the part is refused.
        part: &'a [u8],
        /// Name, colon and value, folded lines joined by a space, without its end.
        line: &'a [u8],
    },
    /// `FILES`, `FILES_NAMES`, `FILES_SIZES`, `FILES_COMBINED_SIZE`.
    File {
        /// `name` of the part.
        field: &'a [u8],
        /// `filename` of the part.
        filename: &'a [u8],
        /// What is uploaded.
        content: &'a [u8],
    },
    /// Text of XML between two tags, CDATA and references included, without white space around it; not empty.
    XmlText(&'a [u8]),
    /// Value of an attribute of XML.
    XmlAttribute(&'a [u8]),
    /// All text of an XML document in one value, as XPath's `/*` reads it; once, last, when there is any.
    XmlContent(&'a [u8]),
}

/// Takes what a parser finds; [`ControlFlow::Break`] ends the parser with [`LIMIT_REACHED`].
pub type Sink<'s> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 's;

/// Message of the [`BodyError`] of a parser that its sink stopped.
pub const LIMIT_REACHED: &str = "limit of arguments reached";

/// Why a body could not be taken apart: `REQBODY_ERROR_MSG`, `REQBODY_PROCESSOR_ERROR_MSG`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at byte {at}")]
pub struct BodyError {
    /// In words, without anything of the body.
    pub message: &'static str,
    /// Where in the input, bytes.
    pub at: usize,
}

impl BodyError {
    const fn new(message: &'static str, at: usize) -> Self {
        Self { message, at }
    }
}

/// Memory that parsers decode into, to be used again and again. It grows to the longest value seen, so at most to the
/// length of the longest body plus that of a path of JSON.
#[derive(Debug, Default)]
pub struct Scratch {
    name: Vec<u8>,
    value: Vec<u8>,
    line: Vec<u8>,
    levels: Vec<json::Level>,
}

impl Scratch {
    /// Bytes that it holds on to.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.name.capacity()
            + self.value.capacity()
            + self.line.capacity()
            + self.levels.capacity() * size_of::<json::Level>()
    }
}

/// Hands one event over.
fn emit(sink: &mut Sink<'_>, at: usize, event: Event<'_>) -> Result<(), BodyError> {
    match sink(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(BodyError::new(LIMIT_REACHED, at)),
    }
}

/// White space as C's `isspace` has it.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// Without white space at both ends.
fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_space(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}

/// The value of a hexadecimal digit.
const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
