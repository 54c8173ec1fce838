//! `@verifySVNR`: the check digit of Austrian social security numbers. Bytes that are no digits are passed over.

use super::verify::digits;

/// Weights of the digits; the fourth is the check digit.
const WEIGHTS: [u32; 10] = [3, 7, 9, 0, 5, 8, 4, 2, 1, 6];

pub(super) fn is_valid(text: &[u8]) -> bool {
    let Some(digits) = digits::<10>(text) else {
        return false;
    };
    // Numbers that are not given out: one digit only, and the runs.
    let is_run = digits == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] || digits == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0];
    if is_run || digits.iter().all(|digit| *digit == digits[0]) {
        return false;
    }
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| u32::from(*digit) * weight).sum();
    let check = if sum % 11 == 10 { 0 } else { sum % 11 };
    check == u32::from(digits[3])
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn vectors() {
        for text in ["1237010180", "1237 010180"] {
            assert!(is_valid(text.as_bytes()), "{text}");
        }
        for text in [
            "1236010180",
            "1237010181",
            "0123456789",
            "1234567890",
            "2222222222",
            "123701018",
            "12370101800",
            "",
        ] {
            assert!(!is_valid(text.as_bytes()), "{text}");
        }
    }
}
