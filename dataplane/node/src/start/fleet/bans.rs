//! The replicated ban list of a node, and its file.
//!
//! Owns: the replica, which of its entries are to be enforced, and keeping it across restarts. Does not own: enforcing
//! (`crate::lists` and what follows it), the wire (`crate::agent`), the law of merging (`secbeat_config::ban`).
//!
//! Every ban that this node sets becomes an entry; every entry in force is set in the lists, unless the allowlist
//! covers it: then it is only kept, for others. The file holds the whole replica, written at most every few seconds:
//! what it misses after a crash, the orchestrator or the file of bans has.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use secbeat_config::ban::{Entry, Origin as Written, Replica, Stamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::lists::{Ban, Lists, Origin};

/// Name of the file in the state directory.
pub const FILE_NAME: &str = "ban-replica.json";

/// First line of the file.
const HEAD: &str = "secbeat-ban-replica 1";

/// Shortest time between two writings.
const SAVE_INTERVAL: Duration = Duration::from_secs(5);

/// The replica of a node.
#[derive(Debug)]
pub struct FleetBans {
    replica: Replica,
    node: [u8; 16],
    path: PathBuf,
    saved_changes: u64,
    saved_at: Option<Instant>,
}

/// An entry on disk.
#[derive(Serialize, Deserialize)]
struct Stored {
    prefix: IpNet,
    wall_ms: u64,
    counter: u32,
    writer: Uuid,
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    removed: bool,
    until_ms: Option<u64>,
    since_ms: u64,
    reason: String,
    origin: String,
    actor: String,
    node: Option<Uuid>,
}

impl FleetBans {
    /// The replica kept at `path`, and what was wrong with it. A damaged file is set aside.
    pub fn open(path: PathBuf, node: [u8; 16], entries_max: usize) -> (Self, Vec<String>) {
        // Lifts and ended bans are held beside those in force.
        let mut replica = Replica::new(node, entries_max.saturating_mul(2).max(1));
        let mut warnings = Vec::new();
        match load(&path) {
            Ok(entries) => {
                replica.merge(entries, millis(SystemTime::now()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let aside = path.with_extension("json.damaged");
                let kept = match fs::rename(&path, &aside) {
                    Ok(()) => format!("kept as {}", aside.display()),
                    Err(error) => format!("it could not be set aside: {error}"),
                };
                warnings.push(format!("{} cannot be used ({error}); {kept}", path.display()));
            }
        }
        let saved_changes = replica.changes();
        (Self { replica, node, path, saved_changes, saved_at: None }, warnings)
    }

    /// The replica.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Brings lists and replica together at start: bans in force that the lists do not have, and bans that this node
    /// set while it was alone. Gives back what others do not know yet.
    pub fn reconcile(&mut self, lists: &mut Lists, now: SystemTime) -> Vec<Entry> {
        self.enforce_all(lists, now);
        let now_ms = millis(now);
        // Not what the replica knows: setting it anew would win over whoever lifted it meanwhile.
        let is_news = |ban: &&Ban| match self.replica.get(&ban.prefix) {
            None => true,
            Some(entry) => !entry.is_active(now_ms) && millis(ban.since) > entry.stamp.wall_ms,
        };
        let own: Vec<Ban> = lists.bans().filter(is_news).cloned().collect();
        own.iter().filter_map(|ban| self.note_ban(ban, now)).collect()
    }

    /// Sets everything that is in force: after a start, and when the allowlist changed.
    pub fn enforce_all(&self, lists: &mut Lists, now: SystemTime) {
        for entry in self.replica.active(millis(now)) {
            self.enforce(&entry, lists, now);
        }
    }

    /// A ban that this node has set becomes an entry; `None`: there is a stronger one, or no room.
    pub fn note_ban(&mut self, ban: &Ban, now: SystemTime) -> Option<Entry> {
        let origin = written(ban.origin)?;
        let before = self.replica.changes();
        let until_ms = ban.until.map(millis);
        let entry =
            self.replica.ban(ban.prefix, until_ms, &ban.reason, origin, "", Some(self.node), millis(now));
        let entry = entry.inspect_err(|error| {
            tracing::warn!(component = "agent", prefix = %ban.prefix, %error, "the ban holds on this node only");
        });
        entry.ok().filter(|_| self.replica.changes() != before)
    }

    /// A ban that was lifted on this node.
    pub fn note_lift(&mut self, prefix: IpNet, reason: &str, now: SystemTime) -> Option<Entry> {
        self.replica.lift(prefix, "", reason, millis(now))
    }

    /// Takes over what others know; gives back what changed here. The lists are up to date when this returns.
    pub fn merge(&mut self, entries: Vec<Entry>, lists: &mut Lists, now: SystemTime) -> Vec<Entry> {
        let changed = self.replica.merge(entries, millis(now));
        for entry in &changed {
            self.enforce(entry, lists, now);
        }
        changed
    }

    fn enforce(&self, entry: &Entry, lists: &mut Lists, now: SystemTime) {
        if !entry.is_active(millis(now)) {
            lists.release(entry.prefix);
            return;
        }
        let ban = Ban {
            prefix: entry.prefix,
            origin: self.origin(entry),
            reason: entry.reason.clone(),
            since: UNIX_EPOCH + Duration::from_millis(entry.since_ms),
            until: entry.until_ms.and_then(|until| UNIX_EPOCH.checked_add(Duration::from_millis(until))),
            hits: 1,
        };
        // The allowlist covers it, or there is no room: it stays in the replica and is told as not enforced.
        if let Err(refusal) = lists.hold(ban) {
            tracing::debug!(component = "agent", %refusal, "ban of the fleet is not enforced here");
        }
    }

    /// Whose ban it is, as this node sees it.
    fn origin(&self, entry: &Entry) -> Origin {
        match entry.origin {
            Written::Node if entry.node == Some(self.node) => Origin::Auto,
            Written::NodeApi if entry.node == Some(self.node) => Origin::Api,
            _ => Origin::Fleet,
        }
    }

    /// Ends and forgets what is over. About once a second.
    pub fn expire(&mut self, now: SystemTime) {
        let now_ms = millis(now);
        // Each call does a bounded part; a few of them a second keep up with everything.
        for _ in 0..8 {
            if !self.replica.is_due(now_ms) {
                return;
            }
            self.replica.expire(now_ms);
        }
    }

    /// Everything, and where it belongs, if it is time to write it.
    pub fn to_save(&mut self, is_last: bool) -> Option<(PathBuf, Vec<Entry>)> {
        let is_early = self.saved_at.is_some_and(|at| at.elapsed() < SAVE_INTERVAL);
        if self.replica.changes() == self.saved_changes || (is_early && !is_last) {
            return None;
        }
        self.saved_changes = self.replica.changes();
        self.saved_at = Some(Instant::now());
        Some((self.path.clone(), self.replica.entries().collect()))
    }
}

/// Writes entries to their file. Outside the node's lock.
///
/// # Errors
/// When the file system refuses; the old file is intact then.
pub fn save(path: &Path, entries: Vec<Entry>) -> io::Result<()> {
    let mut text = format!("{HEAD} {}\n", entries.len()).into_bytes();
    for entry in entries {
        serde_json::to_writer(&mut text, &Stored::from(entry))?;
        text.write_all(b"\n")?;
    }
    crate::agent::write_file(path, &text)
}

fn load(path: &Path) -> io::Result<Vec<Entry>> {
    let mut lines = BufReader::new(fs::File::open(path)?).lines();
    let head = lines.next().transpose()?.unwrap_or_default();
    let count = head.strip_prefix(HEAD).and_then(|count| count.trim().parse::<usize>().ok());
    let count =
        count.ok_or_else(|| io::Error::other("not a file of replicated bans, or of a newer version"))?;
    let mut entries = Vec::new();
    for line in lines {
        let stored: Stored = serde_json::from_str(&line?).map_err(io::Error::other)?;
        entries.push(stored.entry().ok_or_else(|| io::Error::other("an origin is not known"))?);
    }
    if entries.len() != count {
        return Err(io::Error::other(format!("{} entries instead of {count}", entries.len())));
    }
    Ok(entries)
}

impl From<Entry> for Stored {
    fn from(entry: Entry) -> Self {
        Self {
            prefix: entry.prefix,
            wall_ms: entry.stamp.wall_ms,
            counter: entry.stamp.counter,
            writer: Uuid::from_bytes(entry.stamp.writer),
            removed: entry.removed,
            until_ms: entry.until_ms,
            since_ms: entry.since_ms,
            reason: entry.reason,
            origin: entry.origin.word().to_owned(),
            actor: entry.actor,
            node: entry.node.map(Uuid::from_bytes),
        }
    }
}

impl Stored {
    fn entry(self) -> Option<Entry> {
        const ALL: [Written; 4] = [Written::Operator, Written::Node, Written::Expert, Written::NodeApi];
        let origin = ALL.into_iter().find(|origin| origin.word() == self.origin)?;
        let stamp = Stamp { wall_ms: self.wall_ms, counter: self.counter, writer: self.writer.into_bytes() };
        Some(Entry {
            prefix: self.prefix,
            stamp,
            removed: self.removed,
            until_ms: self.until_ms,
            since_ms: self.since_ms,
            reason: self.reason,
            origin,
            actor: self.actor,
            node: self.node.map(Uuid::into_bytes),
        })
    }
}

/// What a ban of this node is called on the wire; `None`: it is not this node's to tell.
fn written(origin: Origin) -> Option<Written> {
    match origin {
        Origin::Auto => Some(Written::Node),
        Origin::Api => Some(Written::NodeApi),
        Origin::Config | Origin::Fleet => None,
    }
}

/// Milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
