//! Many bans at once.
//!
//! Owns: taking each alone, in parts whose transactions share commits. 100,000 prefixes take about a second.

use std::collections::{BTreeMap, VecDeque};

use ipnet::IpNet;
use secbeat_config::ban::Entry;
use secbeat_proto::v1;
use secbeat_proto::v1::import_bans_response::ImportRefusal;
use tokio::task::JoinSet;

use super::{Record, carry_out, check_exempt, check_mutation, detached, drafted, exempt, wanted};
use crate::ban::{DECIDED_PER_LOCK, MESSAGE_ENTRIES_MAX};
use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::Orchestrator;

/// Bans of one request; a larger feed comes in several.
pub const IMPORT_ENTRIES_MAX: usize = 200_000;

/// Refusals named in an answer; the rest is what is missing to the sum.
pub const REFUSALS_NAMED_MAX: usize = 1_000;

/// Parts under way at once; they share commits of the store.
const PARTS_MAX: usize = 32;

/// Sets many bans, each alone.
///
/// # Errors
/// `Denied`; `Invalid` when there are too many; `Unavailable` when the store stops taking them: what was set until then
/// stays, and the same request may be sent again.
pub async fn import_bans(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::ImportBansRequest,
) -> Result<v1::ImportBansResponse, Failure> {
    caller.require(Scope::BanWrite)?;
    let mutation = request.mutation.clone().unwrap_or_default();
    check_mutation(&mutation)?;
    let count = request.bans.len();
    if count > IMPORT_ENTRIES_MAX {
        return Err(Failure::Invalid(format!("bans: {count}; at most {IMPORT_ENTRIES_MAX} in one request")));
    }
    detached(o, caller, move |o, caller| async move {
        let change = import(&o, &caller, &request, &mutation);
        carry_out(&o, &caller, "ban.import", &mutation, &request, change).await
    })
    .await
}

async fn import(
    o: &Orchestrator,
    caller: &Caller,
    request: &v1::ImportBansRequest,
    mutation: &v1::Mutation,
) -> Result<(v1::ImportBansResponse, Record), Failure> {
    let mut outcome = Outcome::default();
    // Of a prefix that stands twice the last one holds, as with requests one after the other.
    let mut wanted_all = BTreeMap::<IpNet, Entry>::new();
    let exempt = exempt(o);
    for new in &request.bans {
        let entry = wanted(o, caller, new, &mutation.reason);
        match entry.and_then(|entry| check_exempt(&exempt, &entry.prefix).map(|()| entry)) {
            Ok(entry) => {
                let earlier = wanted_all.insert(entry.prefix, entry);
                outcome.response.unchanged += u64::from(earlier.is_some());
            }
            Err(failure) => outcome.refuse(&new.prefix, &failure),
        }
    }
    let mut left: VecDeque<Entry> = wanted_all.into_values().collect();
    let mut parts = JoinSet::new();
    let mut unsent = Vec::new();
    while !left.is_empty() || !parts.is_empty() {
        if !left.is_empty() && parts.len() < PARTS_MAX {
            let part: Vec<Entry> = left.drain(..left.len().min(DECIDED_PER_LOCK)).collect();
            if mutation.dry_run {
                outcome.add(try_part(o, &part));
            } else {
                let o = o.clone();
                parts.spawn(async move { set_part(&o, part).await });
            }
            continue;
        }
        match parts.join_next().await {
            Some(Ok(Ok((part, mut decided)))) => {
                outcome.add(part);
                unsent.append(&mut decided);
            }
            Some(Ok(Err(failure))) => outcome.failure = Some(failure),
            Some(Err(error)) => outcome.failure = Some(Failure::Internal(format!("a part of bans: {error}"))),
            None => {}
        }
        if outcome.failure.is_some() {
            left.clear();
        }
        if unsent.len() >= MESSAGE_ENTRIES_MAX {
            o.bans.publish(&o.sessions, core::mem::take(&mut unsent), None);
        }
    }
    o.bans.publish(&o.sessions, unsent, None);
    outcome.end(request.bans.len())
}

/// What became of some bans.
#[derive(Debug, Default)]
struct Part {
    added: u64,
    unchanged: u64,
    refused: Vec<(IpNet, Failure)>,
}

/// What became of all.
#[derive(Debug, Default)]
struct Outcome {
    response: v1::ImportBansResponse,
    refused: u64,
    failure: Option<Failure>,
}

impl Outcome {
    fn refuse(&mut self, prefix: &str, failure: &Failure) {
        self.refused += 1;
        if self.response.refusals.len() < REFUSALS_NAMED_MAX {
            let prefix = prefix.chars().take(80).collect();
            self.response.refusals.push(ImportRefusal { prefix, error: failure.to_string() });
        }
    }

    fn add(&mut self, part: Part) {
        self.response.added += part.added;
        self.response.unchanged += part.unchanged;
        for (prefix, failure) in part.refused {
            self.refuse(&prefix.to_string(), &failure);
        }
    }

    fn end(self, count: usize) -> Result<(v1::ImportBansResponse, Record), Failure> {
        let Self { response, refused, failure } = self;
        if let Some(failure) = failure {
            let added = response.added;
            return Err(match failure {
                Failure::Unavailable(why) => {
                    Failure::Unavailable(format!("{added} of {count} are set; send it again: {why}"))
                }
                other => other,
            });
        }
        let after = serde_json::json!({
            "added": response.added,
            "unchanged": response.unchanged,
            "refused": refused,
        });
        let record =
            Record { target: format!("{count} prefixes"), before: String::new(), after: after.to_string() };
        Ok((response, record))
    }
}

async fn set_part(o: &Orchestrator, entries: Vec<Entry>) -> Result<(Part, Vec<Entry>), Failure> {
    o.bans
        .keep(|decisions| {
            let mut part = Part::default();
            for entry in &entries {
                if is_unchanged(decisions.get(&entry.prefix).as_ref(), entry, decisions.now_ms) {
                    part.unchanged += 1;
                    continue;
                }
                match decisions.ban(entry) {
                    Ok(_) => part.added += 1,
                    Err(failure) => part.refused.push((entry.prefix, failure)),
                }
            }
            Ok(part)
        })
        .await
}

/// What [`set_part`] would do.
fn try_part(o: &Orchestrator, entries: &[Entry]) -> Part {
    let mut part = Part::default();
    o.bans.look(|replica| {
        for entry in entries {
            if is_unchanged(replica.get(&entry.prefix).as_ref(), entry, entry.since_ms) {
                part.unchanged += 1;
                continue;
            }
            match drafted(replica, entry) {
                Ok(_) => part.added += 1,
                Err(failure) => part.refused.push((entry.prefix, failure)),
            }
        }
    });
    part
}

/// Whether a ban says what holds already: only one without end can.
fn is_unchanged(held: Option<&Entry>, wanted: &Entry, now_ms: u64) -> bool {
    held.is_some_and(|held| {
        held.is_active(now_ms)
            && held.until_ms.is_none()
            && wanted.until_ms.is_none()
            && held.reason == wanted.reason
            && held.origin == wanted.origin
    })
}
