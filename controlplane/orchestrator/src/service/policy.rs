//! Use cases of policy.
//!
//! Owns: reading requests, limits of answers, what a change does to rollouts. Does not own: the set and its history
//! (`policy`), gates (`policy::rollout`), repetition and audit (`mutation`).

use std::collections::BTreeMap;
use std::sync::Arc;

use secbeat_config::policy::wire::{change_to_wire, key_from_wire, resource_from_wire, resource_to_wire};
use secbeat_config::policy::{Key, RESOURCES_MAX, Resource};
use secbeat_proto::v1;

use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::{Orchestrator, now_ms};
use crate::policy::{Author, Candidate, Request, Turn, Wanted};
use crate::service::blocking;
use crate::service::mutation::{Record, carry_out};

mod moves;
mod read;
mod rules;
mod watch;

use moves::plan;
pub use moves::{cancel, confirm, get_rollout, watch_rollout};
pub(crate) use moves::{record_move, roll_back, sights};
pub use read::{get, history};
pub use rules::change_rules;
pub use watch::watch;

/// Revisions on one page.
pub const PAGE_MAX: u32 = 200;
/// Characters of a change's text in the audit log before it cuts itself.
const CHANGES_SHOWN_MAX: usize = 50;

/// Changes resources.
///
/// # Errors
/// [`Failure::Invalid`] naming resource, key, value and range; [`Failure::Conflict`] when the revision is another.
pub async fn apply(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::ApplyRequest,
) -> Result<v1::ApplyResponse, Failure> {
    caller.require(Scope::PolicyWrite)?;
    let mutation = request.mutation.clone().unwrap_or_default();
    let change = async {
        let read = read_request(&request.upserts, &request.removals, request.prune).await?;
        let options = Options {
            rollout: request.rollout.clone(),
            rollback_after_ms: request.rollback_after_ms,
            rolled_back_to: 0,
        };
        let turn = o.policy.begin().await;
        let candidate = propose(o, &mutation, read).await?;
        bring(o, caller, &turn, &mutation, candidate, options)
    };
    carry_out(o, caller, "policy.apply", &mutation, &request, change).await
}

/// What [`apply`] would change.
///
/// # Errors
/// As [`apply`].
pub async fn diff(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::DiffRequest,
) -> Result<v1::DiffResponse, Failure> {
    caller.require(Scope::Read)?;
    let read = read_request(&request.upserts, &request.removals, request.prune).await?;
    let candidate = propose(o, &v1::Mutation::default(), read).await?;
    let changes = changes(&candidate, &BTreeMap::new());
    Ok(v1::DiffResponse { revision: candidate.before.revision, changes })
}

/// Makes the policy of an earlier revision the newest one.
///
/// # Errors
/// [`Failure::NotFound`] when that revision is not kept.
pub async fn rollback(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::RollbackRequest,
) -> Result<v1::ApplyResponse, Failure> {
    caller.require(Scope::PolicyWrite)?;
    let mutation = request.mutation.clone().unwrap_or_default();
    let change = async {
        let turn = o.policy.begin().await;
        let newest = o.policy.newest();
        expect_revision(&mutation, newest.revision)?;
        let earlier = o.policy.at(request.to_revision)?;
        let candidate = Candidate::of_set(newest, earlier.set.clone(), Vec::new())?;
        let rolled_back_to = request.to_revision;
        let options = Options { rollout: request.rollout.clone(), rollback_after_ms: 0, rolled_back_to };
        bring(o, caller, &turn, &mutation, candidate, options)
    };
    carry_out(o, caller, "policy.rollback", &mutation, &request, change).await
}

/// How a change is to get to the fleet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) rollout: Option<v1::Rollout>,
    pub(crate) rollback_after_ms: u64,
    pub(crate) rolled_back_to: u64,
}

pub(crate) fn expect_revision(mutation: &v1::Mutation, revision: u64) -> Result<(), Failure> {
    if mutation.expected_revision == 0 || mutation.expected_revision == revision {
        return Ok(());
    }
    Err(Failure::Conflict(format!(
        "the policy is at revision {revision} by now, not at {}: look at the difference and apply again",
        mutation.expected_revision
    )))
}

/// Reads a request on a thread of its own: 10,000 rules take tens of milliseconds.
async fn read_request(
    upserts: &[v1::Resource],
    removals: &[v1::ResourceKey],
    prune: bool,
) -> Result<Request, Failure> {
    if upserts.len() + removals.len() > 2 * RESOURCES_MAX {
        return Err(Failure::Invalid(format!(
            "{} resources are more than a request may have ({})",
            upserts.len() + removals.len(),
            2 * RESOURCES_MAX
        )));
    }
    let removals: Result<Vec<Key>, _> = removals.iter().map(|key| key_from_wire(Some(key))).collect();
    let removals = removals.map_err(|error| Failure::Invalid(format!("removals: {error}")))?;
    let upserts = upserts.to_vec();
    let upserts = blocking(move || read_resources(&upserts)).await?;
    Ok(Request { upserts, removals, prune })
}

/// All of them, or everything that is wrong with any.
fn read_resources(resources: &[v1::Resource]) -> Result<Vec<Resource>, Failure> {
    let mut read = Vec::with_capacity(resources.len());
    let mut wrong = Vec::new();
    for (at, resource) in resources.iter().enumerate() {
        match resource_from_wire(resource) {
            Ok(resource) => read.push(resource),
            Err(error) if resource.key.is_some() => wrong.push(error.to_string()),
            Err(error) => wrong.push(format!("upserts[{at}]: {error}")),
        }
    }
    if wrong.is_empty() { Ok(read) } else { Err(Failure::Invalid(wrong.join("\n"))) }
}

async fn propose(o: &Orchestrator, mutation: &v1::Mutation, request: Request) -> Result<Candidate, Failure> {
    let newest = o.policy.newest();
    expect_revision(mutation, newest.revision)?;
    blocking(move || Candidate::of_request(newest, request)).await
}

/// Makes a candidate the newest revision and sets it on its way.
pub(crate) fn bring(
    o: &Orchestrator,
    caller: &Caller,
    turn: &Turn<'_>,
    mutation: &v1::Mutation,
    candidate: Candidate,
    options: Options,
) -> Result<(v1::ApplyResponse, Record), Failure> {
    let now = now_ms();
    let before = Arc::clone(&candidate.before);
    let plan = plan(o, &candidate, &options, now)?;
    let record = record(&candidate);
    if mutation.dry_run || !candidate.is_change() {
        let response = v1::ApplyResponse {
            revision: before.revision,
            changes: changes(&candidate, &BTreeMap::new()),
            rollout_id: String::new(),
            warnings: candidate.warnings,
        };
        return Ok((response, record));
    }
    let author = Author { actor: caller.name.clone(), reason: mutation.reason.clone() };
    let rollout_id = plan.new.id.to_string();
    let newest = o.policy.commit(turn, &candidate, &author, options.rolled_back_to, plan.rollouts(), now)?;
    o.bans.set_policy(&newest.set);
    o.signals.rollout.notify_one();
    tracing::info!(revision = newest.revision, actor = author.actor, "the policy changed");
    let response = v1::ApplyResponse {
        revision: newest.revision,
        changes: changes(&candidate, &newest.versions),
        rollout_id,
        warnings: candidate.warnings,
    };
    Ok((response, record))
}

/// Changes on the wire; without versions of what is not written yet, the next ones.
fn changes(candidate: &Candidate, versions: &BTreeMap<Key, u64>) -> Vec<v1::ResourceChange> {
    let version = |key: &Key| versions.get(key).copied().unwrap_or_else(|| candidate.before.version(key) + 1);
    candidate.changes.iter().map(|change| change_to_wire(change, version(&change.key))).collect()
}

/// What the audit log says: hashes of what changed, before and after.
fn record(candidate: &Candidate) -> Record {
    let shown = candidate.changes.iter().take(CHANGES_SHOWN_MAX);
    let target: Vec<String> = shown.clone().map(|change| change.key.to_string()).collect();
    let hashes = |set: &secbeat_config::policy::Set| {
        let of = |key: &Key| set.get(key).map(|resource| resource.hash.to_string());
        let pairs: BTreeMap<String, Option<String>> =
            shown.clone().map(|change| (change.key.to_string(), of(&change.key))).collect();
        serde_json::to_string(&pairs).unwrap_or_default()
    };
    Record { target: target.join(" "), before: hashes(&candidate.before.set), after: hashes(&candidate.set) }
}

pub(crate) fn wire_resources<'k>(wanted: &Wanted, keys: impl Fn(&Key) -> bool + 'k) -> Vec<v1::Resource> {
    let chosen = wanted.set.iter().filter(|(key, _)| keys(key));
    chosen.map(|(key, resource)| resource_to_wire(resource, wanted.version(key))).collect()
}
