use super::*;
use crate::ban::Replica;

const START_MS: u64 = 1_800_000_000_000;

fn net(text: &str) -> IpNet {
    parse_prefix(text).unwrap()
}

#[test]
fn entries_come_back_from_the_wire_as_they_were() {
    let mut replica = Replica::new([1; 16], 10);
    let mut ban = |prefix: &str, until_ms, origin| {
        replica.ban(net(prefix), until_ms, "flood", origin, "ada", Some([2; 16]), START_MS).unwrap()
    };
    ban("192.0.2.1", None, Origin::Expert);
    ban("2001:db8::/64", Some(START_MS + 1), Origin::NodeApi);
    ban("192.0.2.2", Some(START_MS + 1), Origin::Node);
    replica.lift(net("192.0.2.1"), "bob", "", START_MS);
    for entry in replica.entries() {
        let message = v1::BanEntry::from(entry.clone());
        assert_eq!(Entry::try_from(message), Ok(entry));
    }
    // The wire has no word for an end at 0 and takes 0 for "never".
    let ended = replica.ban(net("192.0.2.9"), Some(0), "", Origin::Operator, "", None, START_MS).unwrap();
    assert!(!Entry::try_from(v1::BanEntry::from(ended)).unwrap().is_active(START_MS));
}

#[test]
fn messages_that_are_no_entries_are_refused_with_what_is_wrong() {
    let stamp = Stamp { wall_ms: START_MS, counter: 0, writer: [1; 16] };
    let good =
        v1::BanEntry { prefix: "192.0.2.1/32".into(), stamp: Some(stamp.into()), ..Default::default() };
    assert!(Entry::try_from(good.clone()).is_ok());
    let refused = |change: &dyn Fn(&mut v1::BanEntry)| {
        let mut message = good.clone();
        change(&mut message);
        Entry::try_from(message).unwrap_err()
    };
    assert_eq!(
        refused(&|entry| entry.prefix = "example.org".into()),
        WireError::Prefix("example.org".into())
    );
    assert!(matches!(refused(&|entry| entry.prefix = "0.0.0.0/0".into()), WireError::Wide(_)));
    assert_eq!(refused(&|entry| entry.stamp = None), WireError::NoStamp);
    assert_eq!(refused(&|entry| entry.node_id = "node-1".into()), WireError::Uuid("node_id"));
    let long = refused(&|entry| entry.reason = "a".repeat(REASON_BYTES_MAX + 1));
    assert_eq!(long.to_string(), "reason: 257 bytes, allowed are 256");
}
