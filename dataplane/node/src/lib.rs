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

pub mod api;
pub mod attack;
pub mod cli;
pub mod event;
pub mod handover;
pub mod lists;
pub mod pipeline;
pub mod policy;
pub mod telemetry;
pub mod worker;
pub mod front;
pub mod neighbor;
pub mod upstream;
