//! Tests of the store.

use core::time::Duration;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::*;

fn net(text: &str) -> IpNet {
    text.parse::<IpNet>().or_else(|_| text.parse().map(|addr: core::net::IpAddr| addr.into())).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn settings(path: Option<&Path>) -> Settings {
    Settings {
        path: path.map(Into::into),
        allow: vec![(net("10.1.0.0/16"), "allowlist".into()), (net("192.0.2.7"), "backend web-1".into())],
        block: vec![net("198.51.100.0/24")],
        entries_max: 8,
        ban_time: Duration::from_secs(60),
        ban_time_max: Duration::from_secs(300),
        manual_ban_time: Duration::from_secs(3_600),
    }
}

fn lists() -> Lists {
    Lists::open(settings(None), at(0)).0
}

fn request(prefix: &str, origin: Origin) -> BanRequest {
    BanRequest { prefix: net(prefix), origin, reason: "test".into(), duration: None }
}

#[test]
fn allowlisted_address_is_not_banned_and_the_entry_is_named() {
    let error = lists().ban(request("10.1.2.3", Origin::Api), at(0)).unwrap_err();
    assert_eq!(error.to_string(), "10.1.2.3/32 is not banned: the allowlist has 10.1.0.0/16 (allowlist)");
    let error = lists().ban(request("192.0.2.7", Origin::Auto), at(0)).unwrap_err();
    assert!(error.to_string().contains("backend web-1"));
}

#[test]
fn ban_around_allowlisted_addresses_names_what_stays_exempt() {
    let mut lists = lists();
    let banned = lists.ban(request("10.0.0.0/8", Origin::Api), at(0)).unwrap();
    assert_eq!(banned.exempt, [net("10.1.0.0/16")]);
    let view = lists.view(at(0));
    assert!(view.allow.contains(&net("10.1.0.0/16")), "copies get the exemption with the ban");
}

#[test]
fn ban_of_a_continent_is_refused() {
    for (prefix, bits) in [("0.0.0.0/0", 8), ("64.0.0.0/7", 8), ("2000::/3", 16)] {
        let error = lists().ban(request(prefix, Origin::Api), at(0)).unwrap_err();
        assert!(matches!(error, Refusal::TooWide { bits_min, .. } if bits_min == bits), "{prefix}");
    }
    assert!(lists().ban(request("64.0.0.0/8", Origin::Api), at(0)).is_ok());
}

#[test]
fn ban_ends_at_its_time_and_is_reported() {
    let mut lists = lists();
    lists.ban(request("203.0.113.5", Origin::Auto), at(0)).unwrap();
    assert!(lists.expire(at(59)).is_empty());
    assert_eq!(lists.view(at(59)).block.last(), Some(&(net("203.0.113.5"), Some(Duration::from_secs(1)))));
    let ended = lists.expire(at(60));
    assert_eq!(ended.first().map(|ban| ban.prefix), Some(net("203.0.113.5")));
    assert_eq!(lists.bans().count(), 0);
}

#[test]
fn automatic_ban_doubles_for_who_comes_back_until_the_longest() {
    let mut lists = lists();
    let mut now = 0;
    let mut lengths = Vec::new();
    for _ in 0..5 {
        let ban = lists.ban(request("203.0.113.5", Origin::Auto), at(now)).unwrap().ban;
        lengths.push(ban.until.unwrap().duration_since(at(now)).unwrap().as_secs());
        now += lengths.last().unwrap();
        lists.expire(at(now));
    }
    assert_eq!(lengths, [60, 120, 240, 300, 300]);
    lists.expire(at(now + 300));
    let ban = lists.ban(request("203.0.113.5", Origin::Auto), at(now + 300)).unwrap().ban;
    assert_eq!(ban.until, Some(at(now + 360)), "forgotten after good behaviour");
}

#[test]
fn renewal_keeps_the_later_end_and_counts() {
    let mut lists = lists();
    let long = BanRequest { duration: Some(Duration::from_secs(900)), ..request("203.0.113.5", Origin::Api) };
    lists.ban(long, at(0)).unwrap();
    let ban = lists.ban(request("203.0.113.5", Origin::Auto), at(10)).unwrap().ban;
    assert_eq!((ban.until, ban.hits, ban.origin), (Some(at(900)), 2, Origin::Api));
    let short = BanRequest { duration: Some(Duration::from_secs(5)), ..request("203.0.113.5", Origin::Api) };
    assert_eq!(lists.ban(short, at(10)).unwrap().ban.until, Some(at(15)), "a person may shorten");
}

#[test]
fn full_lists_displace_the_automatic_ban_that_ends_first_and_never_a_person_s() {
    let mut lists = lists();
    // Three entries come from the settings; five are free.
    for (index, seconds) in [50u64, 20, 40].iter().enumerate() {
        let prefix = format!("203.0.113.{index}");
        let duration = Some(Duration::from_secs(*seconds));
        lists.ban(BanRequest { duration, ..request(&prefix, Origin::Auto) }, at(0)).unwrap();
    }
    for index in 10..14 {
        lists.ban(request(&format!("203.0.113.{index}"), Origin::Api), at(0)).unwrap();
    }
    assert_eq!((lists.len(), lists.displaced()), (8, 2));
    let left: Vec<_> = lists.bans().filter(|ban| ban.origin == Origin::Auto).map(|ban| ban.prefix).collect();
    assert_eq!(left, [net("203.0.113.0")], "20 s and 40 s went first");
    lists.ban(request("203.0.113.14", Origin::Api), at(0)).unwrap();
    let error = lists.ban(request("203.0.113.15", Origin::Api), at(0)).unwrap_err();
    assert_eq!(error, Refusal::Full { entries_max: 8 });
}

#[test]
fn lifting_tells_a_missing_ban_from_a_configured_one() {
    let mut lists = lists();
    lists.ban(request("203.0.113.5", Origin::Api), at(0)).unwrap();
    assert_eq!(lists.unban(net("203.0.113.5")).unwrap().prefix, net("203.0.113.5"));
    let gone = lists.unban(net("203.0.113.5")).unwrap_err();
    assert_eq!(gone, Refusal::NotBanned { prefix: net("203.0.113.5") });
    let configured = lists.unban(net("198.51.100.0/24")).unwrap_err();
    assert_eq!(configured, Refusal::Configured { prefix: net("198.51.100.0/24") });
}

#[test]
fn changes_bring_a_copy_to_the_same_state_as_a_fresh_view() {
    let mut lists = lists();
    assert_eq!(lists.take_changes(at(0)), Changes::Everything, "a copy starts with everything");
    lists.ban(request("203.0.113.5", Origin::Api), at(0)).unwrap();
    lists.ban(request("203.0.113.6", Origin::Api), at(0)).unwrap();
    lists.unban(net("203.0.113.5")).unwrap();
    let hour = Some(Duration::from_secs(3_600));
    let expected = vec![Change::Unblock(net("203.0.113.5")), Change::Block(net("203.0.113.6"), hour)];
    assert_eq!(lists.take_changes(at(0)), Changes::Steps(expected));
    assert_eq!(lists.take_changes(at(0)), Changes::Steps(Vec::new()));
    lists.reload(settings(None));
    assert_eq!(lists.take_changes(at(0)), Changes::Everything);
}

#[test]
fn lifting_a_ban_keeps_a_configured_block_of_the_same_prefix() {
    let mut lists = lists();
    lists.take_changes(at(0));
    lists.ban(request("198.51.100.0/24", Origin::Api), at(0)).unwrap();
    lists.unban(net("198.51.100.0/24")).unwrap();
    let expected = vec![Change::Block(net("198.51.100.0/24"), None)];
    assert_eq!(lists.take_changes(at(0)), Changes::Steps(expected));
}

#[test]
fn reload_lifts_bans_that_the_new_allowlist_covers() {
    let mut lists = lists();
    lists.ban(request("203.0.113.5", Origin::Api), at(0)).unwrap();
    let mut next = settings(None);
    next.allow.push((net("203.0.113.0/24"), "allowlist".into()));
    lists.reload(next);
    assert_eq!(lists.bans().count(), 0);
}

#[test]
fn bans_and_strikes_survive_a_restart_and_expired_ones_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/bans.json");
    let (mut lists, warnings) = Lists::open(settings(Some(&path)), at(0));
    assert!(warnings.is_empty(), "{warnings:?}");
    lists.ban(request("203.0.113.4", Origin::Auto), at(0)).unwrap();
    lists.expire(at(60));
    lists.ban(request("203.0.113.5", Origin::Api), at(60)).unwrap();
    lists.ban(request("2001:db8::/64", Origin::Auto), at(60)).unwrap();
    assert!(lists.is_unsaved());
    lists.save().unwrap();
    assert!(!lists.is_unsaved());
    let (mut again, warnings) = Lists::open(settings(Some(&path)), at(200));
    assert!(warnings.is_empty(), "{warnings:?}");
    let bans: Vec<_> = again.bans().cloned().collect();
    let kept: Vec<_> = lists.bans().filter(|ban| ban.prefix == net("203.0.113.5")).cloned().collect();
    assert_eq!(bans, kept);
    let ban = again.ban(request("203.0.113.4", Origin::Auto), at(200)).unwrap().ban;
    assert_eq!(ban.until, Some(at(320)), "the second ban of this source is twice as long");
}

#[test]
fn torn_file_is_set_aside_and_the_older_copy_used() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bans.json");
    let (mut lists, _) = Lists::open(settings(Some(&path)), at(0));
    lists.ban(request("203.0.113.5", Origin::Api), at(0)).unwrap();
    lists.save().unwrap();
    lists.ban(request("203.0.113.6", Origin::Api), at(0)).unwrap();
    lists.save().unwrap();
    let whole = fs::read(&path).unwrap();
    for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        let (torn, warnings) = Lists::open(settings(Some(&path)), at(1));
        assert_eq!(torn.bans().count(), 1, "cut at {cut}: the copy before the last save");
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(dir.path().join("bans.json.damaged").exists());
    }
}

#[test]
fn file_of_nonsense_never_stops_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bans.json");
    for text in [
        "[]",
        "{\"format\":2,\"bans\":[],\"past\":[]}",
        "{\"format\":1,\"bans\":[{\"prefix\":\"x\"}]}",
        "\u{0}",
    ] {
        fs::write(&path, text).unwrap();
        let (lists, warnings) = Lists::open(settings(Some(&path)), at(0));
        assert_eq!(lists.bans().count(), 0);
        assert_eq!(warnings.len(), 1, "{text}");
    }
}

#[test]
fn list_file_is_read_line_by_line_and_mistakes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("block.txt");
    fs::write(&path, "# a feed\n192.0.2.1\n198.51.100.7/24 ; note\n\nnonsense\n2001:db8::/32#x\n").unwrap();
    let list = read_prefixes(&path).unwrap();
    assert_eq!(list.prefixes, [net("192.0.2.1"), net("198.51.100.0/24"), net("2001:db8::/32")]);
    assert_eq!(list.mistakes.len(), 1);
    assert!(list.mistakes[0].ends_with("block.txt:5: `nonsense` is no prefix"), "{}", list.mistakes[0]);
    assert!(read_prefixes(&dir.path().join("absent")).is_err());
}
