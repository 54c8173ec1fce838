//! Sessions between a front in memory and an origin on the loopback interface.

pub(super) mod frames;
pub(super) mod harness;
mod http1;
mod http2;
mod inspection;
mod limits;
mod log;
mod proxy_header;
mod rules;
mod schedule;
mod timeouts;
mod trailers;
mod tunnel;
