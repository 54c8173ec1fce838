//! `@verifySSN`: what a US social security number may be. Bytes that are no digits are passed over.

use super::verify::digits;

pub(super) fn is_valid(text: &[u8]) -> bool {
    let Some(digits) = digits::<9>(text) else {
        return false;
    };
    let all_pairs = |holds: fn(u8, u8) -> bool| digits.windows(2).all(|pair| holds(pair[0], pair[1]));
    if all_pairs(|left, right| left == right) || all_pairs(|left, right| left + 1 == right) {
        return false;
    }
    let number = |digits: &[u8]| digits.iter().fold(0_u32, |number, digit| number * 10 + u32::from(*digit));
    let (area, group, serial) = (number(&digits[..3]), number(&digits[3..5]), number(&digits[5..]));
    // Areas from 740 were not given out while areas meant something (before 2011).
    area != 0 && group != 0 && serial != 0 && area < 740 && area != 666
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn vectors() {
        for text in ["574-57-8065", "219099999", "001 01 0001"] {
            assert!(is_valid(text.as_bytes()), "{text}");
        }
        let wrong =
            ["000-57-8065", "574-00-8065", "574-57-0000", "666-57-8065", "740-57-8065", "123-45-6789"];
        for text in wrong.into_iter().chain(["111-11-1111", "574-57-806", "574-57-80655", ""]) {
            assert!(!is_valid(text.as_bytes()), "{text}");
        }
    }
}
