//! Numbers of SQL, and what begins with `$`.

use memchr::memmem;

use super::{
    super::token::{BAREWORD, DOT, NUMBER, STRING, Token},
    Tokenizer, is_white, span,
};

impl Tokenizer<'_> {
    /// `$1,000.00`, `$$...$$`, `$tag$...$tag$`, or a word that begins with `$`.
    pub(super) fn money(&self, token: &mut Token) -> usize {
        let behind = self.rest(self.at + 1);
        if behind.is_empty() {
            return self.one(token, BAREWORD);
        }
        let len = span(behind, |byte| matches!(byte, b'0'..=b'9' | b'.' | b','));
        if len == 1 && behind[0] == b'.' {
            return self.word(token);
        }
        if len > 0 {
            token.assign(NUMBER, self.slice(self.at, self.at + 1 + len));
            return self.at + 1 + len;
        }
        let tag = if behind[0] == b'$' { 0 } else { span(behind, |byte| byte.is_ascii_alphabetic()) };
        if behind.get(tag) != Some(&b'$') {
            return self.one(token, BAREWORD);
        }
        let start = self.at + tag + 2;
        let inner = self.rest(start);
        token.open = b'$';
        if let Some(len) = memmem::find(inner, self.slice(self.at, start)) {
            token.assign(STRING, &inner[..len]);
            token.close = b'$';
            start + len + tag + 2
        } else {
            token.assign(STRING, inner);
            self.text.len()
        }
    }

    pub(super) fn number(&self, token: &mut Token) -> usize {
        if let Some(end) = self.prefixed_number(token) {
            return end;
        }
        let digit = |at: usize| self.text.get(at).is_some_and(u8::is_ascii_digit);
        let byte = |at: usize| self.text.get(at).copied().unwrap_or(0);
        let mut at = self.at;
        while digit(at) {
            at += 1;
        }
        if byte(at) == b'.' {
            at += 1;
            while digit(at) {
                at += 1;
            }
            if at - self.at == 1 {
                return self.one(token, DOT);
            }
        }
        let mut is_word = false;
        if matches!(byte(at), b'E' | b'e') {
            at += 1;
            if matches!(byte(at), b'+' | b'-') {
                at += 1;
            }
            // Without digits (`1234.e`) it is a word.
            is_word = !digit(at);
            while digit(at) {
                at += 1;
            }
        }
        // Oracle's suffixes; `1fUNION` is read as `1f UNION`.
        if matches!(byte(at), b'd' | b'D' | b'f' | b'F')
            && self.text.get(at + 1).is_none_or(|next| is_white(*next) || matches!(next, b';' | b'u' | b'U'))
        {
            at += 1;
        }
        token.assign(if is_word { BAREWORD } else { NUMBER }, self.slice(self.at, at));
        at
    }

    /// `0x1f`, `0b01`; without digits they are words.
    fn prefixed_number(&self, token: &mut Token) -> Option<usize> {
        let is_digit: fn(u8) -> bool = match (self.peek(0)?, self.peek(1)?) {
            (b'0', b'x' | b'X') => |byte| byte.is_ascii_hexdigit(),
            (b'0', b'b' | b'B') => |byte| matches!(byte, b'0' | b'1'),
            _ => return None,
        };
        let len = span(self.rest(self.at + 2), is_digit);
        let end = self.at + 2 + len;
        token.assign(if len == 0 { BAREWORD } else { NUMBER }, self.slice(self.at, end));
        Some(end)
    }
}
