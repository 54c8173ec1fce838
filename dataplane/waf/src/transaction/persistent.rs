//! Collections that outlive a transaction: `IP`, `GLOBAL`, `SESSION`, `USER`, `RESOURCE`.
//!
//! Owns: [`Persistent`], shared by all workers of a node, and what a transaction has opened. Every `setvar` changes the
//! shared record and the transaction's copy in one step, so that counters of two workers add up.
//! Bounds: records, members of one, lengths; a full shard gives up what expired, then what was not touched longest.
//! Cost: a short lock of one of 64 shards per `initcol` and per `setvar`; rules without them never come here.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::data::Data;
use super::evaluate::Evaluation;
use super::value::ValueId;
use crate::operator::number_of;
use crate::ruleset::{Operation, Text};
use crate::variable::Variable;

/// Shards: more than there are workers, so that they seldom meet.
const SHARDS: usize = 64;
/// Most records of one shard: 64 shards of 4,096 hold 262,144 sources, some 100 MB at worst.
const RECORDS_PER_SHARD_MAX: usize = 4_096;
/// Most members of a record.
const MEMBERS_MAX: usize = 64;
/// Longest key or value, bytes.
const TEXT_BYTES_MAX: usize = 512;

#[derive(Debug)]
struct Member {
    name: Box<[u8]>,
    value: Box<[u8]>,
    expires_unix_s: u64,
}

#[derive(Debug, Default)]
struct Record {
    members: Vec<Member>,
    touched_unix_s: u64,
}

type Key = (Variable, Box<[u8]>);

/// The persistent collections of a node.
#[derive(Debug)]
pub struct Persistent {
    shards: Box<[Mutex<HashMap<Key, Record>>]>,
    evicted: AtomicU64,
}

impl Default for Persistent {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect(), evicted: AtomicU64::new(0) }
    }
}

/// What becomes of a member.
enum Change<'a> {
    Set(&'a [u8]),
    Add(i64),
    Unset,
}

impl Persistent {
    /// Records given up because there was no room.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let lens = self.shards.iter().map(|shard| shard.lock().unwrap_or_else(|e| e.into_inner()).len());
        lens.sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn with<T>(
        &self,
        variable: Variable,
        key: &[u8],
        run: impl FnOnce(&mut HashMap<Key, Record>, Key) -> T,
    ) -> T {
        let key = &key[..key.len().min(TEXT_BYTES_MAX)];
        // FNV-1a: which shard a key falls into is no secret, and every shard is bounded.
        let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let shard = &self.shards[(hash % SHARDS as u64) as usize];
        // A panic of another holder cannot leave a record half changed: changes are single assignments.
        let mut records = shard.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        run(&mut records, (variable, key.into()))
    }

    /// Gives the members of a record that have not expired.
    fn read(
        &self,
        variable: Variable,
        key: &[u8],
        now_s: u64,
        life_s: u64,
        mut give: impl FnMut(&[u8], &[u8]),
    ) {
        self.with(variable, key, |records, key| {
            let Some(record) = records.get_mut(&key) else { return };
            if record.touched_unix_s.saturating_add(life_s) < now_s {
                records.remove(&key);
                return;
            }
            record.members.retain(|member| member.expires_unix_s > now_s);
            record.members.iter().for_each(|member| give(&member.name, &member.value));
        });
    }

    /// Changes a member; yields what it holds then.
    fn change(
        &self,
        variable: Variable,
        key: &[u8],
        name: &[u8],
        change: &Change<'_>,
        now_s: u64,
    ) -> Option<Vec<u8>> {
        self.with(variable, key, |records, key| {
            if !records.contains_key(&key) && records.len() >= RECORDS_PER_SHARD_MAX {
                self.evict(records);
            }
            let record = records.entry(key).or_default();
            record.touched_unix_s = now_s;
            record.members.retain(|member| member.expires_unix_s > now_s);
            let found = record.members.iter().position(|member| *member.name == *name);
            let value: Vec<u8> = match change {
                Change::Unset => {
                    if let Some(index) = found {
                        record.members.remove(index);
                    }
                    return None;
                }
                Change::Set(value) => value[..value.len().min(TEXT_BYTES_MAX)].to_vec(),
                Change::Add(by) => {
                    let before = found.map_or(0, |index| number_of(&record.members[index].value));
                    before.saturating_add(*by).to_string().into_bytes()
                }
            };
            match found {
                Some(index) => record.members[index].value = value.as_slice().into(),
                None if record.members.len() < MEMBERS_MAX => record.members.push(Member {
                    name: name.into(),
                    value: value.as_slice().into(),
                    expires_unix_s: u64::MAX,
                }),
                None => return None,
            }
            Some(value)
        })
    }

    fn expire(&self, variable: Variable, key: &[u8], name: &[u8], at_s: u64) {
        self.with(variable, key, |records, key| {
            let members = records.get_mut(&key).map(|record| &mut record.members);
            if let Some(member) = members.and_then(|all| all.iter_mut().find(|member| *member.name == *name))
            {
                member.expires_unix_s = at_s;
            }
        });
    }

    /// Gives up the record that was not touched longest.
    fn evict(&self, records: &mut HashMap<Key, Record>) {
        let oldest =
            records.iter().min_by_key(|(_, record)| record.touched_unix_s).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            records.remove(&key);
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Collections that a transaction has opened.
#[derive(Debug, Default)]
pub(crate) struct Open(Vec<(Variable, ValueId)>);

impl Open {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn key(&self, variable: Variable) -> Option<ValueId> {
        self.0.iter().find(|(open, _)| *open == variable).map(|(_, key)| *key)
    }
}

impl Evaluation<'_> {
    /// `initcol` and the like: the collection's members are there from now on. A second key replaces the first.
    pub(super) fn open_collection(&mut self, variable: Variable, key: ValueId) {
        let Some(store) = Data::store_of(variable) else { return };
        self.tx.outcome.collections.0.retain(|(open, _)| *open != variable);
        self.tx.outcome.collections.0.push((variable, key));
        self.tx.data.clear(store);
        let life_s = u64::from(self.set.settings.collection_timeout_s);
        let now_s = self.tx.data.time_unix_s;
        let key = self.tx.data.values.get(key).to_vec();
        let data = &mut self.tx.data;
        self.persistent.read(variable, &key, now_s, life_s, |name, value| data.add_text(store, name, value));
    }

    /// `setvar` of a persistent collection; one that was not opened keeps nothing.
    pub(super) fn set_persistent(&mut self, variable: Variable, name: ValueId, operation: &Operation) {
        let Some(key) = self.tx.outcome.collections.key(variable) else { return };
        let Some(store) = Data::store_of(variable) else { return };
        let text = match operation {
            Operation::Set(text) | Operation::Add(text) | Operation::Subtract(text) => {
                self.expanded_value(text)
            }
            Operation::Unset => ValueId::EMPTY,
        };
        let data = &mut self.tx.data;
        let text = data.values.get(text);
        let change = match operation {
            Operation::Set(_) => Change::Set(text),
            Operation::Add(_) => Change::Add(number_of(text)),
            Operation::Subtract(_) => Change::Add(number_of(text).saturating_neg()),
            Operation::Unset => Change::Unset,
        };
        let lower = data.values.get(name).to_ascii_lowercase();
        let held = self.persistent.change(variable, data.values.get(key), &lower, &change, data.time_unix_s);
        let value = held.map(|value| data.values.add(&value));
        data.set_member(store, &lower, value);
    }

    /// `expirevar`. A `TX` variable ends with its transaction anyway.
    pub(super) fn expire(&mut self, variable: Variable, name: &Text, seconds: &Text) {
        let Some(key) = self.tx.outcome.collections.key(variable) else { return };
        let name = self.expanded_value(name);
        let seconds = self.expanded_value(seconds);
        let data = &self.tx.data;
        let life_s = number_of(data.values.get(seconds)).max(0).unsigned_abs();
        let lower = data.values.get(name).to_ascii_lowercase();
        let at_s = data.time_unix_s.saturating_add(life_s);
        self.persistent.expire(variable, data.values.get(key), &lower, at_s);
        if life_s == 0
            && let Some(store) = Data::store_of(variable)
        {
            self.tx.data.set_member(store, &lower, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(store: &Persistent, key: &[u8], now_s: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        store.read(Variable::Ip, key, now_s, 60, |name, value| all.push((name.to_vec(), value.to_vec())));
        all
    }

    #[test]
    fn counters_of_two_transactions_add_up_and_expire() {
        let store = Persistent::default();
        for _ in 0..3 {
            store.change(Variable::Ip, b"192.0.2.1", b"count", &Change::Add(2), 100);
        }
        assert_eq!(read(&store, b"192.0.2.1", 100), [(b"count".to_vec(), b"6".to_vec())]);
        assert!(read(&store, b"192.0.2.2", 100).is_empty());
        store.expire(Variable::Ip, b"192.0.2.1", b"count", 110);
        assert_eq!(read(&store, b"192.0.2.1", 109).len(), 1);
        assert!(read(&store, b"192.0.2.1", 110).is_empty());
        store.change(Variable::Ip, b"192.0.2.1", b"mark", &Change::Set(b"x"), 110);
        assert!(read(&store, b"192.0.2.1", 200).is_empty(), "the record was not touched for its life");
        assert_eq!(store.len(), 0);
    }

    #[test]
    fn a_full_store_gives_up_the_oldest() {
        let store = Persistent::default();
        for number in 0..400_000_u32 {
            store.change(Variable::Ip, &number.to_be_bytes(), b"a", &Change::Add(1), u64::from(number));
        }
        assert!(store.len() <= SHARDS * RECORDS_PER_SHARD_MAX);
        assert!(store.evicted() > 0);
        assert!(!read(&store, &399_999_u32.to_be_bytes(), 399_999).is_empty());
    }
}
