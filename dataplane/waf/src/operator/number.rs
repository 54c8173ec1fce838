//! `@eq`, `@ge`, `@gt`, `@le`, `@lt`: the value's number against the argument's.
//!
//! A number is read as `atoll` of C does: white space, a sign, digits; what follows is passed over, and what is none
//! counts as 0. Beyond 64 bits it is the greatest or smallest; ModSecurity takes 0 there for `@eq`, which would make
//! `Content-Length: 99999999999999999999` equal to none.

use super::Word;

/// The compiled words.
#[derive(Clone, Debug)]
pub struct Number {
    comparison: Comparison,
    /// The argument's number, if it is known.
    argument: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Eq,
    Ge,
    Gt,
    Le,
    Lt,
}

impl Number {
    /// `word` is one of the five; another counts as `@eq`.
    pub(super) fn compile(word: Word, argument: Option<&str>) -> Self {
        let comparison = match word {
            Word::Ge => Comparison::Ge,
            Word::Gt => Comparison::Gt,
            Word::Le => Comparison::Le,
            Word::Lt => Comparison::Lt,
            _ => Comparison::Eq,
        };
        Self { comparison, argument: argument.map(|text| number_of(text.as_bytes())) }
    }

    pub(super) fn matches(&self, value: &[u8], argument: &[u8]) -> bool {
        let argument = self.argument.unwrap_or_else(|| number_of(argument));
        let value = number_of(value);
        match self.comparison {
            Comparison::Eq => value == argument,
            Comparison::Ge => value >= argument,
            Comparison::Gt => value > argument,
            Comparison::Le => value <= argument,
            Comparison::Lt => value < argument,
        }
    }
}

/// The number a text begins with, or 0.
pub(crate) fn number_of(text: &[u8]) -> i64 {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let text = &text[text.iter().take_while(|byte| is_space(byte)).count()..];
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, text),
    };
    let mut number = 0_i64;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        let digit = i64::from(digit - b'0');
        let step = if is_negative { -digit } else { digit };
        number = number.saturating_mul(10).saturating_add(step);
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_does() {
        let vectors: [(&[u8], i64); 13] = [
            (b"", 0),
            (b"x", 0),
            (b"12", 12),
            (b" \t\r\n12 ", 12),
            (b"-12", -12),
            (b"+12", 12),
            (b"--12", 0),
            (b"- 12", 0),
            (b"12abc", 12),
            (b"0x10", 0),
            (b"00012", 12),
            (b"99999999999999999999", i64::MAX),
            (b"-99999999999999999999", i64::MIN),
        ];
        for (text, expected) in vectors {
            assert_eq!(number_of(text), expected, "{text:?}");
        }
    }

    #[test]
    fn vectors() {
        let asked = |value: &str, argument: &str| -> [bool; 5] {
            [Word::Eq, Word::Ge, Word::Gt, Word::Le, Word::Lt].map(|word| {
                let fixed = Number::compile(word, Some(argument)).matches(value.as_bytes(), b"not read");
                let expanded = Number::compile(word, None).matches(value.as_bytes(), argument.as_bytes());
                assert_eq!(fixed, expanded);
                fixed
            })
        };
        assert_eq!(asked("5", "5"), [true, true, false, true, false]);
        assert_eq!(asked("6", "5"), [false, true, true, false, false]);
        assert_eq!(asked("4", "5"), [false, false, false, true, true]);
        assert_eq!(asked("", "0"), [true, true, false, true, false]);
        assert_eq!(asked("-1", "x"), [false, false, false, true, true]);
        assert_eq!(asked("10", "9"), [false, true, true, false, false]);
    }
}
