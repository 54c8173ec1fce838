//! Tests of connections as a whole, written as packet traces: what the client sends, what it must get.

mod attacks;
mod closing;
mod harness;
mod linux;
mod owner;
mod receiving;
mod robustness;
mod timers;
