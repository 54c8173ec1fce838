//! Whole nodes in one thread from a seed.
#![forbid(unsafe_code)]
