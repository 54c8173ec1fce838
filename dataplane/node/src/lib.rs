//! The mitigation node.
#![forbid(unsafe_code)]
