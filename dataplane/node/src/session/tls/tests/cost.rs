//! What connections cost: memory held while idle.

use super::pair::Pair;
use super::site::Site;
use crate::session::tls::Stream;

#[test]
fn connection_itself_is_small_and_keeps_no_buffer_while_idle() {
    assert!(size_of::<Stream>() <= 128, "{}", size_of::<Stream>());
    let site = Site::new();
    let mut engine = site.plain_engine();
    let mut pair = Pair::new(site.client(), "a.test");
    pair.run(&mut engine);
    pair.exchange(&mut engine, &[1; 20_000], &[2; 20_000]);
    assert_eq!(pair.stream.kept_bytes(), 0);
}
