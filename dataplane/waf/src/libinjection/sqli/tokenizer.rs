//! Cuts a value into tokens of SQL, as several databases read it at once.
//!
//! Owns: [`Tokenizer`], one parser for each class of first byte. Does not own: which kinds words have
//! ([`super::words`]), or what becomes of the tokens ([`super::fold`]).
//!
//! As in C, a NUL byte belongs to every set of bytes that is searched for, since the sets are C strings there.

mod number;

use memchr::{memchr, memmem};

use super::{
    token::{
        BACKSLASH, BAREWORD, COLON, COMMENT, EVIL, FUNCTION, NUMBER, OPERATOR, STRING, TEXT_BYTES_MAX, Token,
        UNKNOWN, VARIABLE,
    },
    words,
};

/// What the value stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quote {
    None,
    Single,
    Double,
}

/// How comments are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Ansi,
    MySql,
}

/// Reads tokens one by one.
#[derive(Debug)]
pub(super) struct Tokenizer<'a> {
    text: &'a [u8],
    at: usize,
    quote: Quote,
    dialect: Dialect,
    /// Tokens read.
    pub(super) tokens: usize,
    /// Whether the value would be read otherwise in MySQL: it has `#`, or `--` without white space behind.
    pub(super) differs_in_mysql: bool,
}

impl<'a> Tokenizer<'a> {
    pub(super) const fn new(text: &'a [u8], quote: Quote, dialect: Dialect) -> Self {
        Self { text, at: 0, quote, dialect, tokens: 0, differs_in_mysql: false }
    }

    /// The next token; false at the end.
    pub(super) fn next(&mut self, token: &mut Token) -> bool {
        *token = Token::default();
        if self.text.is_empty() {
            return false;
        }
        let quote = match self.quote {
            Quote::None => 0,
            Quote::Single => b'\'',
            Quote::Double => b'"',
        };
        if self.at == 0 && quote != 0 {
            self.at = self.string(token, 0, quote, 0);
            self.tokens += 1;
            return true;
        }
        while let Some(&byte) = self.text.get(self.at) {
            self.at = self.parse(byte, token);
            if token.kind != 0 {
                self.tokens += 1;
                return true;
            }
        }
        false
    }

    /// Reads what begins with `byte`, and yields where it ends.
    fn parse(&mut self, byte: u8, token: &mut Token) -> usize {
        match byte {
            0..=b' ' | 0x7f | 0xa0 => self.at + 1,
            b'!' | b'&' | b'*' | b':' | b'<' | b'=' | b'>' | b'|' => self.long_operator(token),
            b'"' | b'\'' => self.string(token, self.at, byte, 1),
            b'#' => self.hash(token),
            b'$' => self.money(token),
            b'%' | b'+' | b'^' | b'~' => self.one(token, OPERATOR),
            b'(' | b')' | b',' | b';' | b'{' | b'}' => self.one(token, byte),
            b'-' => self.dash(token),
            b'.' | b'0'..=b'9' => self.number(token),
            b'/' => self.slash(token),
            b'?' | b']' => self.one(token, UNKNOWN),
            b'@' => self.variable(token),
            b'B' | b'b' => self.digits_in_quotes(token, |byte| matches!(byte, b'0' | b'1')),
            b'E' | b'e' => self.escaped_string(token),
            b'N' | b'n' => self.national_string(token),
            b'Q' | b'q' => self.oracle_string(token, self.at),
            b'U' | b'u' => self.unicode_string(token),
            b'X' | b'x' => self.digits_in_quotes(token, |byte| byte.is_ascii_hexdigit()),
            b'[' => self.bracket_word(token),
            b'\\' => self.backslash(token),
            b'`' => self.tick(token),
            b'A'..=b'Z' | b'a'..=b'z' | b'_' | 0x80.. => self.word(token),
        }
    }

    /// The byte `ahead` of where we are.
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    /// The text from `from` on; empty past the end.
    fn rest(&self, from: usize) -> &'a [u8] {
        self.text.get(from..).unwrap_or_default()
    }

    fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        self.text.get(from..to).unwrap_or_default()
    }

    /// One byte is the token.
    fn one(&self, token: &mut Token, kind: u8) -> usize {
        token.assign(kind, self.slice(self.at, self.at + 1));
        self.at + 1
    }

    fn to_end_of_line(&self, token: &mut Token) -> usize {
        let rest = self.rest(self.at);
        match memchr(b'\n', rest) {
            Some(len) => {
                token.assign(COMMENT, &rest[..len]);
                self.at + len + 1
            }
            None => {
                token.assign(COMMENT, rest);
                self.text.len()
            }
        }
    }

    /// `#` is an operator, in MySQL a comment.
    fn hash(&mut self, token: &mut Token) -> usize {
        self.differs_in_mysql = true;
        match self.dialect {
            Dialect::MySql => self.to_end_of_line(token),
            Dialect::Ansi => self.one(token, OPERATOR),
        }
    }

    /// `--` is a comment, in MySQL only with white space or the end behind it.
    fn dash(&mut self, token: &mut Token) -> usize {
        if self.peek(1) != Some(b'-') {
            return self.one(token, OPERATOR);
        }
        if self.peek(2).is_none_or(is_white) {
            return self.to_end_of_line(token);
        }
        if self.dialect == Dialect::Ansi {
            self.differs_in_mysql = true;
            return self.to_end_of_line(token);
        }
        self.one(token, OPERATOR)
    }

    /// `/`, or a comment. What MySQL runs (`/*!`), and what PostgreSQL nests, is evil.
    fn slash(&self, token: &mut Token) -> usize {
        if self.peek(1) != Some(b'*') {
            return self.one(token, OPERATOR);
        }
        let inner = self.rest(self.at + 2);
        let close = memmem::find(inner, b"*/");
        // As in C, the search for a nested comment takes in the `*` of the end.
        let is_nested = close.is_some_and(|len| memmem::find(&inner[..len + 1], b"/*").is_some());
        let kind = if is_nested || inner.first() == Some(&b'!') { EVIL } else { COMMENT };
        let end = close.map_or(self.text.len(), |len| self.at + 2 + len + 2);
        token.assign(kind, self.slice(self.at, end));
        end
    }

    /// `\N` is NULL in MySQL.
    fn backslash(&self, token: &mut Token) -> usize {
        if self.peek(1) == Some(b'N') {
            token.assign(NUMBER, self.slice(self.at, self.at + 2));
            return self.at + 2;
        }
        self.one(token, BACKSLASH)
    }

    /// An operator of up to three bytes.
    fn long_operator(&self, token: &mut Token) -> usize {
        let two = self.slice(self.at, self.at + 2);
        if two.len() < 2 {
            return self.one(token, OPERATOR);
        }
        let three = self.slice(self.at, self.at + 3);
        if three == b"<=>" {
            token.assign(OPERATOR, three);
            return self.at + 3;
        }
        if let Some(kind) = words::kind_of(two) {
            token.assign(kind, two);
            return self.at + 2;
        }
        self.one(token, if two[0] == b':' { COLON } else { OPERATOR })
    }

    /// A string from `start`, whose quote is `skip` bytes long; 0 when the quote stands before the value.
    fn string(&self, token: &mut Token, start: usize, quote: u8, skip: usize) -> usize {
        let from = start + skip;
        let inner = self.rest(from);
        token.open = if skip > 0 { quote } else { 0 };
        let mut search = 0;
        while let Some(found) = inner.get(search..).and_then(|rest| memchr(quote, rest)) {
            let at = search + found;
            let backslashes = inner[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
            if backslashes % 2 == 1 {
                search = at + 1;
            } else if inner.get(at + 1) == Some(&quote) {
                search = at + 2;
            } else {
                token.assign(STRING, &inner[..at]);
                token.close = quote;
                return from + at + 1;
            }
        }
        token.assign(STRING, inner);
        token.close = 0;
        self.text.len()
    }

    /// `E'...'` of PostgreSQL, `N'...'` of MySQL.
    fn escaped_string(&self, token: &mut Token) -> usize {
        if self.peek(2).is_none() || self.peek(1) != Some(b'\'') {
            return self.word(token);
        }
        self.string(token, self.at, b'\'', 2)
    }

    /// `U&'...'`.
    fn unicode_string(&self, token: &mut Token) -> usize {
        if self.slice(self.at + 1, self.at + 3) != b"&'" {
            return self.word(token);
        }
        let end = self.string(token, self.at + 2, b'\'', 1);
        token.open = b'u';
        if token.close == b'\'' {
            token.close = b'u';
        }
        end
    }

    /// `N'...'`, or `NQ'(...)'` of Oracle.
    fn national_string(&self, token: &mut Token) -> usize {
        if self.peek(2).is_some() && self.peek(1) == Some(b'\'') {
            return self.escaped_string(token);
        }
        self.oracle_string(token, self.at + 1)
    }

    /// `Q'(...)'`, whose `Q` is at `start`.
    fn oracle_string(&self, token: &mut Token, start: usize) -> usize {
        let [b'q' | b'Q', b'\'', open, inner @ ..] = self.rest(start) else {
            return self.word(token);
        };
        // Bytes past ASCII are negative in C.
        let close = match *open {
            b'(' => b')',
            b'[' => b']',
            b'{' => b'}',
            b'<' => b'>',
            33..=127 => *open,
            _ => return self.word(token),
        };
        token.open = b'q';
        if let Some(len) = memmem::find(inner, &[close, b'\'']) {
            token.assign(STRING, &inner[..len]);
            token.close = b'q';
            start + 3 + len + 2
        } else {
            token.assign(STRING, inner);
            self.text.len()
        }
    }

    /// `B'0101'`, `X'1F'`.
    fn digits_in_quotes(&self, token: &mut Token, is_digit: fn(u8) -> bool) -> usize {
        if self.peek(2).is_none() || self.peek(1) != Some(b'\'') {
            return self.word(token);
        }
        let len = span(self.rest(self.at + 2), is_digit);
        let end = self.at + 2 + len;
        if self.text.get(end) != Some(&b'\'') {
            return self.word(token);
        }
        token.assign(NUMBER, self.slice(self.at, end + 1));
        end + 1
    }

    /// `[...]` of SQL Server.
    fn bracket_word(&self, token: &mut Token) -> usize {
        let rest = self.rest(self.at);
        let len = memchr(b']', rest).map_or(rest.len(), |at| at + 1);
        token.assign(BAREWORD, &rest[..len]);
        self.at + len
    }

    fn word(&self, token: &mut Token) -> usize {
        let rest = self.rest(self.at);
        let len = rest.iter().position(|byte| ENDS_WORD[usize::from(*byte)]).unwrap_or(rest.len());
        let word = &rest[..len];
        // `SELECT.1` and SELECT`column` are a keyword and more.
        let kept = &word[..len.min(TEXT_BYTES_MAX)];
        for (index, _) in kept.iter().enumerate().filter(|(_, byte)| matches!(byte, b'.' | b'`')) {
            if let Some(kind) = words::kind_of(&kept[..index]).filter(|kind| *kind != BAREWORD) {
                token.assign(kind, &word[..index]);
                return self.at + index;
            }
        }
        let kind = if len <= TEXT_BYTES_MAX { words::kind_of(word) } else { None };
        token.assign(kind.unwrap_or(BAREWORD), word);
        self.at + len
    }

    /// `` `...` `` of MySQL: a name, or a function.
    fn tick(&self, token: &mut Token) -> usize {
        self.tick_at(token, self.at)
    }

    fn tick_at(&self, token: &mut Token, start: usize) -> usize {
        let end = self.string(token, start, b'`', 1);
        let is_function = words::kind_of(token.text()) == Some(FUNCTION);
        token.kind = if is_function { FUNCTION } else { BAREWORD };
        end
    }

    /// `@name`, `@@name`, ``@`name` ``.
    fn variable(&self, token: &mut Token) -> usize {
        let mut start = self.at + 1;
        token.ats = 1;
        if self.text.get(start) == Some(&b'@') {
            start += 1;
            token.ats = 2;
        }
        match self.text.get(start) {
            Some(b'`') => {
                let end = self.tick_at(token, start);
                token.kind = VARIABLE;
                return end;
            }
            Some(&quote @ (b'\'' | b'"')) => {
                let end = self.string(token, start, quote, 1);
                token.kind = VARIABLE;
                return end;
            }
            _ => {}
        }
        let rest = self.rest(start);
        let len = rest.iter().position(|byte| ENDS_VARIABLE[usize::from(*byte)]).unwrap_or(rest.len());
        token.assign(VARIABLE, &rest[..len]);
        start + len
    }
}

/// How many bytes at the start are of the set, or NUL.
fn span(text: &[u8], is_in: fn(u8) -> bool) -> usize {
    text.iter().position(|&byte| !is_in(byte) && byte != 0).unwrap_or(text.len())
}

const fn is_white(byte: u8) -> bool {
    matches!(byte, 0 | b' ' | b'\t'..=b'\r' | 0xa0)
}

static ENDS_WORD: [bool; 256] = set(b" []{}<>:\\?=@!#~+-*/&|^%(),';\t\n\x0b\x0c\r\"\xa0\0");
static ENDS_VARIABLE: [bool; 256] = set(b" <>:\\?=@!#~+-*/&|^%(),';\t\n\x0b\x0c\r'`\"\0");

const fn set(bytes: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut index = 0;
    while index < bytes.len() {
        set[bytes[index] as usize] = true;
        index += 1;
    }
    set
}
