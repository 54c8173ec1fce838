//! `@verifyCPF`: the two check digits of Brazilian tax numbers. Bytes that are no digits are passed over.

use super::verify::digits;

pub(super) fn is_valid(text: &[u8]) -> bool {
    let Some(digits) = digits::<11>(text) else {
        return false;
    };
    // Numbers that check and are not given out: one digit only, and the run.
    if digits.iter().all(|digit| *digit == digits[0]) || digits == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0] {
        return false;
    }
    check_digit(&digits[..9]) == digits[9] && check_digit(&digits[..10]) == digits[10]
}

/// Weights fall to 2 at the last digit; the sum modulo 11, from 11, and 0 in place of 10 and 11.
fn check_digit(digits: &[u8]) -> u8 {
    let sum: u32 = digits.iter().rev().zip(2_u32..).map(|(digit, weight)| u32::from(*digit) * weight).sum();
    match sum % 11 {
        0 | 1 => 0,
        2 => 9,
        3 => 8,
        4 => 7,
        5 => 6,
        6 => 5,
        7 => 4,
        8 => 3,
        9 => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn vectors() {
        for text in ["010.817.514-60", "52998224725"] {
            assert!(is_valid(text.as_bytes()), "{text}");
        }
        for text in [
            "010.817.514-61",
            "010.817.514-50",
            "11111111111",
            "01234567890",
            "0108175146",
            "010817514600",
            "",
        ] {
            assert!(!is_valid(text.as_bytes()), "{text}");
        }
    }
}
