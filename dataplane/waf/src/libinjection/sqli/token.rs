//! A token of SQL, and its kinds.

/// Longest text that a token keeps, bytes.
pub(super) const TEXT_BYTES_MAX: usize = 31;

pub(super) const KEYWORD: u8 = b'k';
pub(super) const UNION: u8 = b'U';
pub(super) const GROUP: u8 = b'B';
pub(super) const EXPRESSION: u8 = b'E';
pub(super) const SQL_TYPE: u8 = b't';
pub(super) const FUNCTION: u8 = b'f';
pub(super) const BAREWORD: u8 = b'n';
pub(super) const NUMBER: u8 = b'1';
pub(super) const VARIABLE: u8 = b'v';
pub(super) const STRING: u8 = b's';
pub(super) const OPERATOR: u8 = b'o';
pub(super) const LOGIC_OPERATOR: u8 = b'&';
pub(super) const COMMENT: u8 = b'c';
pub(super) const COLLATE: u8 = b'A';
pub(super) const LEFT_PARENTHESIS: u8 = b'(';
pub(super) const RIGHT_PARENTHESIS: u8 = b')';
pub(super) const LEFT_BRACE: u8 = b'{';
pub(super) const RIGHT_BRACE: u8 = b'}';
pub(super) const DOT: u8 = b'.';
pub(super) const COMMA: u8 = b',';
pub(super) const COLON: u8 = b':';
pub(super) const SEMICOLON: u8 = b';';
pub(super) const TSQL: u8 = b'T';
pub(super) const UNKNOWN: u8 = b'?';
/// What cannot be read the same way by all databases.
pub(super) const EVIL: u8 = b'X';
pub(super) const BACKSLASH: u8 = b'\\';

/// A token; kind 0 is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Token {
    pub(super) kind: u8,
    len: u8,
    /// The quote it opened with, 0 for none.
    pub(super) open: u8,
    /// The quote it closed with, 0 for none.
    pub(super) close: u8,
    /// How many `@` a variable has.
    pub(super) ats: u8,
    text: [u8; TEXT_BYTES_MAX + 1],
}

impl Token {
    /// Takes a kind and a text, of which the first 31 bytes are kept.
    pub(super) fn assign(&mut self, kind: u8, text: &[u8]) {
        let len = text.len().min(TEXT_BYTES_MAX);
        self.kind = kind;
        self.len = len as u8;
        self.text[..len].copy_from_slice(&text[..len]);
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text[..usize::from(self.len).min(TEXT_BYTES_MAX)]
    }

    /// The byte at an index of the text, 0 past its end.
    pub(super) fn byte(&self, index: usize) -> u8 {
        self.text().get(index).copied().unwrap_or(0)
    }

    /// Whether the text is this word, in any case.
    pub(super) fn is(&self, word: &[u8]) -> bool {
        self.text().eq_ignore_ascii_case(word)
    }

    pub(super) const fn is_one_of(&self, kinds: &[u8]) -> bool {
        let mut index = 0;
        while index < kinds.len() {
            if kinds[index] == self.kind {
                return true;
            }
            index += 1;
        }
        false
    }

    pub(super) fn is_arithmetic_operator(&self) -> bool {
        self.kind == OPERATOR && matches!(self.text(), [b'*' | b'/' | b'-' | b'+' | b'%'])
    }

    pub(super) fn is_unary_operator(&self) -> bool {
        self.kind == OPERATOR
            && (matches!(self.text(), [b'+' | b'-' | b'!' | b'~'] | [b'!', b'!']) || self.is(b"NOT"))
    }
}
