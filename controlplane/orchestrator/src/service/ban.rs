//! Use cases of bans.
//!
//! Owns: rights, checks and wording of `BanService`. Does not own: the list (`ban`). What the allowlist covers is
//! refused; a ban around an allowlisted address leaves it exempt and says so.

mod import;
mod listing;
#[cfg(test)]
pub(in crate::service) mod tests;

use core::future::Future;
use core::time::Duration;
use std::sync::Arc;

use ipnet::IpNet;
use secbeat_config::ban::wire::parse_prefix;
use secbeat_config::ban::{Entry, Origin, REASON_BYTES_MAX};
use secbeat_proto::v1;
use tokio::time::Instant;

pub use import::{IMPORT_ENTRIES_MAX, REFUSALS_NAMED_MAX, import_bans};
pub(in crate::service) use listing::shown;
pub use listing::{PAGE_SIZE, PAGE_SIZE_MAX, list_bans, watch_bans};

use super::mutation::{Record, carry_out};
use crate::ban::Exempt;
use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::{Orchestrator, now_ms};

/// Longest time that a request may wait for enforcement, in milliseconds.
pub const WAIT_MS_MAX: u64 = 60_000;

/// Longest ban that ends by itself, in milliseconds: ten years. Longer: `is_permanent` says what is meant.
pub const DURATION_MS_MAX: u64 = 10 * 366 * 86_400_000;

/// Allowlisted prefixes named in an answer; there may be more.
const EXEMPT_NAMED_MAX: usize = 16;

/// Time between looks at which nodes are connected while a request waits.
const WAIT_LOOK: Duration = Duration::from_millis(250);

/// Bans a prefix.
///
/// # Errors
/// `Denied`, `Invalid`; `Refused` when the allowlist covers it, with the entry; `Exhausted` when the list is full;
/// `Unavailable` when it cannot be kept.
pub async fn add_ban(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::AddBanRequest,
) -> Result<v1::AddBanResponse, Failure> {
    caller.require(Scope::BanWrite)?;
    let mutation = request.mutation.clone().unwrap_or_default();
    check_mutation(&mutation)?;
    let wait = wait(request.wait_ms)?;
    let dry_run = mutation.dry_run;
    let mut response = detached(o, caller, move |o, caller| async move {
        let change = add(&o, &caller, &request, &mutation);
        carry_out(&o, &caller, "ban.add", &mutation, &request, change).await
    })
    .await?;
    if let Some(entry) = entry_of(response.ban.as_ref()).filter(|_| !dry_run) {
        wait_for(o, &entry.prefix, true, wait).await;
        response.ban = Some(listing::shown(o, entry, true));
    }
    Ok(response)
}

async fn add(
    o: &Orchestrator,
    caller: &Caller,
    request: &v1::AddBanRequest,
    mutation: &v1::Mutation,
) -> Result<(v1::AddBanResponse, Record), Failure> {
    let new = request.ban.as_ref().ok_or_else(|| Failure::Invalid("ban: is missing".into()))?;
    let wanted = wanted(o, caller, new, &mutation.reason)?;
    let exempt = exempt(o);
    check_exempt(&exempt, &wanted.prefix)?;
    let inside = exempt.within(wanted.prefix).take(EXEMPT_NAMED_MAX).map(ToString::to_string).collect();
    let before = o.bans.active(&wanted.prefix);
    let entry = if mutation.dry_run {
        o.bans.look(|replica| drafted(replica, &wanted))?
    } else {
        o.bans.decide(&o.sessions, |decisions| decisions.ban(&wanted)).await?
    };
    let record = Record {
        target: entry.prefix.to_string(),
        before: before.as_ref().map(json).unwrap_or_default(),
        after: json(&entry),
    };
    let ban = Some(listing::shown(o, entry, true));
    Ok((v1::AddBanResponse { ban, exempt: inside }, record))
}

/// Lifts a ban.
///
/// # Errors
/// `Denied`, `Invalid`, `NotFound`; `Unavailable` when it cannot be kept.
pub async fn remove_ban(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::RemoveBanRequest,
) -> Result<v1::RemoveBanResponse, Failure> {
    caller.require(Scope::BanWrite)?;
    let mutation = request.mutation.clone().unwrap_or_default();
    check_mutation(&mutation)?;
    let wait = wait(request.wait_ms)?;
    let dry_run = mutation.dry_run;
    let mut response = detached(o, caller, move |o, caller| async move {
        let change = remove(&o, &caller, &request, &mutation);
        carry_out(&o, &caller, "ban.remove", &mutation, &request, change).await
    })
    .await?;
    if let Some(entry) = entry_of(response.ban.as_ref()).filter(|_| !dry_run) {
        wait_for(o, &entry.prefix, false, wait).await;
        response.ban = Some(listing::shown(o, entry, true));
    }
    Ok(response)
}

async fn remove(
    o: &Orchestrator,
    caller: &Caller,
    request: &v1::RemoveBanRequest,
    mutation: &v1::Mutation,
) -> Result<(v1::RemoveBanResponse, Record), Failure> {
    let prefix = prefix_of(&request.prefix)?;
    let missing = || {
        let wider = o.bans.covering(prefix);
        match wider.first() {
            Some(wider) => {
                let wider = wider.prefix;
                Failure::NotFound(format!("{prefix} is not banned by itself but by {wider}: lift that"))
            }
            None => Failure::NotFound(format!("{prefix} is not banned")),
        }
    };
    let before = o.bans.active(&prefix).ok_or_else(missing)?;
    let entry = if mutation.dry_run {
        Entry { removed: true, actor: caller.name.clone(), reason: mutation.reason.clone(), ..before.clone() }
    } else {
        let lift = o.bans.decide(&o.sessions, |decisions| {
            // Nothing left: it ended, or another lifted it, since it was looked up.
            decisions
                .lift(prefix, &caller.name, &mutation.reason)
                .ok_or_else(|| Failure::NotFound(String::new()))
        });
        match lift.await {
            Err(Failure::NotFound(_)) => return Err(missing()),
            lift => lift?,
        }
    };
    let record = Record { target: prefix.to_string(), before: json(&before), after: String::new() };
    Ok((v1::RemoveBanResponse { ban: Some(listing::shown(o, entry, true)) }, record))
}

/// Carries a change out to its end also when whoever asked goes away: what is kept must be sent and audited, too.
async fn detached<T, F>(
    o: &Orchestrator,
    caller: &Caller,
    change: impl FnOnce(Orchestrator, Caller) -> F,
) -> Result<T, Failure>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let change = tokio::spawn(change(o.clone(), caller.clone()));
    change.await.unwrap_or_else(|error| Err(Failure::Internal(format!("a change of bans: {error}"))))
}

/// Waits until every connected node says that it enforces a ban, or no longer does; or until the time is over.
async fn wait_for(o: &Orchestrator, prefix: &IpNet, is_enforced: bool, wait: Duration) {
    let deadline = Instant::now() + wait;
    let mut reports = o.bans.reports();
    loop {
        reports.mark_unchanged();
        let (connected, enforcing) = listing::enforcement(o, prefix);
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || enforcing == if is_enforced { connected } else { 0 } {
            return;
        }
        // Nodes come and go without a report.
        let _ = tokio::time::timeout(left.min(WAIT_LOOK), reports.changed()).await;
    }
}

fn wait(wait_ms: u64) -> Result<Duration, Failure> {
    if wait_ms > WAIT_MS_MAX {
        return Err(Failure::Invalid(format!("wait_ms: {wait_ms}; at most {WAIT_MS_MAX}")));
    }
    Ok(Duration::from_millis(wait_ms))
}

fn check_mutation(mutation: &v1::Mutation) -> Result<(), Failure> {
    if mutation.expected_revision != 0 {
        let asked =
            "mutation.expected_revision: bans have no revision, the newest decision holds; leave it 0";
        return Err(Failure::Invalid(asked.into()));
    }
    Ok(())
}

/// What a request asks for, checked, as an entry without a stamp.
fn wanted(o: &Orchestrator, caller: &Caller, new: &v1::NewBan, reason: &str) -> Result<Entry, Failure> {
    let prefix = prefix_of(&new.prefix)?;
    let reason = if new.reason.is_empty() { reason } else { &new.reason };
    if new.reason.len() > REASON_BYTES_MAX {
        let bytes = new.reason.len();
        return Err(Failure::Invalid(format!("reason: {bytes} bytes; at most {REASON_BYTES_MAX}")));
    }
    let until_ms = match (new.is_permanent, new.duration_ms) {
        (true, 0) => None,
        (true, _) => return Err(Failure::Invalid("duration_ms: must be 0 when is_permanent is set".into())),
        (false, 0) => {
            let default = o.config.decisions.ban_time.as_millis();
            Some(now_ms().saturating_add(u64::try_from(default).unwrap_or(u64::MAX)))
        }
        (false, duration_ms) if duration_ms > DURATION_MS_MAX => {
            return Err(Failure::Invalid(format!(
                "duration_ms: {duration_ms}; at most {DURATION_MS_MAX} (ten years), or is_permanent"
            )));
        }
        (false, duration_ms) => Some(now_ms().saturating_add(duration_ms)),
    };
    let origin = if caller.name == "internal" { Origin::Expert } else { Origin::Operator };
    Ok(Entry {
        prefix,
        stamp: Default::default(),
        removed: false,
        until_ms,
        since_ms: now_ms(),
        reason: reason.into(),
        origin,
        actor: caller.name.clone(),
        node: None,
    })
}

/// What the replica would write.
fn drafted(replica: &secbeat_config::ban::Replica, wanted: &Entry) -> Result<Entry, Failure> {
    let Entry { prefix, until_ms, reason, origin, actor, node, .. } = wanted;
    let drafted = replica.draft(*prefix, *until_ms, reason, *origin, actor, *node, now_ms());
    drafted.map(|(entry, _)| entry).map_err(|refusal| crate::ban::refused(&refusal))
}

/// The allowlist of the policy as it is now.
fn exempt(o: &Orchestrator) -> Arc<Exempt> {
    o.bans.set_policy(&o.policy.newest().set);
    o.bans.exempt()
}

fn check_exempt(exempt: &Exempt, prefix: &IpNet) -> Result<(), Failure> {
    match exempt.covering(prefix) {
        Some((net, list)) => {
            Err(Failure::Refused(format!("{prefix}: {net} is allowlisted by {list}; remove it there first")))
        }
        None => Ok(()),
    }
}

fn prefix_of(text: &str) -> Result<IpNet, Failure> {
    parse_prefix(text).map_err(|error| Failure::Invalid(error.to_string()))
}

fn entry_of(ban: Option<&v1::Ban>) -> Option<Entry> {
    ban?.entry.clone()?.try_into().ok()
}

/// An entry for the audit log.
fn json(entry: &Entry) -> String {
    let value = serde_json::json!({
        "prefix": entry.prefix.to_string(),
        "until_ms": entry.until_ms,
        "since_ms": entry.since_ms,
        "reason": entry.reason,
        "origin": entry.origin.word(),
        "actor": entry.actor,
    });
    value.to_string()
}
