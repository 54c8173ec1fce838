//! Bearer tokens: `sbt_<id>_<secret>`, the prefix for scanners of secrets.
//!
//! Owns: making, checking, ending tokens, and when each was last used. Does not own: how a request carries one
//! (`api::auth`), who may make one (`service::access`).
//!
//! The secret has 256 random bits and is shown once; only its SHA-256 is kept. A join token is good for one node: the
//! same node with the same key may repeat its request, because the answer may have been lost. Cost: every token is in
//! memory, a check is a lookup and one hash; a change is one write of the store. Limits: [`TOKENS_MAX`].

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::kept;
use crate::caller::Scope;
use crate::failure::Failure;
use crate::store::Store;

/// Tokens at most, with ended ones that are still listed; some 300 bytes each. More are refused.
pub const TOKENS_MAX: usize = 10_000;
/// How long, in milliseconds, an ended token is listed.
pub const ENDED_KEPT_MS: u64 = 30 * 86_400_000;
/// How often, in milliseconds, the last use of a token is written at most.
pub const USE_WRITTEN_MS: u64 = 60_000;
/// What every token begins with.
pub const PREFIX: &str = "sbt_";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
/// Length of a token.
const TOKEN_CHARS: usize = PREFIX.len() + 2 * ID_BYTES + 1 + 2 * SECRET_BYTES;

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The part of the token between prefix and secret.
    pub id: String,
    /// For the audit log; no two valid tokens have the same.
    pub name: String,
    /// Words of [`Scope`].
    pub scopes: Vec<String>,
    /// SHA-256 of the secret's text, in hex.
    hash: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it ends.
    pub expires_ms: u64,
    /// When it was last used; 0: never.
    pub last_used_ms: u64,
    /// When it was revoked; 0: it is not.
    pub revoked_ms: u64,
    /// Who made it.
    pub created_by: String,
    /// A join token that was used: for which node and key.
    used_for: Option<String>,
}

impl Record {
    /// Whether it is good now.
    pub fn is_valid(&self, now_ms: u64) -> bool {
        self.revoked_ms == 0 && now_ms < self.expires_ms
    }

    fn ended_ms(&self) -> u64 {
        if self.revoked_ms == 0 { self.expires_ms } else { self.expires_ms.min(self.revoked_ms) }
    }
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its name.
    pub name: String,
    /// Words of [`Scope`].
    pub scopes: Vec<String>,
    /// 0: as long as the configuration allows.
    pub lifetime_ms: u64,
    /// Who makes it.
    pub created_by: String,
}

/// A valid token that somebody showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its name.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
}

/// Every token.
#[derive(Debug)]
pub struct Tokens {
    store: Store,
    lifetime_max_ms: u64,
    held: RwLock<BTreeMap<String, Held>>,
    /// Changes one after the other: limits and names are checked before the write and hold after it.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Held {
    record: Record,
    written_use_ms: u64,
}

impl Tokens {
    /// Reads every token.
    ///
    /// # Errors
    /// The store.
    pub fn open(store: Store, lifetime_max: Duration) -> Result<Self, Failure> {
        let records: Vec<Record> = kept::load(&store, kept::Table::Tokens)?;
        let held = |record: Record| (record.id.clone(), Held { written_use_ms: record.last_used_ms, record });
        Ok(Self {
            store,
            lifetime_max_ms: u64::try_from(lifetime_max.as_millis()).unwrap_or(u64::MAX),
            held: RwLock::new(records.into_iter().map(held).collect()),
            changing: tokio::sync::Mutex::new(()),
        })
    }

    /// The token that a text is, when it is a valid one. Takes the same time for every wrong secret.
    pub fn find(&self, text: &str, now_ms: u64) -> Option<Shown> {
        let (id, secret) = split(text)?;
        let hash = hash_of(secret);
        let held = self.read();
        let found = held.get(id);
        // An unknown id is compared as well: the time tells nobody which ids exist.
        let kept = found.map_or("", |held| held.record.hash.as_str());
        let is_same = verify_slices_are_equal(pad(kept).as_slice(), hash.as_bytes()).is_ok();
        let record = &found?.record;
        if !is_same || !record.is_valid(now_ms) {
            return None;
        }
        let shown = Shown { name: record.name.clone(), scopes: scopes_of(&record.scopes).ok()? };
        let is_older = record.last_used_ms.saturating_add(USE_WRITTEN_MS) <= now_ms;
        let id = record.id.clone();
        drop(held);
        if is_older && let Some(held) = self.write().get_mut(&id) {
            held.record.last_used_ms = now_ms;
        }
        Some(shown)
    }

    /// Makes a token; the text is nowhere kept. With `dry_run` only checks.
    ///
    /// # Errors
    /// `Invalid` for name, scopes or lifetime, `Conflict` for a name in use, `Exhausted` at [`TOKENS_MAX`].
    pub async fn create(
        &self,
        new: NewToken,
        dry_run: bool,
        now_ms: u64,
    ) -> Result<(Record, String), Failure> {
        let _changing = self.changing.lock().await;
        self.check(&new, now_ms)?;
        let lifetime_ms = if new.lifetime_ms == 0 { self.lifetime_max_ms } else { new.lifetime_ms };
        let id: [u8; ID_BYTES] = super::random().ok_or_else(no_random)?;
        let secret: [u8; SECRET_BYTES] = super::random().ok_or_else(no_random)?;
        let (id, secret) = (super::hex(&id), super::hex(&secret));
        let record = Record {
            id: id.clone(),
            name: new.name,
            scopes: new.scopes,
            hash: hash_of(&secret),
            created_ms: now_ms,
            expires_ms: now_ms.saturating_add(lifetime_ms),
            last_used_ms: 0,
            revoked_ms: 0,
            created_by: new.created_by,
            used_for: None,
        };
        if dry_run {
            return Ok((Record { id: String::new(), ..record }, String::new()));
        }
        self.forget_ended(now_ms).await?;
        if self.read().len() >= TOKENS_MAX {
            return Err(Failure::Exhausted(format!(
                "{TOKENS_MAX} tokens are the most; revoked and expired ones count \
                 for 30 days"
            )));
        }
        kept::put(&self.store, kept::Table::Tokens, &record.id, &record).await?;
        self.write().insert(record.id.clone(), Held { record: record.clone(), written_use_ms: 0 });
        Ok((record, format!("{PREFIX}{id}_{secret}")))
    }

    /// Ends a token. One that has ended stays as it is.
    ///
    /// # Errors
    /// `NotFound`, or the store.
    pub async fn revoke(&self, id: &str, dry_run: bool, now_ms: u64) -> Result<Record, Failure> {
        let _changing = self.changing.lock().await;
        let found = self.read().get(id).map(|held| held.record.clone());
        let mut record =
            found.ok_or_else(|| Failure::NotFound(format!("there is no token with the id `{id}`")))?;
        if record.revoked_ms == 0 {
            record.revoked_ms = now_ms.max(1);
            if !dry_run {
                self.keep(record.clone()).await?;
            }
        }
        Ok(record)
    }

    /// Uses up the join token of this name for one node and key.
    ///
    /// # Errors
    /// `Denied` when it was used for another node.
    pub async fn use_up(&self, name: &str, node_and_key: &str, now_ms: u64) -> Result<(), Failure> {
        let _changing = self.changing.lock().await;
        let is_meant = |held: &&Held| held.record.name == name && held.record.is_valid(now_ms);
        let found = self.read().values().find(is_meant).map(|held| held.record.clone());
        let used = || Failure::Denied("the join token is used up; each is good for one node".into());
        let mut record = found.ok_or_else(used)?;
        if !record.scopes.iter().any(|word| word == Scope::Join.word()) {
            return Err(used());
        }
        match &record.used_for {
            Some(other) if other == node_and_key => Ok(()),
            Some(_) => Err(used()),
            None => {
                record.used_for = Some(node_and_key.into());
                self.keep(record).await
            }
        }
    }

    /// Every token, oldest first.
    pub fn list(&self) -> Vec<Record> {
        let mut records: Vec<Record> = self.read().values().map(|held| held.record.clone()).collect();
        records.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
        records
    }

    /// Writes when tokens were last used, where that changed. Called once a minute and at the end.
    ///
    /// # Errors
    /// The store.
    pub async fn save_uses(&self) -> Result<(), Failure> {
        let _changing = self.changing.lock().await;
        let is_unwritten = |held: &&Held| held.record.last_used_ms != held.written_use_ms;
        let unwritten: Vec<Record> =
            self.read().values().filter(is_unwritten).map(|held| held.record.clone()).collect();
        for record in unwritten {
            self.keep(record).await?;
        }
        Ok(())
    }

    async fn keep(&self, record: Record) -> Result<(), Failure> {
        kept::put(&self.store, kept::Table::Tokens, &record.id, &record).await?;
        let written_use_ms = record.last_used_ms;
        let mut all = self.write();
        if let Some(held) = all.get_mut(&record.id) {
            // A use during the write is not lost.
            let last_used_ms = held.record.last_used_ms.max(record.last_used_ms);
            *held = Held { record: Record { last_used_ms, ..record }, written_use_ms };
        }
        Ok(())
    }

    fn check(&self, new: &NewToken, now_ms: u64) -> Result<(), Failure> {
        super::check_name(&new.name).map_err(Failure::Invalid)?;
        let scopes = scopes_of(&new.scopes)?;
        if scopes.contains(&Scope::Node) || (scopes.contains(&Scope::Join) && scopes.len() > 1) {
            return Err(Failure::Invalid(
                "scopes: `join` stands alone, and `node` belongs to the certificates of nodes".into(),
            ));
        }
        if new.lifetime_ms > self.lifetime_max_ms {
            return Err(Failure::Invalid(format!(
                "lifetime_ms: {} is more than the {} of [access] token_lifetime_max",
                new.lifetime_ms, self.lifetime_max_ms
            )));
        }
        if self.read().values().any(|held| held.record.name == new.name && held.record.is_valid(now_ms)) {
            return Err(Failure::Conflict(format!(
                "name: a valid token `{}` exists; revoke it first or choose another name",
                new.name
            )));
        }
        Ok(())
    }

    async fn forget_ended(&self, now_ms: u64) -> Result<(), Failure> {
        let is_old = |held: &&Held| held.record.ended_ms().saturating_add(ENDED_KEPT_MS) < now_ms;
        let old: Vec<String> =
            self.read().values().filter(is_old).map(|held| held.record.id.clone()).collect();
        for id in old {
            kept::delete(&self.store, kept::Table::Tokens, &id).await?;
            self.write().remove(&id);
        }
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Held>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Held>> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Scopes by their words.
///
/// # Errors
/// `Invalid` for none, or one that does not exist.
pub fn scopes_of(words: &[String]) -> Result<Vec<Scope>, Failure> {
    let known = || Scope::ALL.map(|(_, word)| word).join(", ");
    if words.is_empty() {
        return Err(Failure::Invalid(format!("scopes: at least one of {}", known())));
    }
    let scope = |word: &String| {
        let found = Scope::ALL.iter().find(|(_, name)| name == word);
        let unknown = || Failure::Invalid(format!("scopes: {word:?} is none; there are {}", known()));
        found.map(|(scope, _)| *scope).ok_or_else(unknown)
    };
    if words.len() > Scope::ALL.len() {
        return Err(Failure::Invalid(format!("scopes: at most {}, each once", Scope::ALL.len())));
    }
    words.iter().map(scope).collect()
}

/// Id and secret of a text that has the form of a token.
fn split(text: &str) -> Option<(&str, &str)> {
    let is_form = text.len() == TOKEN_CHARS && text.is_ascii();
    let (id, secret) = is_form.then(|| text.strip_prefix(PREFIX))??.split_once('_')?;
    (id.len() == 2 * ID_BYTES).then_some((id, secret))
}

fn hash_of(secret: &str) -> String {
    super::hex(digest(&SHA256, secret.as_bytes()).as_ref())
}

/// A kept hash as bytes of constant length; of none, zeros, which no hex text is.
fn pad(hash: &str) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (byte, kept) in bytes.iter_mut().zip(hash.bytes()) {
        *byte = kept;
    }
    bytes
}

fn no_random() -> Failure {
    Failure::Unavailable("the system gives no random numbers".into())
}

#[cfg(test)]
mod tests;
