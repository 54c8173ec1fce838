use super::*;

const NOW: u64 = 1_800_000_000_000;
const DAY: u64 = 86_400_000;

const LIFE: Duration = Duration::from_secs(365 * 86_400);

/// The folder goes with the last of both.
fn tokens() -> (tempfile::TempDir, Tokens) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    (folder, Tokens::open(store, LIFE).unwrap())
}

fn new(name: &str, scopes: &[&str], lifetime_ms: u64) -> NewToken {
    let scopes = scopes.iter().map(|word| (*word).to_owned()).collect();
    NewToken { name: name.into(), scopes, lifetime_ms, created_by: "test".into() }
}

#[tokio::test]
async fn a_token_is_shown_once_and_only_its_hash_is_kept() {
    let (folder, tokens) = tokens();
    let (record, text) = tokens.create(new("ci", &["read", "ban:write"], 0), false, NOW).await.unwrap();
    assert!(text.starts_with("sbt_") && text.len() == TOKEN_CHARS, "{text}");
    let secret = text.rsplit('_').next().unwrap();
    let kept = serde_json::to_string(&tokens.list()).unwrap();
    assert!(!kept.contains(secret) && kept.contains(&hash_of(secret)), "{kept}");
    let files = std::fs::read(folder.path().join("store.redb")).unwrap();
    let has = |text: &str| files.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(!has(secret) && has(&hash_of(secret)), "at rest there is the hash only");
    assert!(!format!("{tokens:?}").contains(secret));
    let shown = tokens.find(&text, NOW).unwrap();
    assert_eq!(shown, Shown { name: "ci".into(), scopes: vec![Scope::Read, Scope::BanWrite] });
    assert_eq!(record.expires_ms, NOW + 365 * DAY);
}

#[tokio::test]
async fn what_is_not_the_whole_token_is_no_token() {
    let (_folder, tokens) = tokens();
    let (_, text) = tokens.create(new("ci", &["read"], 0), false, NOW).await.unwrap();
    let mut other = text.clone().into_bytes();
    let last = other.last_mut().unwrap();
    *last = if *last == b'0' { b'1' } else { b'0' };
    let other = String::from_utf8(other).unwrap();
    let hash = tokens.list()[0].hash.clone();
    let by_hash = format!("sbt_{}_{hash}", tokens.list()[0].id);
    for wrong in
        ["", "sbt_", &other, &text[..text.len() - 1], &format!("{text}0"), &text.to_uppercase(), &by_hash]
    {
        assert_eq!(tokens.find(wrong, NOW), None, "{wrong}");
    }
    let unknown = format!("sbt_{}_{}", "0".repeat(16), "\0".repeat(64));
    assert_eq!(tokens.find(&unknown, NOW), None);
}

#[tokio::test]
async fn a_token_ends_by_itself_or_when_revoked() {
    let (_folder, tokens) = tokens();
    let (_, short) = tokens.create(new("short", &["read"], 1_000), false, NOW).await.unwrap();
    assert!(tokens.find(&short, NOW + 999).is_some());
    assert!(tokens.find(&short, NOW + 1_000).is_none());
    let (record, long) = tokens.create(new("long", &["read"], 0), false, NOW).await.unwrap();
    assert_eq!(tokens.revoke(&record.id, true, NOW).await.unwrap().revoked_ms, NOW);
    assert!(tokens.find(&long, NOW).is_some(), "a dry run revokes nothing");
    tokens.revoke(&record.id, false, NOW + 5).await.unwrap();
    assert!(tokens.find(&long, NOW + 5).is_none());
    assert_eq!(tokens.revoke(&record.id, false, NOW + 9).await.unwrap().revoked_ms, NOW + 5);
    assert!(matches!(tokens.revoke("nothing", false, NOW).await, Err(Failure::NotFound(_))));
    assert_eq!(tokens.list().len(), 2);
    tokens.create(new("new", &["read"], 0), false, NOW + 31 * DAY).await.unwrap();
    let names: Vec<_> = tokens.list().into_iter().map(|record| record.name).collect();
    assert_eq!(names, ["new"], "ended ones are forgotten after 30 days");
}

#[tokio::test]
async fn names_scopes_and_lifetimes_are_checked() {
    let (_folder, tokens) = tokens();
    tokens.create(new("ci", &["read"], 0), false, NOW).await.unwrap();
    assert!(matches!(tokens.create(new("ci", &["read"], 0), false, NOW).await, Err(Failure::Conflict(_))));
    for bad in [
        new("", &["read"], 0),
        new("loopback", &["read"], 0),
        new("a b", &["read"], 0),
        new("a", &[], 0),
        new("a", &["root"], 0),
        new("a", &["node"], 0),
        new("a", &["join", "read"], 0),
        new("a", &["read"; 10], 0),
        new("a", &["read"], 366 * DAY),
    ] {
        let got = tokens.create(bad.clone(), true, NOW).await;
        assert!(matches!(got, Err(Failure::Invalid(_))), "{bad:?}: {got:?}");
    }
    let (record, text) = tokens.create(new("dry", &["read"], 0), true, NOW).await.unwrap();
    assert!(text.is_empty() && record.id.is_empty() && tokens.list().len() == 1);
}

#[tokio::test]
async fn a_join_token_is_good_for_one_node_and_key() {
    let (_folder, tokens) = tokens();
    tokens.create(new("rack-7", &["join"], 0), false, NOW).await.unwrap();
    tokens.create(new("ci", &["read"], 0), false, NOW).await.unwrap();
    tokens.use_up("rack-7", "node-a key-1", NOW).await.unwrap();
    tokens.use_up("rack-7", "node-a key-1", NOW).await.unwrap();
    for (name, other) in [("rack-7", "node-b key-1"), ("rack-7", "node-a key-2"), ("ci", "x"), ("none", "x")]
    {
        assert!(matches!(tokens.use_up(name, other, NOW).await, Err(Failure::Denied(_))), "{name} {other}");
    }
}

#[tokio::test]
async fn the_last_use_changes_at_most_once_a_minute() {
    let (_folder, tokens) = tokens();
    let (_, text) = tokens.create(new("ci", &["read"], 0), false, NOW).await.unwrap();
    tokens.find(&text, NOW).unwrap();
    tokens.find(&text, NOW + USE_WRITTEN_MS - 1).unwrap();
    assert_eq!(tokens.list()[0].last_used_ms, NOW);
    tokens.save_uses().await.unwrap();
    let reopened = Tokens::open(tokens.store.clone(), LIFE).unwrap();
    assert_eq!(reopened.list(), tokens.list());
    assert!(reopened.find(&text, NOW).is_some(), "tokens outlive the process");
    tokens.find(&text, NOW + USE_WRITTEN_MS).unwrap();
    assert_eq!(tokens.list()[0].last_used_ms, NOW + USE_WRITTEN_MS);
}
