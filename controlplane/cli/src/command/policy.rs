//! `secbeat policy`: what the fleet is told to do.
//!
//! Owns: the verbs. `files` reads policy files, `change` shows and makes changes, `rollout` follows them to the nodes.
//! Does not own: what a policy may say (`secbeat_config::policy`, the same code that orchestrator and nodes run).

pub(crate) mod change;
mod files;
pub(crate) mod rollout;

use clap::Subcommand;
use secbeat_config::policy::{Document, Set, wire};
use secbeat_proto::v1::{
    CancelRequest, ConfirmRequest, GetPolicyRequest, GetPolicyResponse, GetRolloutRequest, HistoryRequest,
    Resource, ResourceKey, RevisionInfo,
};
use serde_json::{Value, json};

use crate::args::next_page;
use crate::client::{App, Client};
use crate::exit::{Exit, Failure};
use crate::output::Format;
use crate::output::sheet::{Sheet, column, plain, wide};
use crate::output::text::{hex, or_dash, short_number, shorten};
use crate::word::{self, parse_key};

/// What is done with the policy.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Change the policy to what files say, and roll it out
    Apply(change::ApplyArgs),
    /// What `apply` would change; exit code 1 when there is a difference
    Diff {
        #[command(flatten)]
        files: files::Files,
        /// Count what no file has as removed
        #[arg(long)]
        prune: bool,
    },
    /// The policy, or resources of it; -o toml is a file for `apply`
    Get {
        /// KIND/NAME, as in filter-set/edge; none: all
        #[arg(value_name = "KEY", value_parser = parse_key)]
        keys: Vec<ResourceKey>,
        /// As it was then [default: the newest]
        #[arg(long, value_name = "REVISION", default_value_t = 0, hide_default_value = true)]
        revision: u64,
    },
    /// Make the policy of an earlier revision the newest one
    Rollback {
        /// As in `policy history`
        revision: u64,
        #[command(flatten)]
        spread: rollout::Spread,
    },
    /// Revisions, the newest first
    History {
        /// At most this many; 0: all
        #[arg(long, value_name = "COUNT", default_value_t = 50)]
        limit: usize,
    },
    /// Check files on this machine, without a server
    Validate {
        #[command(flatten)]
        files: files::Files,
        /// The files are the whole policy: what they name must be in them
        #[arg(long)]
        whole: bool,
    },
    /// Keep a change that would be taken back by itself
    Confirm {
        /// Which [default: the latest]
        rollout: Option<String>,
    },
    /// Take a running change back now
    Cancel {
        /// Which [default: the latest]
        rollout: Option<String>,
    },
    /// How far a change has come, and who refused it
    Status {
        /// Which [default: the latest]
        rollout: Option<String>,
        /// Follow it to its end
        #[command(flatten)]
        wait: rollout::Wait,
    },
}

const RESOURCES: Sheet<Resource> = Sheet {
    columns: &[
        column("RESOURCE", |resource, _| plain(word::key(resource.key.as_ref()))),
        column("VERSION", |resource, _| plain(resource.version)),
        column("RULES", |resource, _| plain(rule_count(resource))),
        column("BYTES", |resource, _| plain(short_number(resource.body.len() as f64))),
        column("HASH", |resource, show| {
            let hash = hex(&resource.hash);
            plain(if show.is_wide { hash } else { shorten(&hash, 13) })
        }),
    ],
    json: json_resource,
    name: |resource| word::key(resource.key.as_ref()),
};

const REVISIONS: Sheet<RevisionInfo> = Sheet {
    columns: &[
        column("REVISION", |revision, _| plain(revision.revision)),
        column("WHEN", |revision, show| plain(show.past(revision.at_ms))),
        column("WHO", |revision, _| plain(or_dash(&revision.actor))),
        column("CHANGES", |revision, _| {
            plain(format!("+{} ~{} -{}", revision.added, revision.changed, revision.removed))
        }),
        column("BACK TO", |revision, _| match revision.rolled_back_to {
            0 => plain("-"),
            earlier => plain(earlier),
        }),
        column("REASON", |revision, _| plain(or_dash(&revision.reason))),
        wide("HASH", |revision, _| plain(hex(&revision.set_hash))),
    ],
    json: |revision| {
        json!({
            "revision": revision.revision,
            "at_ms": revision.at_ms,
            "actor": revision.actor,
            "reason": revision.reason,
            "added": revision.added,
            "changed": revision.changed,
            "removed": revision.removed,
            "set_hash": hex(&revision.set_hash),
            "rolled_back_to": revision.rolled_back_to,
        })
    },
    name: |revision| revision.revision.to_string(),
};

/// The body as JSON; what is none stays visible as a text.
pub(crate) fn body(resource: &Resource) -> Value {
    serde_json::from_slice(&resource.body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&resource.body).into_owned()))
}

fn rule_count(resource: &Resource) -> String {
    let body = body(resource);
    body["rules"].as_array().map_or_else(|| "-".to_owned(), |rules| rules.len().to_string())
}

fn json_resource(resource: &Resource) -> Value {
    json!({
        "key": word::key(resource.key.as_ref()),
        "version": resource.version,
        "hash": hex(&resource.hash),
        "body": body(resource),
    })
}

pub(crate) async fn run(app: &App, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Apply(args) => change::apply(app, args).await,
        Verb::Diff { files, prune } => change::diff(app, &files, prune).await,
        Verb::Get { keys, revision } => get(app, &app.connect().await?, keys, revision).await,
        Verb::Rollback { revision, spread } => change::rollback(app, revision, spread).await,
        Verb::History { limit } => history(app, &app.connect().await?, limit).await,
        Verb::Validate { files, whole } => validate(app, &files, whole),
        Verb::Confirm { rollout } => {
            let client = app.connect().await?;
            let rollout_id = rollout.unwrap_or_default();
            let request = ConfirmRequest { mutation: Some(app.mutation()), rollout_id };
            let mut call = client.policy();
            let status =
                client.change("policy confirm", std::time::Duration::ZERO, call.confirm(request)).await?;
            app.note_dry_run();
            rollout::show(app, &status)?;
            Ok(Exit::Done)
        }
        Verb::Cancel { rollout } => {
            let client = app.connect().await?;
            let rollout_id = rollout.unwrap_or_default();
            let request = CancelRequest { mutation: Some(app.mutation()), rollout_id };
            let mut call = client.policy();
            let status =
                client.change("policy cancel", std::time::Duration::ZERO, call.cancel(request)).await?;
            app.note_dry_run();
            rollout::show(app, &status)?;
            Ok(Exit::Done)
        }
        Verb::Status { rollout, wait } => status(app, rollout.unwrap_or_default(), wait).await,
    }
}

async fn status(app: &App, rollout_id: String, wait: rollout::Wait) -> Result<Exit, Failure> {
    let client = app.connect().await?;
    let status = if wait.is_wanted() {
        rollout::follow(app, &client, &rollout_id).await?
    } else {
        let mut call = client.policy();
        client.ask("policy status", call.get_rollout(GetRolloutRequest { rollout_id })).await?
    };
    rollout::show(app, &status)?;
    if wait.is_wanted() { rollout::outcome(app, &status) } else { Ok(Exit::Done) }
}

async fn get(app: &App, client: &Client, keys: Vec<ResourceKey>, revision: u64) -> Result<Exit, Failure> {
    let request = GetPolicyRequest { keys: keys.clone(), revision };
    let answer = client.ask("policy get", client.policy().get(request)).await?;
    let is_absent =
        |key: &&ResourceKey| !answer.resources.iter().any(|resource| resource.key.as_ref() == Some(key));
    let absent: Vec<_> = keys.iter().filter(is_absent).map(|key| word::key(Some(key))).collect();
    if !absent.is_empty() {
        let what = format!("not found in revision {}: {}", answer.revision, absent.join(", "));
        return Err(Failure::new(Exit::NotFound, what, "`secbeat policy get -o name` shows what there is"));
    }
    match app.output.format {
        Format::Toml => app.output.document(&as_file(&answer)?)?,
        Format::Json | Format::Yaml => {
            let resources: Vec<_> = answer.resources.iter().map(json_resource).collect();
            let value = json!({
                "revision": answer.revision,
                "set_hash": hex(&answer.set_hash),
                "resources": resources,
            });
            app.output.value(&value, "")?;
        }
        _ => RESOURCES.list(&app.output, &answer.resources, "resources")?,
    }
    if app.output.is_for_people() {
        app.output.note(&format!("revision {}", answer.revision));
    }
    Ok(Exit::Done)
}

/// The policy as a file for `apply`. An orchestrator that is newer may know what cannot be written here.
fn as_file(answer: &GetPolicyResponse) -> Result<String, Failure> {
    let hint = "the orchestrator may be newer than this program: try -o json";
    let mut set = Set::new();
    for resource in &answer.resources {
        let resource = wire::resource_from_wire(resource)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string(), hint))?;
        set.insert(resource).map_err(|error| Failure::new(Exit::Failed, error.to_string(), hint))?;
    }
    Ok(format!("# revision {}\n\n{}", answer.revision, Document::from_set(&set)))
}

async fn history(app: &App, client: &Client, limit: usize) -> Result<Exit, Failure> {
    let mut revisions: Vec<RevisionInfo> = Vec::new();
    let mut before_revision = 0;
    while let Some(page_size) = next_page(limit, revisions.len()) {
        let request = HistoryRequest { page_size, before_revision };
        let answer = client.ask("policy history", client.policy().history(request)).await?;
        let Some(last) = answer.revisions.last().map(|revision| revision.revision) else { break };
        // A server that does not go on would be asked for ever.
        let is_stuck = before_revision != 0 && last >= before_revision;
        revisions.extend(answer.revisions);
        before_revision = last;
        if is_stuck || last <= 1 {
            break;
        }
    }
    REVISIONS.list(&app.output, &revisions, "revisions")?;
    Ok(Exit::Done)
}

fn validate(app: &App, files: &files::Files, whole: bool) -> Result<Exit, Failure> {
    let policy = files.read()?;
    if whole {
        files::fits_together(&policy)?;
    }
    if app.output.is_for_people() {
        let said = format!("valid: {} resources, {} bans", policy.resources.len(), policy.bans.len());
        app.output.line(&said)?;
        return Ok(Exit::Done);
    }
    let resources = policy
        .resources
        .iter()
        .map(|resource| json!({ "key": resource.key.to_string(), "hash": resource.hash.to_string() }));
    if app.output.format == Format::Name {
        policy.resources.iter().try_for_each(|resource| app.output.line(&resource.key.to_string()))?;
    } else {
        let value = json!({ "resources": resources.collect::<Vec<_>>(), "bans": policy.bans.len() });
        app.output.value(&value, "")?;
    }
    Ok(Exit::Done)
}
