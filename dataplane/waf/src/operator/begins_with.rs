//! `@beginsWith`: the value begins with the argument, byte for byte. The empty argument matches every value.

/// The compiled word.
#[derive(Clone, Debug)]
pub struct BeginsWith {
    /// A byte that every value that matches has, if the argument is known.
    pub(super) rarest: Option<u8>,
}

impl BeginsWith {
    pub(super) fn compile(argument: Option<&str>) -> Self {
        Self { rarest: argument.and_then(|text| super::rarest(text.as_bytes())) }
    }
}

pub(super) fn matches(value: &[u8], argument: &[u8]) -> bool {
    value.starts_with(argument)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn vectors() {
        let vectors: [(&[u8], &[u8], bool); 6] = [
            (b"", b"", true),
            (b"abc", b"", true),
            (b"abcdef", b"abc", true),
            (b"abcdef", b"bc", false),
            (b"ab", b"abc", false),
            (b"ABC", b"abc", false),
        ];
        for (value, argument, expected) in vectors {
            assert_eq!(matches(value, argument), expected, "{value:?} {argument:?}");
        }
    }
}
