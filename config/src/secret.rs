//! A value that must not be printed.

use core::fmt;

/// A secret string. `Debug` and error messages never show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret's bytes. Not for printing.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Fewest characters of a secret: 16 random hexadecimal digits are 64 bits, the least that cannot be guessed
/// by trying over a network.
pub const SECRET_CHARS_MIN: usize = 16;
/// Fewest different characters of a secret; fewer is a pattern, not a secret.
const SECRET_CHARS_DISTINCT_MIN: usize = 6;
/// Words that stand in examples. A secret that contains one was copied, not made.
const EXAMPLE_WORDS: &[&str] = &[
    "your-",
    "your_",
    "change-me",
    "changeme",
    "change_me",
    "example",
    "secret-key",
    "password",
    "placeholder",
    "0123456789",
];

/// Why `secret` must not be used, if it must not.
pub(crate) fn weakness(secret: &str) -> Option<String> {
    let count = secret.chars().count();
    if count < SECRET_CHARS_MIN {
        return Some(format!(
            "is {count} characters long; must be at least {SECRET_CHARS_MIN} (try: openssl rand -hex 32)"
        ));
    }
    let mut distinct: Vec<char> = secret.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < SECRET_CHARS_DISTINCT_MIN {
        return Some("repeats a few characters; make a random one (openssl rand -hex 32)".into());
    }
    let lower = secret.to_lowercase();
    EXAMPLE_WORDS
        .iter()
        .any(|word| lower.contains(word))
        .then(|| "looks like an example; make a random one (openssl rand -hex 32)".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_never_printed() {
        assert_eq!(format!("{:?}", Secret::new("abc")), "Secret(..)");
    }

    #[test]
    fn short_repeated_and_example_secrets_are_refused() {
        assert!(weakness("short").is_some());
        assert!(weakness(&"a".repeat(64)).is_some());
        assert!(weakness("your-secret-key-goes-here-please").is_some());
        assert!(weakness("9f1c0a77e2d84b6f5310c2aa").is_none());
    }
}
