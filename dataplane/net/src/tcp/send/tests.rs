//! The sending side as packet traces.

use super::*;

#[test]
fn state_of_a_connection_fits_its_budget() {
    assert!(size_of::<Sender>() <= 264, "{} bytes", size_of::<Sender>());
}
