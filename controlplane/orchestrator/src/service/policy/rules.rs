//! Single rules of a set.

use secbeat_config::policy::wire::key_from_wire;
use secbeat_config::policy::{Key, RULES_MAX, Resource};
use secbeat_proto::v1;

use super::{Options, bring, expect_revision};
use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::Orchestrator;
use crate::policy::{Candidate, Request};
use crate::service::blocking;
use crate::service::mutation::carry_out;

/// Adds, replaces or removes single rules.
///
/// # Errors
/// [`Failure::Invalid`] for rules that are none, [`Failure::NotFound`] when rules are to be removed from a set that
/// does not exist.
pub async fn change_rules(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::ChangeRulesRequest,
) -> Result<v1::ApplyResponse, Failure> {
    caller.require(Scope::PolicyWrite)?;
    let mutation = request.mutation.clone().unwrap_or_default();
    let change = async {
        let key =
            key_from_wire(request.set.as_ref()).map_err(|error| Failure::Invalid(format!("set: {error}")))?;
        let turn = o.policy.begin().await;
        let newest = o.policy.newest();
        expect_revision(&mutation, newest.revision)?;
        let (upserts, removals) = (request.upserts.clone(), request.removals.clone());
        let replace = request.replace;
        let candidate = blocking(move || {
            let earlier = newest.set.get(&key).map(|resource| (**resource).clone());
            let changed = with_rules(key, earlier, &upserts, &removals, replace)?;
            Candidate::of_request(newest, Request { upserts: vec![changed], ..Request::default() })
        })
        .await?;
        let options = Options {
            rollout: request.rollout.clone(),
            rollback_after_ms: request.rollback_after_ms,
            rolled_back_to: 0,
        };
        bring(o, caller, &turn, &mutation, candidate, options)
    };
    carry_out(o, caller, "policy.change_rules", &mutation, &request, change).await
}

fn with_rules(
    key: Key,
    earlier: Option<Resource>,
    upserts: &[Vec<u8>],
    removals: &[String],
    replace: bool,
) -> Result<Resource, Failure> {
    if upserts.len() > RULES_MAX || removals.len() > RULES_MAX {
        return Err(Failure::Invalid(format!("a set has at most {RULES_MAX} rules")));
    }
    if earlier.is_none() && upserts.is_empty() {
        return Err(Failure::NotFound(format!("{key} does not exist")));
    }
    let invalid = |error: secbeat_config::policy::ResourceError| Failure::Invalid(error.to_string());
    let base = earlier.map_or_else(|| Resource::empty_rules(key.clone()), Ok).map_err(invalid)?;
    let text = |(at, rule): (usize, &'_ Vec<u8>)| {
        String::from_utf8(rule.clone()).map_err(|_| Failure::Invalid(format!("upserts[{at}] is not UTF-8")))
    };
    let texts: Vec<String> = upserts.iter().enumerate().map(text).collect::<Result<_, _>>()?;
    let upserts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let removals: Vec<&str> = removals.iter().map(String::as_str).collect();
    base.with_rules(&upserts, &removals, replace).map_err(invalid)
}
