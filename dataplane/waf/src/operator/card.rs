//! `@verifyCC`: the check digit of payment cards (ISO/IEC 7812-1, Luhn). Bytes that are no digits are passed over.

pub(super) fn is_valid(text: &[u8]) -> bool {
    let digits = text.iter().rev().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    let mut sum = 0_u32;
    let mut count = 0_usize;
    for digit in digits {
        // Every second digit from the right counts twice, less 9 when that has two digits.
        let weighted = if count.is_multiple_of(2) { digit } else { digit * 2 % 10 + digit * 2 / 10 };
        sum = (sum + weighted) % 10;
        count += 1;
    }
    count > 0 && sum == 0
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn vectors() {
        for text in ["4417123456789113", "4408 0412 3456 7893", "79927398713", "0"] {
            assert!(is_valid(text.as_bytes()), "{text}");
        }
        for text in ["4417123456789112", "4408 0412 3456 7890", "79927398710", "", "abc", "1"] {
            assert!(!is_valid(text.as_bytes()), "{text}");
        }
    }
}
