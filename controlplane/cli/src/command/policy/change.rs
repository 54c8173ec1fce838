//! Changes of the policy: what would change, making it, taking it back.
//!
//! Owns: how changes are shown, and the order of things: check locally, ask, send, follow. Does not own: how a change
//! gets to the nodes (`rollout`).

use std::time::Duration;

use clap::Args;
use secbeat_config::policy::{BanSpec, wire};
use secbeat_proto::v1::{
    ApplyRequest, ApplyResponse, DiffRequest, DiffResponse, FieldChange, NewBan, Resource, ResourceChange,
    RollbackRequest, RolloutStatus,
};
use serde_json::{Value, json};

use super::files::Files;
use super::rollout::{self, Spread, Timed};
use crate::args::ms;
use crate::client::{App, Client};
use crate::command::ban::import;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::output::text::{sanitise, shorten};
use crate::word;

/// Characters of one value in a difference; `-o json` has all of it.
const VALUE_CHARS_MAX: usize = 80;

/// Arguments of `policy apply`.
#[derive(Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    files: Files,
    /// Remove what no file has
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    spread: Spread,
    #[command(flatten)]
    timed: Timed,
}

pub(super) async fn apply(app: &App, args: ApplyArgs) -> Result<Exit, Failure> {
    let policy = args.files.read()?;
    if policy.resources.is_empty() && policy.bans.is_empty() && !args.prune {
        return Err(Failure::new(Exit::Invalid, "the files say nothing", "is it the right file?"));
    }
    if policy.resources.is_empty() && args.prune && !app.output.is_confirmed && !app.is_dry_run {
        return Err(Failure::new(
            Exit::Invalid,
            "no file has a resource: --prune would remove the whole policy",
            "if that is meant, give --yes",
        ));
    }
    let upserts: Vec<Resource> =
        policy.resources.iter().map(|resource| wire::resource_to_wire(resource, 0)).collect();
    let client = app.connect().await?;
    if args.prune && !app.is_dry_run && app.output.asks() {
        confirm_removals(app, &client, &upserts).await?;
    }
    let mut answer = ApplyResponse::default();
    if !upserts.is_empty() || args.prune {
        let mut mutation = app.mutation();
        mutation.expected_revision = args.timed.expected_revision;
        let request = ApplyRequest {
            mutation: Some(mutation),
            upserts,
            removals: Vec::new(),
            prune: args.prune,
            rollout: args.spread.rollout(),
            rollback_after_ms: ms(args.timed.rollback_after),
        };
        answer = client.change("policy apply", Duration::ZERO, client.policy().apply(request)).await?;
    }
    let bans: Vec<_> = policy.bans.iter().map(new_ban).collect();
    finish(app, &client, &answer, &args.spread, &bans).await
}

fn new_ban(ban: &BanSpec) -> NewBan {
    NewBan {
        prefix: ban.prefix.to_string(),
        duration_ms: ms(ban.duration),
        reason: ban.reason.clone(),
        is_permanent: false,
    }
}

async fn confirm_removals(app: &App, client: &Client, upserts: &[Resource]) -> Result<(), Failure> {
    let request = DiffRequest { upserts: upserts.to_vec(), removals: Vec::new(), prune: true };
    let answer = client.ask("policy diff", client.policy().diff(request)).await?;
    let removed = answer.changes.iter().filter(|change| word::change_action(change.action).0 == "removed");
    let removed: Vec<_> = removed.map(|change| word::key(change.key.as_ref())).collect();
    if removed.is_empty() {
        return Ok(());
    }
    app.output.confirm(&format!("remove {}?", removed.join(", "))).await
}

/// Shows what changed, sets the bans that came along, and follows the rollout when that is wanted.
pub(crate) async fn finish(
    app: &App,
    client: &Client,
    answer: &ApplyResponse,
    spread: &Spread,
    bans: &[NewBan],
) -> Result<Exit, Failure> {
    for warning in &answer.warnings {
        app.output.note(&format!("warning: {warning}"));
    }
    app.note_dry_run();
    let is_for_people = app.output.is_for_people();
    if is_for_people {
        app.output.raw(&lines(&app.output, &answer.changes))?;
        if answer.changes.is_empty() {
            app.output.note("nothing changed");
        } else if !app.is_dry_run {
            let id = &answer.rollout_id;
            let rollout = if id.is_empty() { String::new() } else { format!(", rollout {id}") };
            app.output.line(&format!("revision {}{rollout}", answer.revision))?;
        }
    }
    let imported = match bans {
        [] => None,
        bans => Some(import::send(app, client, bans).await?),
    };
    if let Some(imported) = imported.as_ref().filter(|_| is_for_people) {
        app.output.line(&imported.sentence())?;
    }
    let has_rollout = !answer.rollout_id.is_empty() && !app.is_dry_run;
    let status = match spread.wait.is_wanted() && has_rollout {
        true => Some(rollout::follow(app, client, &answer.rollout_id).await?),
        false => None,
    };
    if !is_for_people {
        let mut value = json_answer(answer, status.as_ref());
        if let Some(imported) = &imported {
            value["bans"] = imported.json();
        }
        app.output.value(&value, &answer.revision.to_string())?;
    }
    let exit = status.as_ref().map_or(Ok(Exit::Done), |status| rollout::outcome(app, status))?;
    imported.map_or(Ok(exit), |imported| imported.outcome())
}

pub(super) async fn diff(app: &App, files: &Files, prune: bool) -> Result<Exit, Failure> {
    let policy = files.read()?;
    let upserts = policy.resources.iter().map(|resource| wire::resource_to_wire(resource, 0)).collect();
    let client = app.connect().await?;
    let request = DiffRequest { upserts, removals: Vec::new(), prune };
    let answer: DiffResponse = client.ask("policy diff", client.policy().diff(request)).await?;
    if app.output.is_for_people() {
        app.output.raw(&lines(&app.output, &answer.changes))?;
    } else {
        let value = json!({ "revision": answer.revision, "changes": json_changes(&answer.changes) });
        let keys: Vec<_> = answer.changes.iter().map(|change| word::key(change.key.as_ref())).collect();
        if !keys.is_empty() || app.output.format != crate::output::Format::Name {
            app.output.value(&value, &keys.join(" "))?;
        }
    }
    Ok(if answer.changes.is_empty() { Exit::Done } else { Exit::Different })
}

pub(super) async fn rollback(app: &App, to_revision: u64, spread: Spread) -> Result<Exit, Failure> {
    if !app.is_dry_run {
        app.output.confirm(&format!("make the policy of revision {to_revision} the newest one?")).await?;
    }
    let client = app.connect().await?;
    let request = RollbackRequest { mutation: Some(app.mutation()), to_revision, rollout: spread.rollout() };
    let mut call = client.policy();
    let answer = client.change("policy rollback", Duration::ZERO, call.rollback(request)).await?;
    finish(app, &client, &answer, &spread, &[]).await
}

fn json_answer(answer: &ApplyResponse, status: Option<&RolloutStatus>) -> Value {
    json!({
        "revision": answer.revision,
        "changes": json_changes(&answer.changes),
        "rollout_id": answer.rollout_id,
        "warnings": answer.warnings,
        "rollout": status.map(rollout::json),
    })
}

fn json_changes(changes: &[ResourceChange]) -> Value {
    // Before and after are JSON; empty is absent.
    let value = |text: &str| match text {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    };
    let field = |field: &FieldChange| {
        let (before, after) = (value(&field.before), value(&field.after));
        json!({ "path": field.path, "before": before, "after": after })
    };
    let change = |change: &ResourceChange| {
        json!({
            "action": word::change_action(change.action).0,
            "key": word::key(change.key.as_ref()),
            "version": change.version,
            "fields": change.fields.iter().map(field).collect::<Vec<_>>(),
            "fields_omitted": change.fields_omitted,
        })
    };
    changes.iter().map(change).collect()
}

/// Changes as lines, safe for a terminal.
fn lines(output: &Output, changes: &[ResourceChange]) -> String {
    let mut text = String::new();
    for change in changes {
        let (_, sign, tone) = word::change_action(change.action);
        let key = word::key(change.key.as_ref());
        text.push_str(&output.paint(tone, &format!("{sign} {}", sanitise(&key))));
        text.push('\n');
        for field in &change.fields {
            text.push_str(&format!("    {}: {}\n", sanitise(&field.path), sanitise(&values(field))));
        }
        if change.fields_omitted > 0 {
            text.push_str(&format!("    and {} more\n", change.fields_omitted));
        }
    }
    text
}

fn values(field: &FieldChange) -> String {
    let before = shorten(&field.before, VALUE_CHARS_MAX);
    let after = shorten(&field.after, VALUE_CHARS_MAX);
    match (before.is_empty(), after.is_empty()) {
        (true, _) => format!("+ {after}"),
        (_, true) => format!("- {before}"),
        _ => format!("{before} -> {after}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, When};

    #[test]
    fn a_change_reads_as_what_was_and_what_is() {
        let field = |path: &str, before: &str, after: &str| FieldChange {
            path: path.into(),
            before: before.into(),
            after: after.into(),
        };
        let change = ResourceChange {
            action: 2,
            key: word::parse_key("limits/default").ok(),
            version: 3,
            fields: vec![field("a", "1", "2"), field("b", "", "\"x\""), field("c", "true", "")],
            fields_omitted: 4,
        };
        let text = lines(&Output::new(Format::Table, When::Never, true), &[change]);
        assert_eq!(text, "~ limits/default\n    a: 1 -> 2\n    b: + \"x\"\n    c: - true\n    and 4 more\n");
    }
}
