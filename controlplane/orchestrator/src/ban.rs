//! The fleet's ban list.
//!
//! ```text
//!  service::ban --decide--> Replica (one lock) --rows, in order--> store     then: answer
//!  session --receive------>    |  '--published--> every connected node, watchers
//!  task: reconcile ---------- expire, forget, lift what the allowlist came to cover
//! ```
//!
//! Owns: this orchestrator's replica of the list (`secbeat_config::ban`), its rows in the store, what nodes report of
//! enforcement, who watches. Does not own: who may ban (`service::ban`), how nodes are reached (`session`).
//!
//! A decision is on disk before it is answered, and sent to the nodes then; when the disk refuses it, it is taken
//! back. What a node decided is sent on at once, and kept as soon as the disk takes it. The lock is held for
//! [`DECIDED_PER_LOCK`] entries (ten milliseconds when thousands end at once), never over a wait.

mod exchange;
mod exempt;
mod hits;
mod reconcile;
mod records;

use core::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use secbeat_config::ban::{ENTRIES_MAX, Entry, Losses, Replica};
use secbeat_config::policy::Set;
use secbeat_proto::v1;
use tokio::sync::{Notify, broadcast, watch};

pub use exchange::PART_ENTRIES_MAX;
pub use exempt::Exempt;
pub(crate) use exempt::read_list;
pub use hits::{NodeHits, PAIRS_MAX};
pub use reconcile::{PERIOD, Progress};

use crate::failure::Failure;
use crate::orchestrator::now_ms;
use crate::session::Sessions;
use crate::store::Store;
use hits::Hits;
use records::Rows;

/// Entries decided or looked at while the lock is held: a third of a millisecond.
pub const DECIDED_PER_LOCK: usize = 256;

/// Entries of one message to the nodes: about 300 KB.
pub const MESSAGE_ENTRIES_MAX: usize = 2_000;

/// Messages that a watcher may lag behind, up to 2,000 entries each. More: it is told how many it missed.
const WATCH_MESSAGES_MAX: usize = 256;

/// The ban list. A clone is another hold on the same one.
#[derive(Clone, Debug)]
pub struct Bans {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    replica: Mutex<Replica>,
    hits: Mutex<Hits>,
    exempt: ArcSwap<Exempt>,
    /// Changed entries, for watchers.
    changes: broadcast::Sender<Arc<Vec<v1::BanEntry>>>,
    /// Counts reports of nodes, for those who wait for enforcement.
    reports: watch::Sender<u64>,
    /// The allowlist changed: look at what it covers.
    signal: Notify,
    is_exempt_changed: AtomicBool,
    malformed: AtomicU64,
    damaged_rows: u64,
}

/// Numbers for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Bans in force.
    pub active: usize,
    /// Entries held, lifts and ended bans included.
    pub entries: usize,
    /// What was not taken.
    pub losses: Losses,
    /// Entries of nodes that cannot be understood.
    pub malformed: u64,
    /// Reports of enforcement that found no room.
    pub hits_lost: u64,
    /// Pairs of ban and node that something is known of.
    pub hit_pairs: usize,
    /// Rows of the store that could not be read at start.
    pub damaged_rows: u64,
}

/// A change that was made, and how to take it back.
#[derive(Debug)]
struct Undo {
    entry: Entry,
    before: Option<Entry>,
}

impl Bans {
    /// Loads the list. Blocks for as long as that takes: two seconds for a million entries.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(store: Store) -> Result<Self, Failure> {
        let loaded = records::load(&store)?;
        if loaded.damaged > 0 {
            tracing::error!(rows = loaded.damaged, "rows of the ban list cannot be read and have no effect");
        }
        let mut replica = Replica::keeper(store.id().into_bytes(), ENTRIES_MAX, loaded.forgotten_ms);
        replica.restore(loaded.entries);
        let inner = Inner {
            store,
            replica: Mutex::new(replica),
            hits: Mutex::default(),
            exempt: ArcSwap::default(),
            changes: broadcast::channel(WATCH_MESSAGES_MAX).0,
            reports: watch::channel(0).0,
            signal: Notify::new(),
            is_exempt_changed: AtomicBool::new(true),
            malformed: AtomicU64::new(0),
            damaged_rows: loaded.damaged,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Takes over the allow lists of a policy: from now on what they cover is refused, and what is banned already is
    /// lifted by the reconciler. Cheap when no list has changed.
    pub fn set_policy(&self, set: &Set) {
        if self.exempt().is_of(set) {
            return;
        }
        self.inner.exempt.store(Arc::new(Exempt::of(set)));
        self.inner.is_exempt_changed.store(true, Ordering::Relaxed);
        self.inner.signal.notify_one();
    }

    /// What may not be banned.
    pub fn exempt(&self) -> Arc<Exempt> {
        self.inner.exempt.load_full()
    }

    /// Decides under the lock, keeps what was decided, then sends it to every node. `decide` may change no more than
    /// [`DECIDED_PER_LOCK`] entries, and only by `Replica::ban` and `Replica::lift`.
    ///
    /// The transaction is queued before this is first polled to a wait, but nodes are told after it: do not drop the
    /// future (see `service::ban::detached`).
    ///
    /// # Errors
    /// Those of `decide`; [`Failure::Unavailable`] when the store cannot write: then nothing has changed.
    pub async fn decide<T>(
        &self,
        sessions: &Sessions,
        decide: impl FnOnce(&mut Decisions<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (result, decided) = self.keep(decide).await?;
        self.publish(sessions, decided, None);
        Ok(result)
    }

    /// As [`Self::decide`], without sending: what is to be sent is given back, so that many parts make few messages.
    pub(crate) async fn keep<T>(
        &self,
        decide: impl FnOnce(&mut Decisions<'_>) -> Result<T, Failure>,
    ) -> Result<(T, Vec<Entry>), Failure> {
        let (result, undo, written) = {
            let mut replica = self.replica();
            let mut decisions = Decisions { replica: &mut replica, undo: Vec::new(), now_ms: now_ms() };
            let result = decide(&mut decisions)?;
            let undo = decisions.undo;
            let changed: Vec<Entry> = undo.iter().map(|undo| undo.entry.clone()).collect();
            let rows = records::rows(&mut replica, &changed);
            (result, undo, self.write(rows, &replica))
        };
        if let Err(failure) = written.await {
            let mut replica = self.replica();
            // Backwards: the same prefix may have been decided about twice.
            for undo in undo.into_iter().rev() {
                replica.undo(&undo.entry, undo.before);
            }
            return Err(failure);
        }
        Ok((result, undo.into_iter().map(|undo| undo.entry).collect()))
    }

    /// Changes the replica and queues the rows; the future says when they are on disk.
    fn change(
        &self,
        change: &mut dyn FnMut(&mut Replica) -> Vec<Entry>,
    ) -> (Vec<Entry>, impl Future<Output = Result<(), Failure>> + Send + use<>) {
        let mut replica = self.replica();
        let changed = change(&mut replica);
        let rows = records::rows(&mut replica, &changed);
        let written = self.write(rows, &replica);
        (changed, written)
    }

    fn write(
        &self,
        rows: Rows,
        replica: &Replica,
    ) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        let written =
            (!rows.is_empty()).then(|| records::write(&self.inner.store, rows, replica.forgotten_ms()));
        async move {
            match written {
                Some(written) => Ok(written.await?),
                None => Ok(()),
            }
        }
    }

    /// Sends entries to the nodes and to those who watch.
    pub(crate) fn publish(&self, sessions: &Sessions, entries: Vec<Entry>, except: Option<&str>) {
        let mut entries = entries.into_iter().map(v1::BanEntry::from).peekable();
        while entries.peek().is_some() {
            let part: Vec<v1::BanEntry> = entries.by_ref().take(MESSAGE_ENTRIES_MAX).collect();
            sessions.broadcast_bans(&part, except);
            // Nobody watching is no error.
            let _ = self.inner.changes.send(Arc::new(part));
        }
    }

    /// Digest of the list.
    pub fn digest(&self) -> [u8; 32] {
        self.replica().digest()
    }

    /// Bans in force that cover a prefix or are it, the widest first.
    pub fn covering(&self, prefix: IpNet) -> Vec<Entry> {
        self.replica().covering_prefix(prefix, now_ms()).collect()
    }

    /// What is held for a prefix, if it is in force.
    pub fn active(&self, prefix: &IpNet) -> Option<Entry> {
        self.replica().get(prefix).filter(|entry| entry.is_active(now_ms()))
    }

    /// What nodes report of a ban.
    pub fn hits_of(&self, prefix: &IpNet) -> Vec<NodeHits> {
        self.hits().of(prefix)
    }

    /// Counts reports of nodes; changes with each.
    pub fn reports(&self) -> watch::Receiver<u64> {
        self.inner.reports.subscribe()
    }

    /// Changed entries from now on.
    pub fn changes(&self) -> broadcast::Receiver<Arc<Vec<v1::BanEntry>>> {
        self.inner.changes.subscribe()
    }

    /// Looks at the replica: at no more than [`DECIDED_PER_LOCK`] entries.
    pub fn look<T>(&self, look: impl FnOnce(&Replica) -> T) -> T {
        look(&self.replica())
    }

    /// Numbers for metrics.
    pub fn numbers(&self) -> Numbers {
        let (hit_pairs, hits_lost) = {
            let hits = self.hits();
            (hits.pairs(), hits.lost)
        };
        let replica = self.replica();
        Numbers {
            active: replica.active_len(&[]),
            entries: replica.len(),
            losses: replica.losses(),
            malformed: self.inner.malformed.load(Ordering::Relaxed),
            hits_lost,
            hit_pairs,
            damaged_rows: self.inner.damaged_rows,
        }
    }

    fn count_malformed(&self) {
        self.inner.malformed.fetch_add(1, Ordering::Relaxed);
    }

    fn writer(&self) -> [u8; 16] {
        self.inner.store.id().into_bytes()
    }

    // A panic elsewhere does not make the tables wrong: each change of one is complete or not begun.
    fn replica(&self) -> MutexGuard<'_, Replica> {
        self.inner.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hits(&self) -> MutexGuard<'_, Hits> {
        self.inner.hits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The replica while something is decided.
#[derive(Debug)]
pub struct Decisions<'a> {
    replica: &'a mut Replica,
    undo: Vec<Undo>,
    /// The moment of the decision.
    pub now_ms: u64,
}

impl Decisions<'_> {
    /// What is held for a prefix.
    pub fn get(&self, prefix: &IpNet) -> Option<Entry> {
        self.replica.get(prefix)
    }

    /// Bans: prefix, end, reason, origin and actor are taken from `wanted`.
    ///
    /// # Errors
    /// [`Failure::Exhausted`] when the list is full.
    pub fn ban(&mut self, wanted: &Entry) -> Result<Entry, Failure> {
        let before = self.replica.get(&wanted.prefix);
        let Entry { prefix, until_ms, reason, origin, actor, node, .. } = wanted;
        let entry = self.replica.ban(*prefix, *until_ms, reason, *origin, actor, *node, self.now_ms);
        let entry = entry.map_err(|refusal| refused(&refusal))?;
        self.undo.push(Undo { entry: entry.clone(), before });
        Ok(entry)
    }

    /// Lifts a ban. `None`: there is none in force.
    pub fn lift(&mut self, prefix: IpNet, actor: &str, reason: &str) -> Option<Entry> {
        let before = self.replica.get(&prefix);
        let entry = self.replica.lift(prefix, actor, reason, self.now_ms)?;
        self.undo.push(Undo { entry: entry.clone(), before });
        Some(entry)
    }
}

/// A refusal of the replica as a failure.
pub(crate) fn refused(refusal: &secbeat_config::ban::Refusal) -> Failure {
    match refusal {
        secbeat_config::ban::Refusal::Full { .. } => Failure::Exhausted(refusal.to_string()),
        secbeat_config::ban::Refusal::Wide(_) => Failure::Invalid(refusal.to_string()),
    }
}
