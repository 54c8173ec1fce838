//! `@validateNid cl ...` and `@validateNid us ...`: national identifiers, as Coraza has them.

use super::social_security;

/// Fewest characters of a Chilean RUT, and the most that are read: 99.999.999-K has 9.
const CHILEAN_CHARACTERS: std::ops::RangeInclusive<usize> = 8..=12;

/// A Chilean RUT: digits and a check character, 0 to 9 or K. Other bytes are passed over.
pub(super) fn is_chilean(text: &[u8]) -> bool {
    let characters = || text.iter().rev().filter(|byte| byte.is_ascii_digit() || matches!(byte, b'k' | b'K'));
    if !CHILEAN_CHARACTERS.contains(&characters().take(CHILEAN_CHARACTERS.end() + 1).count()) {
        return false;
    }
    let mut characters = characters();
    let Some(check) = characters.next() else {
        return false;
    };
    let mut sum = 0_u32;
    // Weights 2 to 7 from the right, again and again.
    for (byte, weight) in characters.zip((2..=7_u32).cycle()) {
        if !byte.is_ascii_digit() {
            return false;
        }
        sum += u32::from(byte - b'0') * weight;
    }
    let expected = match 11 - sum % 11 {
        11 => b'0',
        10 => b'k',
        digit => b'0' + u8::try_from(digit).unwrap_or_default(),
    };
    check.to_ascii_lowercase() == expected
}

/// A US social security number.
pub(super) fn is_american(text: &[u8]) -> bool {
    social_security::is_valid(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors() {
        for text in ["11.111.111-1", "12.345.678-5", "12345670-K", "12345670k", "7.654.321-6"] {
            assert!(is_chilean(text.as_bytes()), "{text}");
        }
        for text in ["11.111.111-0", "12.345.678-k", "kkkkkkkk", "1-9", "", "1234567890123"] {
            assert!(!is_chilean(text.as_bytes()), "{text}");
        }
        assert!(is_american(b"219-09-9999") && !is_american(b"000-09-9999"));
    }
}
