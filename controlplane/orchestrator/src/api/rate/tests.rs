use super::*;

#[test]
fn whoever_is_too_fast_is_told_how_long_to_wait() {
    let rate = Rate::per_minute(3);
    for _ in 0..3 {
        rate.take("a").unwrap();
    }
    let wait = rate.take("a").unwrap_err();
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(60), "{wait:?}");
    rate.take("b").unwrap();
}

#[test]
fn clients_beyond_the_limit_share_one_allowance() {
    let mut rate = Rate::per_minute(1);
    rate.clients_max = 2;
    rate.take(1).unwrap();
    rate.take(2).unwrap();
    rate.take(3).unwrap();
    assert!(rate.take(4).is_err());
    assert!(rate.limiter.len() <= 3);
}

#[test]
fn an_address_is_a_client_and_so_is_a_64() {
    let client = |text: &str| client_of(text.parse().unwrap());
    assert_eq!(client("2001:db8:0:1::5"), client("2001:db8:0:1:ffff::9"));
    assert_ne!(client("2001:db8:0:1::5"), client("2001:db8:0:2::5"));
    assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
    assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
}
