//! The sending side as packet traces: what it sends, what the peer answers, what it sends then.

mod congestion;
mod harness;
mod hostile;
mod recovery;
mod segments;
mod window;

use super::*;

#[test]
fn state_of_a_connection_fits_its_budget() {
    assert!(size_of::<Sender>() <= 264, "{} bytes", size_of::<Sender>());
}
