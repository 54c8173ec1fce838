use super::*;
use crate::lists::{BanRequest, Settings};

const HOUR: Duration = Duration::from_secs(3_600);
const HERE: [u8; 16] = [1; 16];
const ELSEWHERE: [u8; 16] = [2; 16];

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn lists(allow: &[&str]) -> Lists {
    let allow = allow.iter().map(|text| (net(text), "allowlist".to_owned())).collect();
    let settings = Settings {
        path: None,
        allow,
        block: Vec::new(),
        entries_max: 100,
        ban_time: HOUR,
        ban_time_max: HOUR * 24,
        manual_ban_time: HOUR,
    };
    Lists::open(settings, SystemTime::now()).0
}

fn open(dir: &Path, node: [u8; 16]) -> FleetBans {
    let (bans, warnings) = FleetBans::open(dir.join(FILE_NAME), node, 100);
    assert!(warnings.is_empty(), "{warnings:?}");
    bans
}

fn elsewhere(prefix: &str, until: Option<Duration>) -> Entry {
    let now_ms = millis(SystemTime::now());
    let until_ms = until.map(|until| now_ms + until.as_millis() as u64);
    let mut other = Replica::new(ELSEWHERE, 100);
    other.ban(net(prefix), until_ms, "scan", Written::Operator, "alice", None, now_ms).unwrap()
}

#[test]
fn ban_of_the_fleet_is_enforced_and_its_lift_ends_it() {
    let (dir, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
    let (mut bans, mut lists) = (open(dir.path(), HERE), lists(&[]));
    let mut other = Replica::new(ELSEWHERE, 100);
    let now_ms = millis(now);
    let set = other.ban(net("192.0.2.7/32"), None, "scan", Written::Operator, "", None, now_ms).unwrap();
    assert_eq!(bans.merge(vec![set.clone()], &mut lists, now).len(), 1);
    let held = lists.bans().next().unwrap().clone();
    assert_eq!((held.prefix, held.origin, held.until), (net("192.0.2.7/32"), Origin::Fleet, None));
    assert!(bans.merge(vec![set], &mut lists, now).is_empty(), "the same again changes nothing");
    let lifted = other.lift(net("192.0.2.7/32"), "", "", now_ms).unwrap();
    assert_eq!(bans.merge(vec![lifted], &mut lists, now).len(), 1);
    assert_eq!(lists.bans().count(), 0);
}

#[test]
fn allowlisted_ban_is_kept_for_others_and_never_enforced() {
    let (dir, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
    let (mut bans, mut lists) = (open(dir.path(), HERE), lists(&["192.0.2.0/24"]));
    bans.merge(vec![elsewhere("192.0.2.7/32", Some(HOUR))], &mut lists, now);
    assert!(!lists.is_blocked(&net("192.0.2.7/32")));
    assert_eq!(bans.replica().len(), 1);
    let mut open_lists = self::lists(&[]);
    bans.enforce_all(&mut open_lists, now);
    assert!(open_lists.is_blocked(&net("192.0.2.7/32")), "in force once the allowlist no longer covers it");
}

#[test]
fn own_ban_becomes_an_entry_and_a_weaker_one_does_not() {
    let (dir, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
    let (mut bans, mut lists) = (open(dir.path(), HERE), lists(&[]));
    let request = BanRequest {
        prefix: net("198.51.100.1/32"),
        origin: Origin::Auto,
        reason: "connection_rate".into(),
        duration: None,
    };
    let ban = lists.ban(request, now).unwrap().ban;
    let entry = bans.note_ban(&ban, now).unwrap();
    assert_eq!((entry.origin, entry.node), (Written::Node, Some(HERE)));
    assert!(bans.note_ban(&ban, now).is_none(), "the same end is no news");
    let lift = bans.note_lift(ban.prefix, "mistake", now).unwrap();
    assert!(lift.removed && lift.stamp > entry.stamp);
}

#[test]
fn replica_survives_a_restart_and_a_damaged_file_is_set_aside() {
    let (dir, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
    let (mut bans, mut lists) = (open(dir.path(), HERE), lists(&[]));
    bans.merge(
        vec![elsewhere("192.0.2.7/32", Some(HOUR)), elsewhere("2001:db8::/64", None)],
        &mut lists,
        now,
    );
    let (path, entries) = bans.to_save(false).unwrap();
    save(&path, entries).unwrap();
    assert!(bans.to_save(true).is_none(), "nothing changed since");
    let again = open(dir.path(), HERE);
    assert_eq!(again.replica().digest(), bans.replica().digest());
    let mut fresh = self::lists(&[]);
    let mut again = again;
    assert!(again.reconcile(&mut fresh, now).is_empty());
    assert_eq!(fresh.bans().count(), 2);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() - 20]).unwrap();
    let (empty, warnings) = FleetBans::open(path.clone(), HERE, 100);
    assert!(empty.replica().is_empty() && warnings[0].contains("damaged"), "{warnings:?}");
    assert!(path.with_extension("json.damaged").exists());
}

#[test]
fn bans_of_the_time_before_the_fleet_are_told_at_start() {
    let (dir, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
    let (mut bans, mut lists) = (open(dir.path(), HERE), lists(&[]));
    let request = BanRequest {
        prefix: net("198.51.100.1/32"),
        origin: Origin::Api,
        reason: "x".into(),
        duration: None,
    };
    lists.ban(request, now).unwrap();
    let told = bans.reconcile(&mut lists, now);
    assert_eq!((told.len(), told[0].origin), (1, Written::NodeApi));
    assert!(bans.reconcile(&mut lists, now).is_empty(), "once is enough");
}
