//! Whole nodes in one thread from a seed.
#![forbid(unsafe_code)]

pub mod attack;
pub mod client;
pub mod fragment;
pub mod frame;
pub mod link;
pub mod origin;
pub mod random;
pub mod tcp;
