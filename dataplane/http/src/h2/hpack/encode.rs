//! Header blocks out, with the static table and literals only: no state, no search, nothing to keep per connection.
//!
//! Strings are written plain: Huffman coding would save a quarter of a response's head and cost more than writing it.

use super::{integer, static_table};

/// Longest name that is looked up; none in the table is longer.
const NAME_LEN_MAX: usize = 27;

/// Says that our table is empty and stays so, once, before the first block: whatever the client's
/// SETTINGS_HEADER_TABLE_SIZE is, this is below it (RFC 7541 §4.2).
pub(in super::super) fn table_size_zero(out: &mut Vec<u8>) {
    out.push(0x20);
}

/// `:status`.
pub(in super::super) fn status(status: u16, out: &mut Vec<u8>) {
    let index = match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => 0,
    };
    if index != 0 {
        return out.push(0x80 | index);
    }
    let digit = |number: u16| b'0' + (number % 10) as u8;
    out.extend_from_slice(&[0x08, 3, digit(status / 100), digit(status / 10), digit(status)]);
}

/// A field; its name is written in lower case (RFC 9113 §8.2). Cookies are marked as never to be indexed by
/// whoever passes them on.
pub(in super::super) fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let mut lower = [0; NAME_LEN_MAX];
    let index = match lower.get_mut(..name.len()) {
        Some(room) => {
            room.copy_from_slice(name);
            room.make_ascii_lowercase();
            static_table::index_of(room)
        }
        None => 0,
    };
    let first = if index == 55 { 0x10 } else { 0x00 };
    integer::encode(index, first, 4, out);
    if index == 0 {
        integer::encode(name.len(), 0, 7, out);
        out.extend(name.iter().map(u8::to_ascii_lowercase));
    }
    integer::encode(value.len(), 0, 7, out);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_the_table_is_one_byte_and_others_three_digits() {
        let mut out = Vec::new();
        status(404, &mut out);
        status(503, &mut out);
        assert_eq!(out, b"\x8d\x08\x03503");
    }

    #[test]
    fn names_are_written_in_lower_case() {
        let mut out = Vec::new();
        field(b"Content-Type", b"a/b", &mut out);
        field(b"X-A", b"1", &mut out);
        assert_eq!(out, b"\x0f\x10\x03a/b\x00\x03x-a\x011");
    }
}
