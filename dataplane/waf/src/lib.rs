//! The WAF of the data plane: SecLang rules in, verdicts out.
//!
//! Pure: no clock, no randomness, no I/O, no log line. Files are handed in by the caller ([`seclang::Files`]), time and
//! identifiers with each transaction; what is worth telling comes back as values.
//!
//! From the operator's files inward: [`seclang`] reads directives -> [`ruleset`] compiles them once, shared by all
//! workers
//! -> a [`transaction`] fills [`variable`]s from a request ([`body`] takes bodies apart), changes values with
//! [`transform`]ations, asks [`operator`]s and carries out actions. [`limits`] names every bound.
#![forbid(unsafe_code)]

pub mod body;
pub mod byte_set;
pub mod libinjection;
pub mod limits;
mod named;
pub mod operator;
pub mod ruleset;
pub mod seclang;
pub mod transaction;
pub mod transform;
pub mod variable;
