//! `@streq`: the value is the argument, byte for byte.

/// The compiled word.
#[derive(Clone, Debug)]
pub struct StrEq {
    /// A byte that every value that matches has, if the argument is known.
    pub(super) rarest: Option<u8>,
}

impl StrEq {
    pub(super) fn compile(argument: Option<&str>) -> Self {
        Self { rarest: argument.and_then(|text| super::rarest(text.as_bytes())) }
    }
}

pub(super) fn matches(value: &[u8], argument: &[u8]) -> bool {
    value == argument
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn vectors() {
        let vectors: [(&[u8], &[u8], bool); 4] =
            [(b"", b"", true), (b"GET", b"GET", true), (b"get", b"GET", false), (b"GET ", b"GET", false)];
        for (value, argument, expected) in vectors {
            assert_eq!(matches(value, argument), expected, "{value:?} {argument:?}");
        }
    }
}
