//! Sessions between a front in memory and an origin on the loopback interface.

mod harness;
mod http1;
mod inspection;
mod limits;
mod log;
mod timeouts;
mod tunnel;
