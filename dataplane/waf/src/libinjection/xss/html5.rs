//! Reads HTML as browsers do, forgivingly: tags, attributes, comments.
//!
//! Owns: [`Reader`], a state machine over the bytes. Cost: each byte is looked at once or twice. Source:
//! `libinjection_html5.c` (see [`super::super`]); the states are those of the HTML standard, with the quirks of old
//! browsers.

use memchr::{memchr, memmem};

/// Where the value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// In text.
    Data,
    /// Within a tag, behind its name.
    Attributes,
    /// In a value in single quotes.
    SingleQuote,
    /// In double quotes.
    DoubleQuote,
    /// In backticks, which old browsers took for quotes.
    BackQuote,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    TagNameOpen,
    TagNameClose,
    TagNameSelfClose,
    TagClose,
    AttributeName,
    AttributeValue,
    Comment,
    Doctype,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum State {
    Data,
    TagOpen,
    TagNameClose,
    BeforeAttributeName,
    AfterAttributeName,
    SelfClosing,
    BeforeValue,
    Value(u8),
    AfterQuotedValue,
    End,
}

type Token<'a> = Option<(Kind, &'a [u8])>;

/// Reads one piece after the other.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    state: State,
    /// Within `</`.
    is_close: bool,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(text: &'a [u8], context: Context) -> Self {
        let state = match context {
            Context::Data => State::Data,
            Context::Attributes => State::BeforeAttributeName,
            Context::SingleQuote => State::Value(b'\''),
            Context::DoubleQuote => State::Value(b'"'),
            Context::BackQuote => State::Value(b'`'),
        };
        Self { text, at: 0, state, is_close: false }
    }

    /// The next piece; none at the end.
    pub(super) fn next(&mut self) -> Token<'a> {
        match self.state {
            State::Data => self.data(),
            State::TagOpen => self.tag_open(),
            State::TagNameClose => self.tag_name_close(),
            State::BeforeAttributeName => self.before_attribute_name(),
            State::AfterAttributeName => self.after_attribute_name(),
            State::SelfClosing => self.self_closing(),
            State::BeforeValue => self.before_value(),
            State::Value(quote) => self.quoted_value(quote),
            State::AfterQuotedValue => self.after_quoted_value(),
            State::End => None,
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Yields `len` bytes from here, goes on `skip` bytes behind them.
    fn give(&mut self, kind: Kind, len: usize, skip: usize, state: State) -> Token<'a> {
        let text = self.rest().get(..len).unwrap_or_default();
        self.at += len + skip;
        self.state = state;
        Some((kind, text))
    }

    /// Yields all that is left, and ends.
    fn give_rest(&mut self, kind: Kind) -> Token<'a> {
        let text = self.rest();
        self.state = State::End;
        Some((kind, text))
    }

    fn skip_white(&mut self) -> Option<u8> {
        self.at += self.rest().iter().take_while(|byte| is_white(**byte)).count();
        self.byte()
    }

    fn data(&mut self) -> Token<'a> {
        match memchr(b'<', self.rest()) {
            None if self.rest().is_empty() => None,
            None => self.give_rest(Kind::Text),
            Some(0) => {
                self.at += 1;
                self.state = State::TagOpen;
                self.tag_open()
            }
            Some(len) => self.give(Kind::Text, len, 1, State::TagOpen),
        }
    }

    /// Behind `<`.
    fn tag_open(&mut self) -> Token<'a> {
        match self.byte()? {
            b'!' => {
                self.at += 1;
                self.declaration()
            }
            b'/' => {
                self.at += 1;
                self.is_close = true;
                self.end_tag_open()
            }
            b'?' => {
                self.at += 1;
                self.bogus_comment()
            }
            b'%' => {
                self.at += 1;
                let end = memmem::find(self.rest(), b"%>");
                self.comment_to(end, 2)
            }
            b'a'..=b'z' | b'A'..=b'Z' | 0 => self.tag_name(),
            _ => {
                // The `<` was text.
                self.at -= 1;
                self.give(Kind::Text, 1, 0, State::Data)
            }
        }
    }

    fn end_tag_open(&mut self) -> Token<'a> {
        match self.byte()? {
            b'>' => self.data(),
            b'a'..=b'z' | b'A'..=b'Z' => self.tag_name(),
            _ => {
                self.is_close = false;
                self.bogus_comment()
            }
        }
    }

    fn tag_name(&mut self) -> Token<'a> {
        // NUL bytes belong to the name: old browsers pass over them.
        let end = self
            .rest()
            .iter()
            .position(|byte| (is_white(*byte) && *byte != 0) || matches!(byte, b'/' | b'>'));
        let Some(len) = end else {
            return self.give_rest(Kind::TagNameOpen);
        };
        match self.rest()[len] {
            b'/' => self.give(Kind::TagNameOpen, len, 1, State::SelfClosing),
            b'>' if self.is_close => {
                self.is_close = false;
                self.give(Kind::TagClose, len, 1, State::Data)
            }
            b'>' => self.give(Kind::TagNameOpen, len, 0, State::TagNameClose),
            _ => self.give(Kind::TagNameOpen, len, 1, State::BeforeAttributeName),
        }
    }

    /// At the `>` of a tag.
    fn tag_name_close(&mut self) -> Token<'a> {
        self.is_close = false;
        let state = if self.at + 1 < self.text.len() { State::Data } else { State::End };
        self.give(Kind::TagNameClose, 1, 0, state)
    }

    fn before_attribute_name(&mut self) -> Token<'a> {
        loop {
            match self.skip_white()? {
                b'/' => {
                    self.at += 1;
                    if self.byte()? == b'>' {
                        return self.self_closing();
                    }
                }
                b'>' => return self.give(Kind::TagNameClose, 1, 0, State::Data),
                _ => return self.attribute_name(),
            }
        }
    }

    fn attribute_name(&mut self) -> Token<'a> {
        // The first byte belongs to the name, whatever it is.
        let behind = self.rest().get(1..).unwrap_or_default();
        let end = behind.iter().position(|byte| is_white(*byte) || matches!(byte, b'/' | b'=' | b'>'));
        let Some(len) = end.map(|end| end + 1) else {
            return self.give_rest(Kind::AttributeName);
        };
        match self.rest()[len] {
            b'/' => self.give(Kind::AttributeName, len, 1, State::SelfClosing),
            b'=' => self.give(Kind::AttributeName, len, 1, State::BeforeValue),
            b'>' => self.give(Kind::AttributeName, len, 0, State::TagNameClose),
            _ => self.give(Kind::AttributeName, len, 1, State::AfterAttributeName),
        }
    }

    fn after_attribute_name(&mut self) -> Token<'a> {
        match self.skip_white()? {
            b'/' => {
                self.at += 1;
                self.self_closing()
            }
            b'=' => {
                self.at += 1;
                self.before_value()
            }
            b'>' => self.tag_name_close(),
            _ => self.attribute_name(),
        }
    }

    fn before_value(&mut self) -> Token<'a> {
        match self.skip_white()? {
            quote @ (b'"' | b'\'' | b'`') => self.quoted_value(quote),
            _ => self.bare_value(),
        }
    }

    fn quoted_value(&mut self, quote: u8) -> Token<'a> {
        // At the very start the quote stands before the value.
        if self.at > 0 {
            self.at += 1;
        }
        match memchr(quote, self.rest()) {
            Some(len) => self.give(Kind::AttributeValue, len, 1, State::AfterQuotedValue),
            None => self.give_rest(Kind::AttributeValue),
        }
    }

    fn bare_value(&mut self) -> Token<'a> {
        let end = self.rest().iter().position(|byte| is_white(*byte) || *byte == b'>');
        match end {
            None => self.give_rest(Kind::AttributeValue),
            Some(len) if self.rest()[len] == b'>' => {
                self.give(Kind::AttributeValue, len, 0, State::TagNameClose)
            }
            Some(len) => self.give(Kind::AttributeValue, len, 1, State::BeforeAttributeName),
        }
    }

    fn after_quoted_value(&mut self) -> Token<'a> {
        match self.byte()? {
            b'/' => {
                self.at += 1;
                self.self_closing()
            }
            b'>' => self.give(Kind::TagNameClose, 1, 0, State::Data),
            _ => self.before_attribute_name(),
        }
    }

    /// Behind a `/` in a tag.
    fn self_closing(&mut self) -> Token<'a> {
        if self.byte()? != b'>' {
            return self.before_attribute_name();
        }
        self.at = self.at.saturating_sub(1);
        self.give(Kind::TagNameSelfClose, 2, 0, State::Data)
    }

    /// Behind `<!`.
    fn declaration(&mut self) -> Token<'a> {
        let rest = self.rest();
        if rest.get(..7).is_some_and(|word| word.eq_ignore_ascii_case(b"DOCTYPE")) {
            return match memchr(b'>', rest) {
                Some(len) => self.give(Kind::Doctype, len, 1, State::Data),
                None => self.give_rest(Kind::Doctype),
            };
        }
        if rest.starts_with(b"[CDATA[") {
            self.at += 7;
            return match memmem::find(self.rest(), b"]]>") {
                Some(len) => self.give(Kind::Text, len, 3, State::Data),
                None => self.give_rest(Kind::Text),
            };
        }
        if rest.starts_with(b"--") {
            self.at += 2;
            return self.comment();
        }
        self.bogus_comment()
    }

    fn bogus_comment(&mut self) -> Token<'a> {
        let end = memchr(b'>', self.rest());
        self.comment_to(end, 1)
    }

    /// A comment of a known length, whose end takes `skip` bytes.
    fn comment_to(&mut self, end: Option<usize>, skip: usize) -> Token<'a> {
        match end {
            Some(len) => self.give(Kind::Comment, len, skip, State::Data),
            None => self.give_rest(Kind::Comment),
        }
    }

    /// Behind `<!--`: ends with `-->` or `-!>`; NUL bytes may stand behind the first dash.
    fn comment(&mut self) -> Token<'a> {
        let rest = self.rest();
        let mut from = 0;
        while let Some(dash) = rest.get(from..).and_then(|text| memchr(b'-', text)).map(|found| from + found)
        {
            if dash + 3 > rest.len() {
                break;
            }
            let nuls = rest[dash + 1..].iter().take_while(|byte| **byte == 0).count();
            match rest.get(dash + 1 + nuls..) {
                Some([b'-' | b'!', b'>', ..]) => return self.comment_to(Some(dash), nuls + 3),
                // The end of the text is the end of the comment.
                None | Some([] | [b'-' | b'!']) => break,
                Some(_) => from = dash + 1,
            }
        }
        self.comment_to(None, 0)
    }
}

/// White space, and NUL, which old browsers pass over.
const fn is_white(byte: u8) -> bool {
    matches!(byte, 0 | b' ' | b'\t'..=b'\r')
}
