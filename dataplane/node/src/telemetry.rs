//! Numbers about the node: what workers count, and how it is read.
//!
//! [`counters`] is one page per worker, written by that worker alone; [`Telemetry`] gathers all pages and what
//! the control thread knows; the management API renders it.

pub mod counters;
