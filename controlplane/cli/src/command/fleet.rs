//! `secbeat fleet` and `secbeat explain`: the fleet as a whole, and everything about one address.
//!
//! Owns: how totals and findings look. Does not own: the findings, which the orchestrator makes of lists, bans, limits
//! and events.

use std::time::Duration;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use secbeat_proto::v1::explain_response::Finding;
use secbeat_proto::v1::{
    CleanupRequest, ExplainRequest, ExplainResponse, FleetStats, GetFleetStatsRequest, ScaleRequest,
};
use serde_json::{Value, json};

use crate::args::ms;
use crate::client::{App, Client};
use crate::command::event::{EVENTS, json_event};
use crate::command::node::json_load;
use crate::exit::{Exit, Failure};
use crate::output::sheet::{Sheet, column, pairs, plain};
use crate::output::text::{or_dash, sanitise, short_duration, short_number};
use crate::output::{Format, Tone};

/// What is done with a fleet.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Nodes, load, policy, bans and events in numbers
    Stats,
    /// Ask the configured webhook for more or fewer nodes
    Scale {
        /// Wanted number of nodes (5), or a difference (+2, -1)
        #[arg(allow_hyphen_values = true, value_parser = parse_size)]
        nodes: Size,
        /// The node that it is about
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
    },
    /// Forget dead nodes, old events, ended bans, old revisions
    Cleanup {
        /// Nodes that have been dead for this long [default: as configured]
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        dead_for: Option<Duration>,
        /// Events older than this [default: as configured]
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        events_older_than: Option<Duration>,
    },
}

/// Arguments of `explain`.
#[derive(Args)]
pub(crate) struct ExplainArgs {
    /// Address or prefix
    #[arg(value_parser = super::ban::parse_prefix)]
    address: IpNet,
    /// At most this many recent events
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    events: u32,
}

/// How many nodes are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Nodes(u32),
    Delta(i32),
}

fn parse_size(text: &str) -> Result<Size, String> {
    let wrong = |_| "write a number of nodes (5) or a difference (+2, -1)".to_owned();
    if text.starts_with(['+', '-']) {
        let delta: i32 = text.parse().map_err(wrong)?;
        return if delta == 0 {
            Err("a difference of 0 changes nothing".to_owned())
        } else {
            Ok(Size::Delta(delta))
        };
    }
    match text.parse().map_err(wrong)? {
        0 => Err("a fleet has at least one node".to_owned()),
        nodes => Ok(Size::Nodes(nodes)),
    }
}

const FINDINGS: Sheet<Finding> = Sheet {
    columns: &[
        column("WHAT", |finding, _| plain(&finding.what)),
        column("NAME", |finding, _| plain(or_dash(&finding.name))),
        column("EFFECT", |finding, _| effect(finding)),
        column("ENDS", |finding, show| plain(show.end(finding.until_ms))),
        column("NODES", |finding, _| plain(finding.nodes_enforcing)),
        column("HITS", |finding, _| plain(finding.hits)),
        column("EXPLANATION", |finding, _| plain(or_dash(&finding.explanation))),
    ],
    json: json_finding,
    name: |finding| format!("{}/{}", finding.what, finding.name),
};

fn effect(finding: &Finding) -> (String, Tone) {
    let tone = match finding.effect.as_str() {
        "drop" => Tone::Bad,
        "allow" => Tone::Good,
        "limit" => Tone::Warning,
        _ => Tone::Plain,
    };
    (or_dash(&finding.effect).to_owned(), tone)
}

fn json_finding(finding: &Finding) -> Value {
    json!({
        "what": finding.what,
        "name": finding.name,
        "effect": finding.effect,
        "explanation": finding.explanation,
        "until_ms": finding.until_ms,
        "nodes_enforcing": finding.nodes_enforcing,
        "hits": finding.hits,
    })
}

pub(crate) async fn run(app: &App, verb: Verb) -> Result<Exit, Failure> {
    let client = app.connect().await?;
    match verb {
        Verb::Stats => stats(app, &client).await,
        Verb::Scale { nodes, node } => scale(app, &client, nodes, node).await,
        Verb::Cleanup { dead_for, events_older_than } => {
            cleanup(app, &client, dead_for, events_older_than).await
        }
    }
}

async fn stats(app: &App, client: &Client) -> Result<Exit, Failure> {
    let stats = client.ask("fleet stats", client.fleet().get_fleet_stats(GetFleetStatsRequest {})).await?;
    if app.output.is_for_people() {
        app.output.raw(&pairs(&app.output, &rows(&stats)))?;
    } else {
        app.output.value(&json_stats(&stats), &stats.nodes_total.to_string())?;
    }
    Ok(Exit::Done)
}

fn rows(stats: &FleetStats) -> Vec<(&'static str, String)> {
    let load = stats.load.unwrap_or_default();
    vec![
        (
            "nodes",
            format!(
                "{}: {} active, {} starting, {} draining, {} dead",
                stats.nodes_total,
                stats.nodes_active,
                stats.nodes_starting,
                stats.nodes_draining,
                stats.nodes_dead
            ),
        ),
        ("connected", format!("{}, {} hold the whole policy", stats.nodes_connected, stats.nodes_in_sync)),
        ("policy", format!("revision {}", stats.policy_revision)),
        ("attacks", stats.attacks_active.to_string()),
        ("bans", stats.bans.to_string()),
        ("events", format!("{} stored, {} lost", stats.events_stored, stats.events_lost)),
        (
            "packets, drops",
            format!("{}/s, {}/s", short_number(load.packets_per_second), short_number(load.drops_per_second)),
        ),
        (
            "bits in, out",
            format!(
                "{}bit/s, {}bit/s",
                short_number(load.bits_per_second_in),
                short_number(load.bits_per_second_out)
            ),
        ),
        ("requests", format!("{}/s", short_number(load.requests_per_second))),
        ("connections", load.connections.to_string()),
        ("cpu", format!("{:.0}%", load.cpu_percent)),
        ("uptime", short_duration(Duration::from_millis(stats.uptime_ms))),
    ]
}

pub(crate) fn json_stats(stats: &FleetStats) -> Value {
    json!({
        "nodes_total": stats.nodes_total,
        "nodes_starting": stats.nodes_starting,
        "nodes_active": stats.nodes_active,
        "nodes_draining": stats.nodes_draining,
        "nodes_dead": stats.nodes_dead,
        "nodes_connected": stats.nodes_connected,
        "nodes_in_sync": stats.nodes_in_sync,
        "policy_revision": stats.policy_revision,
        "bans": stats.bans,
        "events_stored": stats.events_stored,
        "events_lost": stats.events_lost,
        "load": stats.load.as_ref().map(json_load),
        "attacks_active": stats.attacks_active,
        "uptime_ms": stats.uptime_ms,
    })
}

async fn scale(app: &App, client: &Client, size: Size, node: Option<String>) -> Result<Exit, Failure> {
    let (nodes, delta) = match size {
        Size::Nodes(nodes) => (nodes, 0),
        Size::Delta(delta) => (0, delta),
    };
    if !app.is_dry_run {
        let wanted = if delta == 0 { format!("to {nodes}") } else { format!("by {delta:+}") };
        app.output.confirm(&format!("scale the fleet {wanted} nodes?")).await?;
    }
    let request =
        ScaleRequest { mutation: Some(app.mutation()), nodes, delta, node_id: node.unwrap_or_default() };
    let answer = client.change("fleet scale", Duration::ZERO, client.fleet().scale(request)).await?;
    app.note_dry_run();
    let said = format!("{} nodes now, {} wanted", answer.nodes_now, answer.nodes_wanted);
    let value = json!({
        "nodes_now": answer.nodes_now,
        "nodes_wanted": answer.nodes_wanted,
        "delivery_id": answer.delivery_id,
        "status": answer.status,
        "message": answer.message,
    });
    let is_name = app.output.format == Format::Name;
    app.output.value(&value, if is_name { &answer.delivery_id } else { &said })?;
    if app.is_dry_run || (200..300).contains(&answer.status) {
        return Ok(Exit::Done);
    }
    let what = format!("the webhook answered {}: {}", answer.status, or_dash(&answer.message));
    Err(Failure::new(Exit::Failed, what, "its receiver did not take it: look at its log"))
}

async fn cleanup(
    app: &App,
    client: &Client,
    dead_for: Option<Duration>,
    events_older_than: Option<Duration>,
) -> Result<Exit, Failure> {
    if !app.is_dry_run {
        app.output.confirm("forget dead nodes, old events, ended bans and old revisions?").await?;
    }
    let request = CleanupRequest {
        mutation: Some(app.mutation()),
        dead_for_ms: ms(dead_for),
        events_older_than_ms: ms(events_older_than),
    };
    let answer = client.change("fleet cleanup", Duration::ZERO, client.fleet().cleanup(request)).await?;
    app.note_dry_run();
    let said = format!(
        "removed: {} nodes, {} events, {} bans, {} revisions",
        answer.nodes_removed, answer.events_removed, answer.bans_removed, answer.revisions_removed
    );
    let value = json!({
        "nodes_removed": answer.nodes_removed,
        "events_removed": answer.events_removed,
        "bans_removed": answer.bans_removed,
        "revisions_removed": answer.revisions_removed,
    });
    app.output.value(&value, &said)?;
    Ok(Exit::Done)
}

pub(crate) async fn explain(app: &App, args: ExplainArgs) -> Result<Exit, Failure> {
    let client = app.connect().await?;
    let whole = args.address.prefix_len() == args.address.max_prefix_len();
    let target = if whole { args.address.addr().to_string() } else { args.address.to_string() };
    let request = ExplainRequest { target, events_max: args.events };
    let answer = client.ask("explain", client.fleet().explain(request)).await?;
    if !app.output.is_for_people() {
        app.output.value(&json_explanation(&answer), &answer.target)?;
        return Ok(Exit::Done);
    }
    let mut text = format!("{}: {}\n", sanitise(&answer.target), sanitise(&answer.summary));
    if !answer.findings.is_empty() {
        text.push('\n');
        text.push_str(&FINDINGS.table(&app.output, &answer.findings));
    }
    if !answer.events.is_empty() {
        text.push('\n');
        text.push_str(&EVENTS.table(&app.output, &answer.events));
    }
    app.output.raw(&text)?;
    Ok(Exit::Done)
}

fn json_explanation(answer: &ExplainResponse) -> Value {
    let findings: Vec<_> = answer.findings.iter().map(json_finding).collect();
    let events: Vec<_> = answer.events.iter().map(json_event).collect();
    json!({ "target": answer.target, "summary": answer.summary, "findings": findings, "events": events })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_or_a_difference() {
        assert_eq!(parse_size("5"), Ok(Size::Nodes(5)));
        assert_eq!(parse_size("+2"), Ok(Size::Delta(2)));
        assert_eq!(parse_size("-1"), Ok(Size::Delta(-1)));
        for wrong in ["0", "+0", "many", "-", "99999999999"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
