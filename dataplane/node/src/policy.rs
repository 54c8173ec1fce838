//! What a worker must know to judge a packet, compiled, immutable, replaced whole.

pub mod listener;
