//! `@endsWith`: the value ends with the argument, byte for byte. The empty argument matches every value.

/// The compiled word.
#[derive(Clone, Debug)]
pub struct EndsWith {
    /// A byte that every value that matches has, if the argument is known.
    pub(super) rarest: Option<u8>,
}

impl EndsWith {
    pub(super) fn compile(argument: Option<&str>) -> Self {
        Self { rarest: argument.and_then(|text| super::rarest(text.as_bytes())) }
    }
}

pub(super) fn matches(value: &[u8], argument: &[u8]) -> bool {
    value.ends_with(argument)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn vectors() {
        let vectors: [(&[u8], &[u8], bool); 6] = [
            (b"", b"", true),
            (b"abc", b"", true),
            (b"abcdef", b"def", true),
            (b"abcdef", b"de", false),
            (b"ef", b"def", false),
            (b"DEF", b"def", false),
        ];
        for (value, argument, expected) in vectors {
            assert_eq!(matches(value, argument), expected, "{value:?} {argument:?}");
        }
    }
}
