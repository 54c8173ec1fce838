//! The mitigation node: workers on pinned cores, and what serves them.
//!
//! ```text
//!   config, lists, neighbours, health          events, counters
//!        |  start::control (thread)  <--------------------------.
//!        v                                                       |
//!   policy (immutable, replaced whole) --> worker (one per core): turn -> pipeline -> net::*
//! ```
//!
//! The packet path is `worker` and `pipeline`: no lock, no allocation, no system call per packet. Everything
//! else (management API, logs, health checks, the kernel's neighbour tables) runs in other threads and meets
//! the workers only in `policy`, `event`, `handover`, the limiter tables and the page of counters.
#![forbid(unsafe_code)]

pub mod agent;
pub mod api;
pub mod attack;
pub mod cli;
pub mod command;
pub mod event;
pub mod forefront;
pub mod front;
pub mod handover;
pub mod host;
pub mod lists;
pub mod logging;
pub mod neighbor;
pub mod pipeline;
pub mod policy;
pub mod privilege;
pub mod session;
mod slab;
pub mod start;
mod sync;
pub mod telemetry;
pub mod upstream;
pub mod waf;
pub mod worker;
