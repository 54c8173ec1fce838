//! Packet logic of the data plane: bytes and `now` in, verdicts and bytes out.
//!
//! Nothing here does I/O, reads a clock, draws a random number or writes a log line; time, keys and seeds are
//! passed in, findings are returned as values and counted by the caller. The API grammar: `handle_*` =
//! something happened, `poll_*` = what should I do now, `poll_timeout` = when to call again.
//!
//! From the frame upward: [`packet`] (a frame and its buffer) -> [`wire`] (headers) -> [`filter`] -> [`limit`]
//! -> [`syncookie`] for a SYN, [`splice`] for a flow that is handed to a backend, [`tcp`] for a connection that ends
//! here, [`udp`] for datagrams.
#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod census;
mod decisions;
pub mod egress;
pub mod filter;
pub mod flow;
mod flow_index;
mod flow_table;
pub mod fragment;
pub mod halfopen;
pub mod icmp;
pub mod limit;
pub mod link;
pub mod maglev;
pub mod neighbor;
pub mod packet;
mod ports;
pub mod proxy_protocol;
pub mod siphash;
pub mod splice;
pub mod syncookie;
pub mod tcp;
pub mod time;
pub mod timer_wheel;
pub mod udp;
pub mod verdict;
pub mod wire;
