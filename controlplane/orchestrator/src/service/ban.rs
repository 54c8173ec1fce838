//! Use cases of ban.
