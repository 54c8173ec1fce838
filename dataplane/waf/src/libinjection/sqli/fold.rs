//! Folds the tokens of a value to at most five.
//!
//! Owns: the rules by which two or three neighbours become fewer: `1 + 1` is a number, `select -1` is `select 1`,
//! `UNION` and `ALL` are one word. Cost: every rule takes a token away or moves on, so all together are linear in
//! the tokens.
//!
//! Positions are masked with [`MASK`], which they never reach: no more than [`TOKENS_MAX`] and one are kept.

use super::{
    token::{
        BACKSLASH, BAREWORD, COLLATE, COMMA, COMMENT, DOT, EVIL, EXPRESSION, FUNCTION, GROUP, KEYWORD,
        LEFT_BRACE, LEFT_PARENTHESIS, LOGIC_OPERATOR, NUMBER, OPERATOR, RIGHT_BRACE, RIGHT_PARENTHESIS,
        SEMICOLON, SQL_TYPE, STRING, TEXT_BYTES_MAX, TSQL, Token, UNION, VARIABLE,
    },
    tokenizer::Tokenizer,
    words,
};

/// Most tokens of a fingerprint.
pub(super) const TOKENS_MAX: usize = 5;

/// Keeps positions inside of [`Folder::tokens`].
const MASK: usize = 7;

/// Words that are a function before `(` and a name elsewhere.
const NAMES_OR_FUNCTIONS: [&[u8]; 11] = [
    b"USER_ID",
    b"USER_NAME",
    b"DATABASE",
    b"PASSWORD",
    b"USER",
    b"CURRENT_USER",
    b"CURRENT_DATE",
    b"CURRENT_TIME",
    b"CURRENT_TIMESTAMP",
    b"LOCALTIME",
    b"LOCALTIMESTAMP",
];

/// What a rule of two tokens did.
enum Pair {
    /// Something: begin again.
    Changed,
    /// Nothing: look at three.
    Same,
    /// Found what no database reads alike; this many tokens are left.
    Evil(usize),
}

/// Tokens on their way to a fingerprint.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    pub(super) tokenizer: Tokenizer<'a>,
    pub(super) tokens: [Token; MASK + 1],
    /// Where the next token goes.
    end: usize,
    /// How many are done with.
    left: usize,
    more: bool,
    last_comment: Token,
}

impl<'a> Folder<'a> {
    pub(super) fn new(tokenizer: Tokenizer<'a>) -> Self {
        Self {
            tokenizer,
            tokens: [Token::default(); MASK + 1],
            end: 0,
            left: 0,
            more: true,
            last_comment: Token::default(),
        }
    }

    /// The token `offset` behind those that are done with.
    fn at(&self, offset: usize) -> &Token {
        &self.tokens[(self.left + offset) & MASK]
    }

    fn at_mut(&mut self, offset: usize) -> &mut Token {
        &mut self.tokens[(self.left + offset) & MASK]
    }

    fn kind(&self, offset: usize) -> u8 {
        self.at(offset).kind
    }

    /// Reads and folds all tokens, and yields how many are left.
    pub(super) fn fold(&mut self) -> usize {
        if !self.skip_start() {
            return 0;
        }
        self.end = 1;
        loop {
            if self.end >= TOKENS_MAX {
                self.fold_five();
            }
            if !self.more || self.left >= TOKENS_MAX {
                self.left = self.end;
                break;
            }
            self.read(2);
            if self.end < self.left + 2 {
                self.left = self.end;
                continue;
            }
            match self.fold_two() {
                Pair::Changed => continue,
                Pair::Evil(count) => return count,
                Pair::Same => {}
            }
            self.read(3);
            if self.end < self.left + 3 {
                self.left = self.end;
                continue;
            }
            if !self.fold_three() {
                self.left += 1;
            }
        }
        if self.left < TOKENS_MAX && self.last_comment.kind == COMMENT {
            self.tokens[self.left & MASK] = self.last_comment;
            self.left += 1;
        }
        self.left.min(TOKENS_MAX)
    }

    /// Passes over comments, `(`, types and unary operators at the start; false if there is nothing else.
    fn skip_start(&mut self) -> bool {
        let first = &mut self.tokens[0];
        loop {
            if !self.tokenizer.next(first) {
                return false;
            }
            if !(first.is_one_of(&[COMMENT, LEFT_PARENTHESIS, SQL_TYPE]) || first.is_unary_operator()) {
                return true;
            }
        }
    }

    /// Reads until there are `count` that are not done with, or no more.
    fn read(&mut self, count: usize) {
        while self.more && self.end <= TOKENS_MAX && self.end < self.left + count {
            let token = &mut self.tokens[self.end & MASK];
            self.more = self.tokenizer.next(token);
            if self.more {
                if token.kind == COMMENT {
                    self.last_comment = *token;
                } else {
                    self.last_comment.kind = 0;
                    self.end += 1;
                }
            }
        }
    }

    /// Takes `count` tokens away and begins again at the first.
    fn drop_and_restart(&mut self, count: usize) {
        self.end -= count;
        self.left = 0;
    }

    /// Takes one token away and looks at its neighbour before again.
    fn drop_and_step_back(&mut self) {
        self.end -= 1;
        self.left = self.left.saturating_sub(1);
    }

    /// Five tokens that are an expression of names and numbers count as its first.
    fn fold_five(&mut self) {
        let kinds = [0, 1, 2, 3, 4].map(|index: usize| self.tokens[index].kind);
        let is_plain = matches!(
            kinds,
            [NUMBER, OPERATOR | COMMA, LEFT_PARENTHESIS, NUMBER, RIGHT_PARENTHESIS]
                | [BAREWORD, OPERATOR, LEFT_PARENTHESIS, BAREWORD | NUMBER, RIGHT_PARENTHESIS]
                | [NUMBER, RIGHT_PARENTHESIS, COMMA, LEFT_PARENTHESIS, NUMBER]
                | [BAREWORD, RIGHT_PARENTHESIS, OPERATOR, LEFT_PARENTHESIS, BAREWORD]
        );
        if !is_plain {
            return;
        }
        if self.end > TOKENS_MAX {
            self.tokens[1] = self.tokens[TOKENS_MAX];
            self.end = 2;
        } else {
            self.end = 1;
        }
        self.left = 0;
    }

    fn fold_two(&mut self) -> Pair {
        let (first, second) = (self.kind(0), self.kind(1));
        let is_second_unary = self.at(1).is_unary_operator();
        if (first == STRING && second == STRING) || (first == SEMICOLON && second == SEMICOLON) {
            self.end -= 1;
        } else if matches!(first, OPERATOR | LOGIC_OPERATOR) && (is_second_unary || second == SQL_TYPE) {
            self.drop_and_restart(1);
        } else if (first == LEFT_PARENTHESIS && is_second_unary) || self.merge_words() {
            self.drop_and_step_back();
        } else if first == SEMICOLON
            && second == FUNCTION
            && matches!((self.at(1).byte(0), self.at(1).byte(1)), (b'I' | b'i', b'F' | b'f'))
        {
            // A function, except in Transact-SQL behind a semicolon: `; IF 1=1 ...`.
            self.at_mut(1).kind = TSQL;
        } else if matches!(first, BAREWORD | VARIABLE)
            && second == LEFT_PARENTHESIS
            && NAMES_OR_FUNCTIONS.iter().any(|name| self.at(0).is(name))
        {
            self.at_mut(0).kind = FUNCTION;
        } else if first == KEYWORD && (self.at(0).is(b"IN") || self.at(0).is(b"NOT IN")) {
            self.at_mut(0).kind = if second == LEFT_PARENTHESIS { OPERATOR } else { BAREWORD };
        } else {
            return self.fold_two_more(first, second);
        }
        Pair::Changed
    }

    fn fold_two_more(&mut self, first: u8, second: u8) -> Pair {
        match (first, second) {
            (OPERATOR, _) if self.at(0).is(b"LIKE") || self.at(0).is(b"NOT LIKE") => {
                if second == LEFT_PARENTHESIS {
                    self.at_mut(0).kind = FUNCTION;
                }
                return Pair::Same;
            }
            (SQL_TYPE, BAREWORD | NUMBER | SQL_TYPE | LEFT_PARENTHESIS | FUNCTION | VARIABLE | STRING) => {
                *self.at_mut(0) = *self.at(1);
                self.drop_and_restart(1);
            }
            (COLLATE, BAREWORD) => {
                // Collations are too many for a table; their names have `_`. As in C, the text ends at a NUL byte.
                let text = self.at(1).text();
                if text.iter().take_while(|byte| **byte != 0).any(|byte| *byte == b'_') {
                    self.at_mut(1).kind = SQL_TYPE;
                    self.left = 0;
                }
                return Pair::Same;
            }
            (BACKSLASH, _) => {
                if self.at(1).is_arithmetic_operator() {
                    // Transact-SQL reads `\%1` as `0 % 1`.
                    self.at_mut(0).kind = NUMBER;
                    self.left = 0;
                } else {
                    *self.at_mut(0) = *self.at(1);
                    self.drop_and_restart(1);
                }
            }
            (LEFT_PARENTHESIS, LEFT_PARENTHESIS) | (RIGHT_PARENTHESIS, RIGHT_PARENTHESIS) => {
                self.drop_and_restart(1);
            }
            (LEFT_BRACE, BAREWORD) => {
                // MySQL takes ``{``.``.id}``; nobody else writes an empty name here.
                if self.at(1).text().is_empty() {
                    self.at_mut(1).kind = EVIL;
                    return Pair::Evil(self.left + 2);
                }
                // `{name expression}` of ODBC is the expression.
                self.drop_and_restart(2);
            }
            (_, RIGHT_BRACE) => self.drop_and_restart(1),
            _ => return Pair::Same,
        }
        Pair::Changed
    }

    /// Makes two words one if SQL has the two as one, such as `UNION ALL`.
    fn merge_words(&mut self) -> bool {
        const FIRST: &[u8] = &[KEYWORD, BAREWORD, OPERATOR, UNION, FUNCTION, EXPRESSION, TSQL, SQL_TYPE];
        let (first, second) = (self.at(0), self.at(1));
        if !first.is_one_of(FIRST) || !(second.is_one_of(FIRST) || second.kind == LOGIC_OPERATOR) {
            return false;
        }
        let (head, tail) = (first.text(), second.text());
        let len = head.len() + 1 + tail.len();
        if len > TEXT_BYTES_MAX {
            return false;
        }
        let mut text = [b' '; TEXT_BYTES_MAX];
        text[..head.len()].copy_from_slice(head);
        text[head.len() + 1..len].copy_from_slice(tail);
        let Some(kind) = words::kind_of(&text[..len]) else {
            return false;
        };
        self.at_mut(0).assign(kind, &text[..len]);
        true
    }

    /// Whether three tokens became fewer.
    fn fold_three(&mut self) -> bool {
        let (first, second, third) = (self.kind(0), self.kind(1), self.kind(2));
        let is_value = |kind| matches!(kind, BAREWORD | NUMBER | VARIABLE | STRING);
        let is_second_unary = self.at(1).is_unary_operator();
        match (first, second, third) {
            (NUMBER, OPERATOR, NUMBER)
            | (LOGIC_OPERATOR, _, LOGIC_OPERATOR)
            | (VARIABLE, OPERATOR, VARIABLE | NUMBER | BAREWORD)
            | (BAREWORD | NUMBER, OPERATOR, NUMBER | BAREWORD) => self.drop_and_restart(2),
            (OPERATOR, _, OPERATOR) if second != LEFT_PARENTHESIS => self.drop_and_restart(2),
            (_, OPERATOR, SQL_TYPE) if is_value(first) && self.at(1).text() == b"::" => {
                self.drop_and_restart(2);
            }
            (_, COMMA, _) if is_value(first) && is_value(third) => self.drop_and_restart(2),
            (EXPRESSION | GROUP | COMMA, _, LEFT_PARENTHESIS) if is_second_unary => self.drop_second(),
            (KEYWORD | EXPRESSION | GROUP, _, _)
                if is_second_unary && (is_value(third) || third == FUNCTION) =>
            {
                self.drop_second();
            }
            (COMMA, _, _) if is_second_unary && is_value(third) => {
                // `1, -1` is `1, 1`: one token back, since that folds again.
                *self.at_mut(1) = *self.at(2);
                self.left = 0;
                self.end = self.end.saturating_sub(3);
            }
            (COMMA, _, FUNCTION) if is_second_unary => self.drop_second(),
            (BAREWORD, DOT, BAREWORD) => self.drop_and_restart(2),
            (EXPRESSION, DOT, BAREWORD) => self.drop_second(),
            (FUNCTION, LEFT_PARENTHESIS, _) if third != RIGHT_PARENTHESIS => {
                // `USER()` has no argument; with one it is a name.
                if self.at(0).is(b"USER") {
                    self.at_mut(0).kind = BAREWORD;
                }
                return false;
            }
            _ => return false,
        }
        true
    }

    /// The third token takes the place of the second.
    fn drop_second(&mut self) {
        *self.at_mut(1) = *self.at(2);
        self.drop_and_restart(1);
    }
}
