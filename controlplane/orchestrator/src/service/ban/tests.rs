//! The use cases with streams of nodes that hold a real replica each.

use std::collections::BTreeMap;

use secbeat_config::ban::Replica;
use secbeat_config::orchestrator::OrchestratorConfig;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::*;
use crate::service::{Stream, node, policy};
use crate::store::Store;

const PATIENCE: Duration = Duration::from_secs(30);

pub(in crate::service) struct Place {
    folder: TempDir,
    pub(in crate::service) o: Orchestrator,
}

impl Place {
    pub(in crate::service) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&folder.path().join("store")).unwrap();
        Self::with(folder, store)
    }

    fn with(folder: TempDir, store: Store) -> Self {
        let text = format!("[server]\nstate_dir = {:?}\n", folder.path());
        let config = OrchestratorConfig::parse("test", &text, &BTreeMap::new()).unwrap();
        let o = Orchestrator::open(config, store).unwrap();
        Self { folder, o }
    }

    /// Stops and starts again with the same store.
    async fn restart(self) -> Self {
        let Self { folder, o } = self;
        o.sessions.close_all(&Failure::Unavailable("restart".into()));
        drop(o);
        let started = Instant::now();
        loop {
            // Tasks of streams that end hold the store a moment longer.
            match Store::open(&folder.path().join("store")) {
                Ok((store, _)) => return Self::with(folder, store),
                Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(in crate::service) async fn allow(&self, name: &str, prefixes: &[&str]) {
        let body = serde_json::json!({"action": "allow", "prefixes": prefixes});
        self.apply(v1::ResourceKind::List, name, &body).await;
    }

    pub(in crate::service) async fn apply(
        &self,
        kind: v1::ResourceKind,
        name: &str,
        body: &serde_json::Value,
    ) {
        let key = v1::ResourceKey { kind: kind.into(), name: name.into() };
        let resource =
            v1::Resource { key: Some(key), body: body.to_string().into_bytes(), ..Default::default() };
        let request = v1::ApplyRequest { upserts: vec![resource], ..Default::default() };
        policy::apply(&self.o, &ada(), request).await.unwrap();
    }

    async fn total(&self) -> u64 {
        list_bans(&self.o, &ada(), v1::ListBansRequest::default()).await.unwrap().total
    }
}

pub(in crate::service) fn ada() -> Caller {
    Caller { name: "ada".into(), source: "test".into(), scopes: vec![Scope::Admin] }
}

pub(in crate::service) fn request(prefix: &str) -> v1::AddBanRequest {
    let ban = v1::NewBan {
        prefix: prefix.into(),
        duration_ms: 3_600_000,
        reason: "flood".into(),
        ..Default::default()
    };
    v1::AddBanRequest { mutation: None, ban: Some(ban), wait_ms: 0 }
}

fn removal(prefix: &str) -> v1::RemoveBanRequest {
    v1::RemoveBanRequest { prefix: prefix.into(), ..Default::default() }
}

fn net(text: &str) -> IpNet {
    parse_prefix(text).unwrap()
}

/// A node that does with bans what a node does.
struct Node {
    bans: Replica,
    messages: mpsc::Sender<Result<v1::NodeMessage, Failure>>,
    answers: Stream<v1::OrchestratorMessage>,
    theirs: BTreeMap<IpNet, secbeat_config::ban::Stamp>,
}

impl Node {
    async fn connect(o: &Orchestrator, bans: Replica) -> Self {
        let id = Uuid::from_bytes(bans.writer());
        let (messages, incoming) = mpsc::channel(64);
        let caller = Caller { name: format!("node {id}"), source: "test".into(), scopes: vec![Scope::Node] };
        let answers = node::attach(o, &caller, Box::pin(ReceiverStream::new(incoming))).await.unwrap();
        let hello = v1::Hello {
            node_id: id.to_string(),
            protocol: 1,
            now_ms: now_ms(),
            bans_digest: bans.digest().into(),
            ..Default::default()
        };
        let node = Self { bans, messages, answers, theirs: BTreeMap::new() };
        node.send(v1::node_message::Kind::Hello(hello)).await;
        while !o.sessions.connected().contains(&id.to_string()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        node
    }

    fn new_replica(number: u8) -> Replica {
        Replica::new([number; 16], 1_000_000)
    }

    async fn send(&self, kind: v1::node_message::Kind) {
        self.messages.send(Ok(v1::NodeMessage { kind: Some(kind) })).await.unwrap();
    }

    async fn send_bans(&self, entries: Vec<Entry>) {
        let entries = entries.into_iter().map(v1::BanEntry::from).collect();
        self.send(v1::node_message::Kind::Bans(v1::BanDelta { entries, ..Default::default() })).await;
    }

    /// Bans by itself, and tells.
    async fn ban(&mut self, prefix: &str, until_ms: Option<u64>) -> Entry {
        let node = Some(self.bans.writer());
        let origin = if until_ms.is_some() { Origin::Node } else { Origin::NodeApi };
        let entry = self.bans.ban(net(prefix), until_ms, "offences", origin, "", node, now_ms()).unwrap();
        self.send_bans(vec![entry.clone()]).await;
        entry
    }

    /// Takes messages until something holds.
    async fn until(&mut self, what: impl Fn(&Replica) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !what(&self.bans) {
            let message = tokio::time::timeout_at(deadline, self.answers.next()).await;
            let message = message.expect("in time").expect("the stream is open").unwrap();
            if let Some(v1::orchestrator_message::Kind::Bans(delta)) = message.kind {
                self.take(delta).await;
            }
        }
    }

    async fn take(&mut self, delta: v1::BanDelta) {
        let entries: Vec<Entry> = delta.entries.into_iter().map(|entry| entry.try_into().unwrap()).collect();
        if delta.is_whole {
            self.theirs.extend(entries.iter().map(|entry| (entry.prefix, entry.stamp)));
        }
        self.bans.merge(entries, now_ms());
        if delta.is_whole && !delta.has_more {
            let theirs = core::mem::take(&mut self.theirs);
            let lacks = |entry: &Entry| theirs.get(&entry.prefix).is_none_or(|stamp| *stamp < entry.stamp);
            let lacking: Vec<Entry> = self.bans.entries().filter(lacks).collect();
            self.send_bans(lacking).await;
        }
    }

    async fn until_banned(&mut self, prefix: &str) {
        let prefix = net(prefix);
        self.until(|bans| bans.get(&prefix).is_some_and(|entry| entry.is_active(now_ms()))).await;
    }

    async fn until_lifted(&mut self, prefix: &str) {
        let prefix = net(prefix);
        self.until(|bans| bans.get(&prefix).is_some_and(|entry| entry.removed)).await;
    }

    async fn report(&self, prefix: &str, packets: u64, is_enforced: bool) {
        let hits = v1::BanHits { prefix: net(prefix).to_string(), packets, is_enforced };
        let telemetry = v1::Telemetry { ban_hits: vec![hits], ..Default::default() };
        self.send(v1::node_message::Kind::Telemetry(telemetry)).await;
    }
}

async fn until(what: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !what().await {
        assert!(Instant::now() < deadline, "in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_ban_reaches_every_node_and_outlives_a_restart() {
    let place = Place::new();
    let mut a = Node::connect(&place.o, Node::new_replica(1)).await;
    let mut b = Node::connect(&place.o, Node::new_replica(2)).await;
    let ban = add_ban(&place.o, &ada(), request("192.0.2.77")).await.unwrap().ban.unwrap();
    let entry = ban.entry.unwrap();
    assert_eq!(
        (entry.prefix.as_str(), entry.reason.as_str(), entry.actor.as_str()),
        ("192.0.2.77/32", "flood", "ada")
    );
    assert_eq!(ban.nodes_connected, 2);
    a.until_banned("192.0.2.77").await;
    b.until_banned("192.0.2.77").await;
    remove_ban(&place.o, &ada(), removal("192.0.2.77")).await.unwrap();
    add_ban(&place.o, &ada(), request("2001:db8::/64")).await.unwrap();
    a.until_lifted("192.0.2.77").await;
    let digest = place.o.bans.digest();
    drop((a, b));
    let place = place.restart().await;
    assert_eq!(place.o.bans.digest(), digest);
    assert_eq!(place.total().await, 1);
}

#[tokio::test]
async fn what_a_node_bans_reaches_the_others_and_is_kept() {
    let place = Place::new();
    let mut a = Node::connect(&place.o, Node::new_replica(1)).await;
    let mut b = Node::connect(&place.o, Node::new_replica(2)).await;
    let entry = a.ban("192.0.2.1", Some(now_ms() + 3_600_000)).await;
    b.until_banned("192.0.2.1").await;
    assert_eq!(b.bans.get(&entry.prefix), Some(entry.clone()));
    until(async || place.o.bans.active(&entry.prefix).is_some()).await;
    drop((a, b));
    let place = place.restart().await;
    assert_eq!(place.o.bans.active(&entry.prefix), Some(entry));
}

#[tokio::test]
async fn after_a_partition_both_sides_end_equal() {
    let place = Place::new();
    for number in 0..20_u32 {
        add_ban(&place.o, &ada(), request(&format!("10.0.0.{number}"))).await.unwrap();
    }
    let mut bans = Node::new_replica(1);
    for number in 10..30_u32 {
        let prefix = net(&format!("10.0.0.{number}"));
        bans.ban(prefix, None, "api", Origin::NodeApi, "", None, now_ms()).unwrap();
    }
    let mut a = Node::connect(&place.o, bans).await;
    a.until(|bans| bans.len() == 30).await;
    until(async || place.o.bans.digest() == a.bans.digest()).await;
    assert_eq!(place.total().await, 30);
    // Equal lists are not sent again: a new stream gets nothing but what changes.
    let bans = a.bans.clone();
    drop(a);
    until(async || place.o.sessions.is_empty()).await;
    let mut a = Node::connect(&place.o, bans).await;
    add_ban(&place.o, &ada(), request("192.0.2.9")).await.unwrap();
    let mut whole = 0;
    while a.bans.get(&net("192.0.2.9")).is_none() {
        let message = tokio::time::timeout(PATIENCE, a.answers.next()).await.unwrap().unwrap().unwrap();
        if let Some(v1::orchestrator_message::Kind::Bans(delta)) = message.kind {
            whole += usize::from(delta.is_whole);
            a.take(delta).await;
        }
    }
    assert_eq!(whole, 0);
}

#[tokio::test]
async fn a_whole_list_goes_in_parts_that_a_message_may_have() {
    let place = Place::new();
    let bans =
        (0..20_000_u32).map(|number| new(&format!("10.1.{}.{}", number / 256, number % 256))).collect();
    let imported = v1::ImportBansRequest { mutation: None, bans };
    assert_eq!(import_bans(&place.o, &ada(), imported).await.unwrap().added, 20_000);
    let (mut last, mut parts, mut entries) = (None, 0, 0);
    loop {
        let (part, next) = place.o.bans.part(last);
        assert!(prost::Message::encoded_len(&part) < 3_000_000);
        (parts, entries) = (parts + 1, entries + part.entries.len());
        assert_eq!(part.has_more, next.is_some());
        last = next;
        if last.is_none() {
            break;
        }
    }
    assert_eq!(entries, 20_000);
    assert!(parts >= 3, "{parts}");
    let mut a = Node::connect(&place.o, Node::new_replica(1)).await;
    a.until(|bans| bans.len() == 20_000).await;
    assert_eq!(a.bans.digest(), place.o.bans.digest());
}

#[tokio::test]
async fn an_answer_may_wait_for_enforcement_on_every_connected_node() {
    let place = Place::new();
    let mut a = Node::connect(&place.o, Node::new_replica(1)).await;
    let mut b = Node::connect(&place.o, Node::new_replica(2)).await;
    let waiting = v1::AddBanRequest { wait_ms: 30_000, ..request("192.0.2.1") };
    let o = place.o.clone();
    let answer = tokio::spawn(async move { add_ban(&o, &ada(), waiting).await });
    a.until_banned("192.0.2.1").await;
    a.report("192.0.2.1", 7, true).await;
    let prefix = net("192.0.2.1");
    until(async || !place.o.bans.hits_of(&prefix).is_empty()).await;
    assert!(!answer.is_finished(), "one node is missing");
    b.until_banned("192.0.2.1").await;
    b.report("192.0.2.1", 5, true).await;
    let ban = answer.await.unwrap().unwrap().ban.unwrap();
    assert_eq!((ban.nodes_connected, ban.nodes_enforcing, ban.hits), (2, 2, 12));
    assert_eq!(ban.nodes.len(), 2);
    // A lift waits until nobody enforces any more.
    let waiting = v1::RemoveBanRequest { wait_ms: 30_000, ..removal("192.0.2.1") };
    let o = place.o.clone();
    let answer = tokio::spawn(async move { remove_ban(&o, &ada(), waiting).await });
    for node in [&mut a, &mut b] {
        node.until_lifted("192.0.2.1").await;
        node.report("192.0.2.1", 7, false).await;
    }
    let ban = answer.await.unwrap().unwrap().ban.unwrap();
    assert_eq!(ban.nodes_enforcing, 0);
    assert!(ban.entry.unwrap().is_removed);
}

#[tokio::test]
async fn a_wait_ends_when_its_time_is_over() {
    let place = Place::new();
    let _silent = Node::connect(&place.o, Node::new_replica(1)).await;
    let waiting = v1::AddBanRequest { wait_ms: 50, ..request("192.0.2.1") };
    let ban = add_ban(&place.o, &ada(), waiting).await.unwrap().ban.unwrap();
    assert_eq!((ban.nodes_connected, ban.nodes_enforcing), (1, 0));
}

#[tokio::test]
async fn allowlisted_addresses_are_never_banned_by_whomever() {
    let place = Place::new();
    place.allow("partners", &["192.0.2.0/24"]).await;
    let refused = add_ban(&place.o, &ada(), request("192.0.2.7")).await.unwrap_err();
    let words = "192.0.2.7/32: 192.0.2.0/24 is allowlisted by list/partners; remove it there first";
    assert_eq!(refused, Failure::Refused(words.into()));
    let around = add_ban(&place.o, &ada(), request("192.0.0.0/16")).await.unwrap();
    assert_eq!(around.exempt, ["192.0.2.0/24"]);
    // A node that does not have the list yet.
    let mut a = Node::connect(&place.o, Node::new_replica(1)).await;
    let mut b = Node::connect(&place.o, Node::new_replica(2)).await;
    a.ban("192.0.2.8", None).await;
    a.until_lifted("192.0.2.8").await;
    b.until_lifted("192.0.2.8").await;
    let lift = b.bans.get(&net("192.0.2.8")).unwrap();
    assert_eq!(lift.reason, "192.0.2.0/24 is allowlisted by list/partners");
    assert_eq!(place.total().await, 1);
}

#[tokio::test]
async fn what_a_new_allow_list_covers_is_lifted_by_the_reconciler() {
    let place = Place::new();
    for prefix in ["192.0.2.7", "192.0.2.8", "198.51.100.1"] {
        add_ban(&place.o, &ada(), request(prefix)).await.unwrap();
    }
    let mut progress = crate::ban::Progress::default();
    place.o.bans.reconcile(&place.o.sessions, &mut progress).await.unwrap();
    assert_eq!(place.total().await, 3);
    place.allow("partners", &["192.0.2.0/24"]).await;
    place.o.bans.reconcile(&place.o.sessions, &mut progress).await.unwrap();
    assert_eq!(place.total().await, 1);
    assert!(place.o.bans.active(&net("198.51.100.1")).is_some());
}

#[tokio::test]
async fn ended_bans_are_forgotten_and_leave_the_store() {
    let place = Place::new();
    let mut bans = Node::new_replica(1);
    let prefix = net("192.0.2.1");
    let soon_ms = now_ms() + 3_000;
    // A node's ban that ended so long ago that it is forgotten in a moment.
    let until_ms = Some(soon_ms - secbeat_config::ban::GRACE_MS);
    let entry = bans.ban(prefix, until_ms, "", Origin::Node, "", None, now_ms()).unwrap();
    place.o.bans.receive(&place.o.sessions, Uuid::from_u128(1), whole(vec![entry])).await.unwrap();
    assert_eq!(place.o.bans.numbers().entries, 1);
    let mut progress = crate::ban::Progress::default();
    let deadline = Instant::now() + PATIENCE;
    while place.o.bans.numbers().entries > 0 {
        assert!(Instant::now() < deadline);
        place.o.bans.reconcile(&place.o.sessions, &mut progress).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(now_ms() >= soon_ms, "not before its time");
    let place = place.restart().await;
    assert_eq!(place.o.bans.numbers().entries, 0);
}

#[tokio::test]
async fn a_ban_from_before_a_forgotten_lift_is_lifted_again_also_after_a_restart() {
    let place = Place::new();
    let (mut away, mut other) = (Node::new_replica(1), Node::new_replica(2));
    let long_ago_ms = now_ms() - secbeat_config::ban::RETENTION_MS;
    let prefix = net("192.0.2.1");
    let ban = away.ban(prefix, None, "old", Origin::NodeApi, "", None, long_ago_ms - 60_000).unwrap();
    other.merge([ban], long_ago_ms - 60_000);
    let lift = other.lift(prefix, "", "mistake", long_ago_ms + 3_000).unwrap();
    place.o.bans.receive(&place.o.sessions, Uuid::from_u128(2), whole(vec![lift])).await.unwrap();
    let mut progress = crate::ban::Progress::default();
    assert_eq!(place.o.bans.numbers().entries, 1);
    let deadline = Instant::now() + PATIENCE;
    while place.o.bans.numbers().entries > 0 {
        assert!(Instant::now() < deadline);
        place.o.bans.reconcile(&place.o.sessions, &mut progress).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let place = place.restart().await;
    let mut away = Node::connect(&place.o, away).await;
    away.until_lifted("192.0.2.1").await;
    assert_eq!(place.o.bans.numbers().losses.late, 1);
}

fn whole(entries: Vec<Entry>) -> v1::BanDelta {
    v1::BanDelta { entries: entries.into_iter().map(v1::BanEntry::from).collect(), ..Default::default() }
}

#[tokio::test]
async fn entries_that_cannot_be_read_are_counted_and_the_others_taken() {
    let place = Place::new();
    let mut bans = Node::new_replica(1);
    let good = bans.ban(net("192.0.2.1"), None, "", Origin::NodeApi, "", None, now_ms()).unwrap();
    let mut delta = whole(vec![good]);
    delta.entries.push(v1::BanEntry { prefix: "0.0.0.0/0".into(), ..delta.entries[0].clone() });
    delta.entries.push(v1::BanEntry { stamp: None, ..delta.entries[0].clone() });
    place.o.bans.receive(&place.o.sessions, Uuid::from_u128(1), delta).await.unwrap();
    let numbers = place.o.bans.numbers();
    assert_eq!((numbers.active, numbers.malformed), (1, 2));
}

fn new(prefix: &str) -> v1::NewBan {
    v1::NewBan { prefix: prefix.into(), is_permanent: true, reason: "feed".into(), ..Default::default() }
}

#[tokio::test]
async fn an_import_sets_each_alone_and_names_what_it_refuses() {
    let place = Place::new();
    place.allow("partners", &["192.0.2.0/24"]).await;
    let bans: Vec<v1::NewBan> =
        ["10.0.0.1", "10.0.0.0/8", "192.0.2.1", "nonsense", "0.0.0.0/0", "10.0.0.1/32"].map(new).into();
    let import = v1::ImportBansRequest { mutation: None, bans };
    let dry = v1::Mutation { dry_run: true, ..Default::default() };
    let tried = v1::ImportBansRequest { mutation: Some(dry), ..import.clone() };
    let tried = import_bans(&place.o, &ada(), tried).await.unwrap();
    assert_eq!((tried.added, place.total().await), (2, 0));
    let done = import_bans(&place.o, &ada(), import.clone()).await.unwrap();
    assert_eq!(tried, done);
    assert_eq!((done.added, done.unchanged, place.total().await), (2, 1, 2));
    let refused: Vec<&str> = done.refusals.iter().map(|refusal| refusal.prefix.as_str()).collect();
    assert_eq!(refused, ["192.0.2.1", "nonsense", "0.0.0.0/0"]);
    assert!(done.refusals[0].error.contains("list/partners"));
    let again = import_bans(&place.o, &ada(), import).await.unwrap();
    assert_eq!((again.added, again.unchanged), (0, 3));
}

#[tokio::test]
#[ignore = "prints how long 100,000 take"]
async fn a_hundred_thousand_prefixes_are_imported() {
    let place = Place::new();
    let mut a = Node::connect(&place.o, Node::new_replica(1)).await;
    let bans = (0..100_000_u32)
        .map(|number| new(&format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255)));
    let import = v1::ImportBansRequest { mutation: None, bans: bans.collect() };
    let started = std::time::Instant::now();
    assert_eq!(import_bans(&place.o, &ada(), import).await.unwrap().added, 100_000);
    println!("imported in {:?}", started.elapsed());
    a.until(|bans| bans.len() == 100_000).await;
    println!("on the node after {:?}", started.elapsed());
    drop(a);
    let started = std::time::Instant::now();
    let place = place.restart().await;
    println!("loaded in {:?}", started.elapsed());
    assert_eq!(place.total().await, 100_000);
}

#[tokio::test]
async fn a_repeated_request_is_carried_out_once() {
    let place = Place::new();
    let mutation = v1::Mutation { request_id: "42".into(), ..Default::default() };
    let ask = v1::AddBanRequest { mutation: Some(mutation), ..request("192.0.2.1") };
    let first = add_ban(&place.o, &ada(), ask.clone()).await.unwrap().ban.unwrap();
    remove_ban(&place.o, &ada(), removal("192.0.2.1")).await.unwrap();
    let second = add_ban(&place.o, &ada(), ask).await.unwrap().ban.unwrap();
    assert_eq!(first.entry, second.entry);
    assert_eq!(place.total().await, 0, "the lift holds");
}

#[tokio::test]
async fn a_dry_run_answers_like_the_request_and_changes_nothing() {
    let place = Place::new();
    let dry = Some(v1::Mutation { dry_run: true, ..Default::default() });
    let digest = place.o.bans.digest();
    let tried = v1::AddBanRequest { mutation: dry.clone(), ..request("192.0.2.1") };
    let ban = add_ban(&place.o, &ada(), tried).await.unwrap().ban.unwrap();
    assert_eq!(ban.entry.unwrap().prefix, "192.0.2.1/32");
    assert_eq!(place.o.bans.digest(), digest);
    add_ban(&place.o, &ada(), request("192.0.2.1")).await.unwrap();
    let tried = v1::RemoveBanRequest { mutation: dry, ..removal("192.0.2.1") };
    assert!(remove_ban(&place.o, &ada(), tried).await.unwrap().ban.unwrap().entry.unwrap().is_removed);
    assert_eq!(place.total().await, 1);
}

#[tokio::test]
async fn requests_that_are_wrong_say_what_is_right() {
    let place = Place::new();
    let failure = async |change: &dyn Fn(&mut v1::AddBanRequest)| {
        let mut ask = request("192.0.2.1");
        change(&mut ask);
        add_ban(&place.o, &ada(), ask).await.unwrap_err().to_string()
    };
    let ban =
        |ask: &mut v1::AddBanRequest, change: &dyn Fn(&mut v1::NewBan)| change(ask.ban.as_mut().unwrap());
    assert_eq!(failure(&|ask| ask.ban = None).await, "ban: is missing");
    let wrong = failure(&|ask| ban(ask, &|new| new.prefix = "example.org".into())).await;
    assert!(wrong.contains("`example.org` is not an address or CIDR prefix"), "{wrong}");
    let wrong = failure(&|ask| ban(ask, &|new| new.prefix = "10.0.0.0/7".into())).await;
    assert!(wrong.contains("/8 for IPv4"), "{wrong}");
    let wrong = failure(&|ask| ban(ask, &|new| new.is_permanent = true)).await;
    assert_eq!(wrong, "duration_ms: must be 0 when is_permanent is set");
    let wrong = failure(&|ask| ban(ask, &|new| new.duration_ms = u64::MAX)).await;
    assert!(wrong.contains("ten years"), "{wrong}");
    let wrong = failure(&|ask| ban(ask, &|new| new.reason = "a".repeat(257))).await;
    assert_eq!(wrong, "reason: 257 bytes; at most 256");
    assert_eq!(failure(&|ask| ask.wait_ms = 60_001).await, "wait_ms: 60001; at most 60000");
    let wrong =
        failure(&|ask| ask.mutation = Some(v1::Mutation { expected_revision: 3, ..Default::default() }))
            .await;
    assert!(wrong.contains("bans have no revision"), "{wrong}");
    let reader = Caller { scopes: vec![Scope::Read], ..ada() };
    assert!(matches!(add_ban(&place.o, &reader, request("192.0.2.1")).await, Err(Failure::Denied(_))));
    let missing = remove_ban(&place.o, &ada(), removal("192.0.2.1")).await.unwrap_err();
    assert_eq!(missing, Failure::NotFound("192.0.2.1/32 is not banned".into()));
    add_ban(&place.o, &ada(), request("192.0.2.0/24")).await.unwrap();
    let missing = remove_ban(&place.o, &ada(), removal("192.0.2.1")).await.unwrap_err();
    assert!(missing.to_string().contains("by 192.0.2.0/24: lift that"), "{missing}");
}

#[tokio::test]
async fn pages_show_every_ban_once_and_filters_hold() {
    let place = Place::new();
    let mut a = Node::connect(&place.o, Node::new_replica(1)).await;
    for number in 0..25 {
        add_ban(&place.o, &ada(), request(&format!("10.0.{number}.0/24"))).await.unwrap();
    }
    add_ban(&place.o, &ada(), request("10.0.0.0/8")).await.unwrap();
    a.ban("10.0.3.9", Some(now_ms() + 3_600_000)).await;
    until(async || place.total().await == 27).await;
    let pages = async |ask: v1::ListBansRequest| {
        let (mut ask, mut seen) = (ask, Vec::new());
        loop {
            let page = list_bans(&place.o, &ada(), ask.clone()).await.unwrap();
            assert!(page.bans.len() <= ask.page_size as usize);
            seen.extend(page.bans.into_iter().map(|ban| ban.entry.unwrap().prefix));
            ask.page_token = page.next_page_token;
            if ask.page_token.is_empty() {
                assert_eq!(page.total, seen.len() as u64);
                return seen;
            }
        }
    };
    for page_size in [1, 4, 100] {
        let ask = v1::ListBansRequest { page_size, ..Default::default() };
        assert_eq!(pages(ask.clone()).await.len(), 27);
        let touching = v1::ListBansRequest { touching: "10.0.3.0/24".into(), ..ask.clone() };
        assert_eq!(pages(touching).await, ["10.0.0.0/8", "10.0.3.0/24", "10.0.3.9/32"]);
        let touching = v1::ListBansRequest { touching: "10.0.3.9".into(), ..ask.clone() };
        assert_eq!(pages(touching).await, ["10.0.0.0/8", "10.0.3.0/24", "10.0.3.9/32"]);
        let of_nodes = v1::ListBansRequest { origins: vec![v1::BanOrigin::Node.into()], ..ask };
        assert_eq!(pages(of_nodes).await, ["10.0.3.9/32"]);
    }
    let wrong = v1::ListBansRequest { page_token: "7".into(), ..Default::default() };
    assert!(matches!(list_bans(&place.o, &ada(), wrong).await, Err(Failure::Invalid(_))));
}

#[tokio::test]
async fn a_watch_gives_what_is_a_bookmark_and_what_becomes() {
    let place = Place::new();
    add_ban(&place.o, &ada(), request("192.0.2.1")).await.unwrap();
    let mut watch = watch_bans(&place.o, &ada(), v1::WatchBansRequest {}).await.unwrap();
    let first = watch.next().await.unwrap().unwrap();
    assert!(first.bookmark);
    assert_eq!(first.entries.len(), 1);
    remove_ban(&place.o, &ada(), removal("192.0.2.1")).await.unwrap();
    let change = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
    assert!(change.entries[0].is_removed && !change.bookmark);
}

#[tokio::test]
async fn who_banned_what_and_why_is_in_the_audit_log() {
    let place = Place::new();
    add_ban(&place.o, &ada(), request("192.0.2.1")).await.unwrap();
    let _ = add_ban(&place.o, &ada(), request("nonsense")).await.unwrap_err();
    let log = v1::ListAuditRequest::default();
    let log = crate::service::audit::list_audit(&place.o, &ada(), log).await.unwrap();
    let entry = log.entries.iter().find(|entry| entry.target == "192.0.2.1/32").unwrap();
    assert_eq!((entry.action.as_str(), entry.actor.as_str()), ("ban.add", "ada"));
    assert!(entry.after.contains("\"reason\":\"flood\""), "{}", entry.after);
    assert_eq!(log.entries.iter().filter(|entry| entry.action == "ban.add").count(), 2);
}
