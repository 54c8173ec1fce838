//! Splice read as packet traces: what one side sends, what the other one gets.

mod close;
mod handshake;
mod harness;
mod icmp;
mod limits;
mod stream;
mod transfer;
