//! Transformations: what a rule does to a value before it asks.
//!
//! Owns: the words, their names, and which bytes each needs to do anything. Each word has its file, with its vectors
//! and with what it does where ModSecurity 3 and Coraza disagree; siblings share one. Does not own: caching, or
//! order.
//!
//! Cost: linear in input and output; a buffer that has been as long before is not allocated again.

mod ascii_case;
mod base64;
mod cmd_line;
mod css_decode;
mod digit;
mod escape_seq_decode;
#[doc(hidden)]
pub mod fuzz;
mod hash;
mod hex;
mod html_entity_decode;
mod js_decode;
mod length;
mod normalize_path;
mod nulls;
mod parity;
mod remove_comments;
mod remove_comments_char;
mod replace_comments;
mod sql_hex_decode;
mod trim;
mod unicode_map;
mod url_decode;
mod url_decode_uni;
mod url_encode;
mod utf8_to_unicode;
mod whitespace;

use crate::{byte_set::ByteSet, named::named, seclang::settings::UnicodeMap};

named! {
    /// A transformation (ModSecurity reference manual, "Transformation functions").
    Transformation;
    /// Base64, strictly: stops at the first byte that is not of the alphabet.
    Base64Decode = "base64Decode";
    /// Base64, forgiving: passes over bytes that are not of the alphabet.
    Base64DecodeExt = "base64DecodeExt";
    /// Into base64.
    Base64Encode = "base64Encode";
    /// Undoes what shells ignore.
    CmdLine = "cmdLine";
    /// White space becomes one space.
    CompressWhitespace = "compressWhitespace";
    /// Undoes CSS escapes.
    CssDecode = "cssDecode";
    /// Undoes ANSI C escapes.
    EscapeSeqDecode = "escapeSeqDecode";
    /// From hexadecimal.
    HexDecode = "hexDecode";
    /// Into hexadecimal.
    HexEncode = "hexEncode";
    /// Undoes HTML entities.
    HtmlEntityDecode = "htmlEntityDecode";
    /// Undoes JavaScript escapes.
    JsDecode = "jsDecode";
    /// The length as a number.
    Length = "length";
    /// ASCII to lower case.
    Lowercase = "lowercase";
    /// MD5, raw bytes.
    Md5 = "md5";
    /// Removes `//`, `/./` and `/../`.
    NormalizePath = "normalizePath" | "normalisePath";
    /// The same, with backslashes turned.
    NormalizePathWin = "normalizePathWin" | "normalisePathWin";
    /// Even parity in the eighth bit.
    ParityEven7bit = "parityEven7bit";
    /// Odd parity in the eighth bit.
    ParityOdd7bit = "parityOdd7bit";
    /// The eighth bit is cleared.
    ParityZero7bit = "parityZero7bit";
    /// Removes comments.
    RemoveComments = "removeComments";
    /// Removes the characters of comments.
    RemoveCommentsChar = "removeCommentsChar";
    /// Removes NUL bytes.
    RemoveNulls = "removeNulls";
    /// Removes white space.
    RemoveWhitespace = "removeWhitespace";
    /// Comments become a space.
    ReplaceComments = "replaceComments";
    /// NUL bytes become spaces.
    ReplaceNulls = "replaceNulls";
    /// SHA-1, raw bytes.
    Sha1 = "sha1";
    /// `0x41` of SQL becomes `A`.
    SqlHexDecode = "sqlHexDecode";
    /// White space at both ends is removed.
    Trim = "trim";
    /// At the left.
    TrimLeft = "trimLeft";
    /// At the right.
    TrimRight = "trimRight";
    /// ASCII to upper case.
    Uppercase = "uppercase";
    /// Undoes percent-encoding, `+` included.
    UrlDecode = "urlDecode";
    /// The same, and `%uHHHH`.
    UrlDecodeUni = "urlDecodeUni";
    /// Into percent-encoding.
    UrlEncode = "urlEncode";
    /// UTF-8 becomes `%uHHHH`.
    Utf8ToUnicode = "utf8toUnicode";
}

/// White space of C (`isspace`).
const SPACES: ByteSet = ByteSet::of(b" \t\n\x0b\x0c\r");

/// Where the first byte of the set stands.
#[inline]
fn position(bytes: &[u8], set: &ByteSet) -> Option<usize> {
    bytes.iter().position(|&byte| set.contains(byte))
}

impl Transformation {
    /// Bytes without any of which the output equals the input: a value whose presence map does not meet this set need
    /// not be transformed. [`ByteSet::ALL`] where every value may change (for some of these also the empty value:
    /// [`changes_empty`](Self::changes_empty)).
    #[must_use]
    pub const fn touches(self) -> ByteSet {
        match self {
            Self::Base64Decode | Self::Base64DecodeExt | Self::Base64Encode => base64::TOUCHES,
            Self::CmdLine => cmd_line::TOUCHES,
            Self::CompressWhitespace | Self::RemoveWhitespace => whitespace::TOUCHES,
            Self::CssDecode => css_decode::TOUCHES,
            Self::EscapeSeqDecode => escape_seq_decode::TOUCHES,
            Self::HexDecode | Self::HexEncode => hex::TOUCHES,
            Self::HtmlEntityDecode => html_entity_decode::TOUCHES,
            Self::JsDecode => js_decode::TOUCHES,
            Self::Length => length::TOUCHES,
            Self::Lowercase => ascii_case::LOWER_TOUCHES,
            Self::Md5 | Self::Sha1 => hash::TOUCHES,
            Self::NormalizePath => normalize_path::TOUCHES,
            Self::NormalizePathWin => normalize_path::WIN_TOUCHES,
            Self::ParityEven7bit => parity::EVEN_TOUCHES,
            Self::ParityOdd7bit => parity::ODD_TOUCHES,
            Self::ParityZero7bit => parity::ZERO_TOUCHES,
            Self::RemoveComments => remove_comments::TOUCHES,
            Self::RemoveCommentsChar => remove_comments_char::TOUCHES,
            Self::RemoveNulls | Self::ReplaceNulls => nulls::TOUCHES,
            Self::ReplaceComments => replace_comments::TOUCHES,
            Self::SqlHexDecode => sql_hex_decode::TOUCHES,
            Self::Trim | Self::TrimLeft | Self::TrimRight => trim::TOUCHES,
            Self::Uppercase => ascii_case::UPPER_TOUCHES,
            Self::UrlDecode => url_decode::TOUCHES,
            Self::UrlDecodeUni => url_decode_uni::TOUCHES,
            Self::UrlEncode => url_encode::TOUCHES,
            Self::Utf8ToUnicode => utf8_to_unicode::TOUCHES,
        }
    }

    /// Whether even the empty value changes.
    #[must_use]
    pub const fn changes_empty(self) -> bool {
        matches!(self, Self::Length | Self::Md5 | Self::Sha1)
    }

    /// Most bytes of the output for an input of so many, for memory budgets.
    #[must_use]
    pub const fn output_bytes_max(self, input: usize) -> usize {
        match self {
            Self::Base64Encode => base64::encoded_bytes(input),
            Self::CssDecode => css_decode::output_bytes_max(input),
            Self::HexEncode => input.saturating_mul(2),
            Self::Length => length::DIGITS_MAX,
            Self::Md5 => hash::MD5_BYTES,
            Self::Sha1 => hash::SHA1_BYTES,
            Self::UrlEncode => input.saturating_mul(3),
            Self::Utf8ToUnicode => input.saturating_mul(utf8_to_unicode::GROWTH),
            _ => input,
        }
    }

    /// Writes the result into `out`, which is cleared first and whose room is used again. Yields whether it differs
    /// from the input; when not, `out` may hold anything.
    pub fn apply(self, input: &[u8], unicode_map: Option<&UnicodeMap>, out: &mut Vec<u8>) -> bool {
        out.clear();
        match self {
            Self::Base64Decode => base64::decode(input, out),
            Self::Base64DecodeExt => base64::decode_ext(input, out),
            Self::Base64Encode => base64::encode(input, out),
            Self::CmdLine => cmd_line::apply(input, out),
            Self::CompressWhitespace => whitespace::compress(input, out),
            Self::CssDecode => css_decode::apply(input, out),
            Self::EscapeSeqDecode => escape_seq_decode::apply(input, out),
            Self::HexDecode => hex::decode(input, out),
            Self::HexEncode => hex::encode(input, out),
            Self::HtmlEntityDecode => html_entity_decode::apply(input, out),
            Self::JsDecode => js_decode::apply(input, out),
            Self::Length => length::apply(input, out),
            Self::Lowercase => ascii_case::lower(input, out),
            Self::Md5 => hash::md5(input, out),
            Self::NormalizePath => normalize_path::apply(input, out),
            Self::NormalizePathWin => normalize_path::apply_win(input, out),
            Self::ParityEven7bit => parity::even(input, out),
            Self::ParityOdd7bit => parity::odd(input, out),
            Self::ParityZero7bit => parity::zero(input, out),
            Self::RemoveComments => remove_comments::apply(input, out),
            Self::RemoveCommentsChar => remove_comments_char::apply(input, out),
            Self::RemoveNulls => nulls::remove(input, out),
            Self::RemoveWhitespace => whitespace::remove(input, out),
            Self::ReplaceComments => replace_comments::apply(input, out),
            Self::ReplaceNulls => nulls::replace(input, out),
            Self::Sha1 => hash::sha1(input, out),
            Self::SqlHexDecode => sql_hex_decode::apply(input, out),
            Self::Trim => trim::both(input, out),
            Self::TrimLeft => trim::left(input, out),
            Self::TrimRight => trim::right(input, out),
            Self::Uppercase => ascii_case::upper(input, out),
            Self::UrlDecode => url_decode::apply(input, out),
            Self::UrlDecodeUni => url_decode_uni::apply(input, unicode_map, out),
            Self::UrlEncode => url_encode::apply(input, out),
            Self::Utf8ToUnicode => utf8_to_unicode::apply(input, out),
        }
        out.as_slice() != input
    }
}

/// Asks a word for the result of each input, and whether all that must hold of every word does.
#[cfg(test)]
fn check(word: Transformation, cases: &[(&[u8], &[u8])]) {
    let mut out = Vec::new();
    for &(input, expected) in cases {
        let is_changed = fuzz::check(word, input, None, &mut out);
        let found = if is_changed { out.as_slice() } else { input };
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert_eq!(text(found), text(expected), "{word:?} of \"{}\"", text(input));
    }
}

/// What a chain of words makes of a value.
#[cfg(test)]
fn apply_chain(words: &[Transformation], input: &[u8]) -> Vec<u8> {
    let mut value = input.to_vec();
    let mut out = Vec::new();
    for word in words {
        if word.apply(&value, None, &mut out) {
            core::mem::swap(&mut value, &mut out);
        }
    }
    value
}
