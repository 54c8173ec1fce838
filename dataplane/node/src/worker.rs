//! One worker: a pinned core that turns the loop.

pub mod idle;
