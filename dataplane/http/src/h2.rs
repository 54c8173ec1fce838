//! HTTP/2, server side (RFC 9113): bytes in, requests out; answers in, bytes out.
//!
//! ```text
//!  receive(bytes) --> frames --> flood limits --> streams --> Event::{Request, Data, End}
//!  output() <-- frames <-- flow control <-- respond / send / reset / shut_down
//! ```
//! Pure: time is passed in as `now_ms` (milliseconds since an origin of the caller's), memory comes from a
//! [`Pool`] that all connections of a worker share, whatever a client does wrong comes back as a named
//! [`Violation`]. [`Limits`] says what one connection may cost.

mod assembler;
mod event;
mod flood;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod hpack;
mod limits;
mod pool;
mod server;
mod stream;
mod timeout;
mod violation;
mod window;

pub use event::{Event, StreamId};
pub use flood::Rate;
pub use limits::Limits;
pub use pool::Pool;
pub use server::{Gone, Server};
pub use violation::{Reason, Violation};
