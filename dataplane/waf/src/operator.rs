//! Operators: what a rule asks of a value.
pub mod prefilter;
