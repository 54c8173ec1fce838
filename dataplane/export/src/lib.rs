//! Security events on their way out of a node or an orchestrator, towards a SIEM.
//!
//! ```text
//!  event -> Record -> Exports::submit -+-> queue (records, bytes) -> thread: format -> file | UDP | TCP | TLS
//!          (bounded)                   '-> ... one per [[export]]             '-> "n records lost"
//! ```
//! Owns: the neutral value both planes make of their events ([`record`]), three ways to write it ([`syslog`], [`cef`],
//! [`json`]), connections and their queues ([`sink`]). Does not own: which events there are, and the logs and audit
//! files that exist without any export.
//! Cost: nobody waits: [`Exports::submit`] pushes one pointer per sink under a lock that is held for less than a
//! microsecond. A sink that is full loses records, counts them, and says so in a record as soon as it can.
#![forbid(unsafe_code)]

pub mod cef;
mod event;
mod exports;
pub mod json;
pub mod readback;
pub mod record;
pub mod sink;
pub mod syslog;

pub use exports::{Exports, SinkStatus};
pub use record::{Field, Origin, Record};
pub use secbeat_config::export::{Kind, Severity};
pub use sink::SinkError;

/// What the fuzzer and the replay of its corpus call: a record of any bytes is read back as it was written, in every
/// format, and no format lets a byte through that could end a record.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    readback::check(&Record::of_bytes(bytes));
}
