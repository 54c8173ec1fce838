//! HPACK (RFC 7541): header lists as indexes, literals and Huffman codes.
//!
//! Owns: both tables, the decoder with its bounds, an encoder without state. Does not own: what fields mean.
//! Memory: the decoder's dynamic table, at most `header_table_bytes` and an index of 8 bytes per entry; the
//! encoder keeps nothing (it only uses the static table and says so to the client with its first block).

mod decode;
mod encode;
mod huffman;
mod integer;
mod static_table;
mod table;

pub(super) use decode::Decoder;
pub(super) use encode::{field, status, table_size_zero};

/// A header block that RFC 7541 does not allow; the connection cannot go on, its tables differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;
