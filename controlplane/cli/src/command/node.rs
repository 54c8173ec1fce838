//! `secbeat node`: the nodes of a fleet, and orders to them.
//!
//! Owns: how a node is shown, and orders (drain, restart, reload) to named nodes. Does not own: whether a node is
//! alive, which the orchestrator judges by its lease.

use std::time::Duration;

use clap::{Args, Subcommand};
use secbeat_proto::v1::{
    Command as NodeCommand, GetNodeRequest, ListNodesRequest, NodeDetail, NodeInfo, NodeLoad, NodeState,
    OrderNodesRequest, OrderResult, ResourceResult, WatchNodesRequest, command, node_event,
};
use serde_json::{Value, json};

use crate::args::{Limit, ms, next_page};
use crate::client::{App, Client};
use crate::exit::{Exit, Failure};
use crate::output::sheet::{Sheet, column, pairs, plain, wide};
use crate::output::text::{hex, or_dash, relative, rfc3339, short_number, shorten};
use crate::output::{Format, Tone};
use crate::word::{self, NodeStateWord};

/// How long nodes may take to answer an order, unless `--timeout` says otherwise.
const WAIT_DEFAULT: Duration = Duration::from_secs(10);

/// What is done with nodes.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// All nodes
    List {
        /// Only nodes in this state
        #[arg(long, value_enum, value_name = "STATE")]
        state: Vec<NodeStateWord>,
        #[command(flatten)]
        limit: Limit,
    },
    /// One node: state, load, and what it holds of the policy
    Show {
        /// UUID, its unique beginning, or the host name
        node: String,
        /// With its counters
        #[arg(long)]
        metrics: bool,
    },
    /// Finish connections and take no new ones
    Drain {
        #[command(flatten)]
        to: Addressees,
        /// Stop when they are finished
        #[arg(long)]
        stop: bool,
    },
    /// Drain, then start again
    Restart {
        #[command(flatten)]
        to: Addressees,
        /// Without finishing connections
        #[arg(long)]
        now: bool,
    },
    /// Read the configuration file again
    Reload {
        #[command(flatten)]
        to: Addressees,
    },
    /// All nodes, then every change, until interrupted
    Watch,
}

/// Who gets an order.
#[derive(Args)]
pub(crate) struct Addressees {
    /// UUID, its unique beginning, or the host name
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
    /// Do not wait for the answers of the nodes
    #[arg(long)]
    no_wait: bool,
}

pub(crate) const NODES: Sheet<NodeInfo> = Sheet {
    columns: &[
        column("NODE", |node, show| {
            plain(if show.is_wide { &node.node_id } else { short_id(&node.node_id) })
        }),
        column("HOST", |node, _| plain(or_dash(&node.hostname))),
        column("STATE", |node, _| state(node)),
        column("POLICY", |node, _| policy(node)),
        column("CPU", |node, _| plain(format!("{:.0}%", load(node).cpu_percent))),
        column("PPS", |node, _| plain(short_number(load(node).packets_per_second))),
        column("DROPS/S", |node, _| plain(short_number(load(node).drops_per_second))),
        column("CONNS", |node, _| plain(short_number(load(node).connections as f64))),
        column("SEEN", |node, show| plain(show.past(node.last_seen_ms))),
        column("VERSION", |node, _| plain(or_dash(&node.version))),
        wide("ADDRESS", |node, _| plain(or_dash(&node.address))),
        wide("MODE", |node, _| plain(or_dash(&node.mode))),
        wide("DRIVER", |node, _| plain(or_dash(&node.driver))),
        wide("STARTED", |node, show| plain(show.past(node.started_ms))),
        wide("SKEW", |node, _| plain(format!("{}ms", node.clock_skew_ms))),
        wide("LOST", |node, _| plain(node.events_lost)),
    ],
    json: json_info,
    name: |node| node.node_id.clone(),
};

const RESOURCES: Sheet<ResourceResult> = Sheet {
    columns: &[
        column("RESOURCE", |result, _| plain(word::key(result.key.as_ref()))),
        column("VERSION", |result, _| plain(result.version)),
        column("STATE", |result, _| {
            let (word, tone) = word::resource_state(result.state);
            (word.to_owned(), tone)
        }),
        column("ERROR", |result, _| plain(or_dash(&result.error))),
    ],
    json: json_resource,
    name: |result| word::key(result.key.as_ref()),
};

const ORDERS: Sheet<OrderResult> = Sheet {
    columns: &[
        column("NODE", |result, _| plain(&result.node_id)),
        column("RESULT", |result, _| {
            if result.is_ok { ("ok".to_owned(), Tone::Good) } else { ("failed".to_owned(), Tone::Bad) }
        }),
        column("MESSAGE", |result, _| plain(or_dash(&result.message))),
    ],
    json: |result| json!({ "node_id": result.node_id, "is_ok": result.is_ok, "message": result.message }),
    name: |result| result.node_id.clone(),
};

/// The beginning of a UUID that people compare.
pub(crate) fn short_id(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// The load, or none when a node has told nothing yet.
pub(crate) fn load(node: &NodeInfo) -> NodeLoad {
    node.load.unwrap_or_default()
}

pub(crate) fn state(node: &NodeInfo) -> (String, Tone) {
    let (word, tone) = word::node_state(node.state);
    match NodeState::try_from(node.state) {
        Ok(NodeState::Active | NodeState::Draining) if !node.is_connected => {
            (format!("{word}, cut off"), Tone::Warning)
        }
        _ => (word.to_owned(), tone),
    }
}

pub(crate) fn policy(node: &NodeInfo) -> (String, Tone) {
    match (node.is_in_sync, node.rejected) {
        (_, rejected @ 1..) => (format!("{rejected} rejected"), Tone::Bad),
        (true, _) => (format!("in sync @{}", node.applied_revision), Tone::Good),
        (false, _) => (format!("behind @{}", node.applied_revision), Tone::Warning),
    }
}

pub(crate) fn json_load(load: &NodeLoad) -> Value {
    json!({
        "cpu_percent": load.cpu_percent,
        "memory_bytes": load.memory_bytes,
        "connections": load.connections,
        "requests_per_second": load.requests_per_second,
        "packets_per_second": load.packets_per_second,
        "bits_per_second_in": load.bits_per_second_in,
        "bits_per_second_out": load.bits_per_second_out,
        "drops_per_second": load.drops_per_second,
        "validated_drop_share": load.validated_drop_share,
        "server_error_share": load.server_error_share,
        "attacks_active": load.attacks_active,
    })
}

pub(crate) fn json_info(node: &NodeInfo) -> Value {
    json!({
        "node_id": node.node_id,
        "hostname": node.hostname,
        "address": node.address,
        "state": word::node_state(node.state).0,
        "is_connected": node.is_connected,
        "version": node.version,
        "mode": node.mode,
        "driver": node.driver,
        "registered_ms": node.registered_ms,
        "last_seen_ms": node.last_seen_ms,
        "started_ms": node.started_ms,
        "is_in_sync": node.is_in_sync,
        "applied_hash": hex(&node.applied_hash),
        "wanted_hash": hex(&node.wanted_hash),
        "applied_revision": node.applied_revision,
        "rejected": node.rejected,
        "load": node.load.as_ref().map(json_load),
        "clock_skew_ms": node.clock_skew_ms,
        "events_lost": node.events_lost,
        "dataplane_generation": node.dataplane_generation,
        "labels": node.labels,
    })
}

fn json_resource(result: &ResourceResult) -> Value {
    json!({
        "key": word::key(result.key.as_ref()),
        "version": result.version,
        "hash": hex(&result.hash),
        "state": word::resource_state(result.state).0,
        "error": result.error,
    })
}

pub(crate) async fn run(app: &App, verb: Verb) -> Result<Exit, Failure> {
    let client = app.connect().await?;
    match verb {
        Verb::List { state, limit } => {
            let nodes = list(&client, &state, limit.limit).await?;
            NODES.list(&app.output, &nodes, "nodes")?;
            Ok(Exit::Done)
        }
        Verb::Show { node, metrics } => show(app, &client, node, metrics).await,
        Verb::Drain { to, stop } => {
            let kind = command::Kind::Drain(command::Drain { stop });
            order(app, &client, "drain", to, kind).await
        }
        Verb::Restart { to, now } => {
            let kind = command::Kind::Restart(command::Restart { now });
            order(app, &client, "restart", to, kind).await
        }
        Verb::Reload { to } => {
            order(app, &client, "reload", to, command::Kind::Reload(command::Reload {})).await
        }
        Verb::Watch => watch(app, &client).await,
    }
}

/// Every node, page by page.
pub(crate) async fn list(
    client: &Client,
    states: &[NodeStateWord],
    limit: usize,
) -> Result<Vec<NodeInfo>, Failure> {
    let mut nodes = Vec::new();
    let mut page_token = String::new();
    while let Some(page_size) = next_page(limit, nodes.len()) {
        let request = ListNodesRequest {
            states: states.iter().map(|&state| NodeState::from(state) as i32).collect(),
            page_size,
            page_token: page_token.clone(),
        };
        let answer = client.ask("node list", client.fleet().list_nodes(request)).await?;
        let is_last = answer.nodes.is_empty() || answer.next_page_token == page_token;
        nodes.extend(answer.nodes);
        page_token = answer.next_page_token;
        if is_last || page_token.is_empty() {
            break;
        }
    }
    Ok(nodes)
}

async fn show(app: &App, client: &Client, node_id: String, metrics: bool) -> Result<Exit, Failure> {
    let mut call = client.fleet();
    let detail = client.ask("node show", call.get_node(GetNodeRequest { node_id })).await?;
    let info = detail.info.clone().unwrap_or_default();
    if !app.output.is_for_people() {
        app.output.value(&json_detail(&info, &detail), &info.node_id)?;
        return Ok(Exit::Done);
    }
    let mut text = pairs(&app.output, &facts(&info, app.output.format == Format::Wide));
    if !detail.resources.is_empty() {
        text.push('\n');
        text.push_str(&RESOURCES.table(&app.output, &detail.resources));
    }
    if metrics {
        text.push('\n');
        let rows: Vec<_> =
            detail.samples.iter().map(|sample| (sample.name.as_str(), sample.value.to_string())).collect();
        text.push_str(&pairs(&app.output, &rows));
    }
    app.output.raw(&text)?;
    Ok(Exit::Done)
}

fn json_detail(info: &NodeInfo, detail: &NodeDetail) -> Value {
    let samples: Vec<_> =
        detail.samples.iter().map(|sample| json!({ "name": sample.name, "value": sample.value })).collect();
    let mut value = json_info(info);
    value["resources"] = detail.resources.iter().map(json_resource).collect();
    value["samples"] = samples.into();
    value
}

fn facts(info: &NodeInfo, is_wide: bool) -> Vec<(&'static str, String)> {
    let now_ms = crate::output::text::now_ms();
    let time = |at_ms| match (at_ms, is_wide) {
        (0, _) => "-".to_owned(),
        (_, true) => rfc3339(at_ms),
        (_, false) => relative(at_ms, now_ms),
    };
    let load = load(info);
    let labels: Vec<_> = info.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    vec![
        ("node", info.node_id.clone()),
        ("host", format!("{} ({})", or_dash(&info.hostname), or_dash(&info.address))),
        ("state", state(info).0),
        ("policy", policy(info).0),
        ("applied hash", or_dash(&shorten(&hex(&info.applied_hash), 17)).to_owned()),
        ("wanted hash", or_dash(&shorten(&hex(&info.wanted_hash), 17)).to_owned()),
        ("version", or_dash(&info.version).to_owned()),
        ("mode", format!("{}, {}", or_dash(&info.mode), or_dash(&info.driver))),
        ("registered", time(info.registered_ms)),
        ("started", time(info.started_ms)),
        ("seen", time(info.last_seen_ms)),
        ("clock skew", format!("{}ms", info.clock_skew_ms)),
        ("cpu, memory", format!("{:.0}%, {}B", load.cpu_percent, short_number(load.memory_bytes as f64))),
        (
            "packets, drops",
            format!("{}/s, {}/s", short_number(load.packets_per_second), short_number(load.drops_per_second)),
        ),
        ("connections", load.connections.to_string()),
        ("requests", format!("{}/s", short_number(load.requests_per_second))),
        ("attacks", load.attacks_active.to_string()),
        ("events lost", info.events_lost.to_string()),
        ("labels", or_dash(&labels.join(", ")).to_owned()),
    ]
}

async fn order(
    app: &App,
    client: &Client,
    what: &str,
    to: Addressees,
    kind: command::Kind,
) -> Result<Exit, Failure> {
    if !app.is_dry_run {
        app.output.confirm(&format!("{what} {}?", to.nodes.join(", "))).await?;
    }
    let wait = if to.no_wait { Duration::ZERO } else { app.timeout.unwrap_or(WAIT_DEFAULT) };
    let request = OrderNodesRequest {
        mutation: Some(app.mutation()),
        node_ids: to.nodes,
        command: Some(NodeCommand { id: 0, epoch: 0, kind: Some(kind) }),
        wait_ms: ms(Some(wait)),
    };
    let answer = client.change(&format!("node {what}"), wait, client.fleet().order_nodes(request)).await?;
    app.note_dry_run();
    ORDERS.list(&app.output, &answer.results, "answers")?;
    let refused: Vec<_> = answer.results.iter().filter(|result| !result.is_ok).collect();
    if refused.is_empty() {
        return Ok(Exit::Done);
    }
    let said = format!("{what} failed on {} of {} nodes", refused.len(), answer.results.len());
    let lines = refused.iter().map(|result| format!("{}: {}", result.node_id, result.message)).collect();
    Err(Failure::new(Exit::Partial, said, "`secbeat node show NODE` says how it is").with_details(lines))
}

async fn watch(app: &App, client: &Client) -> Result<Exit, Failure> {
    let mut call = client.fleet();
    let mut stream = client.ask("node watch", call.watch_nodes(WatchNodesRequest {})).await?;
    while let Some(event) = stream.message().await.map_err(|status| client.failure(&status, "node watch"))? {
        if event.lost > 0 {
            app.output.note(&format!("{} changes were lost: this terminal is too slow", event.lost));
        }
        match event.kind {
            Some(node_event::Kind::Node(node)) => {
                let line = format!(
                    "{}  {}  {}  {}",
                    short_id(&node.node_id),
                    or_dash(&node.hostname),
                    state(&node).0,
                    policy(&node).0
                );
                let name = if app.output.is_for_people() { line } else { node.node_id.clone() };
                app.output.streamed(&json_info(&node), &name)?;
            }
            Some(node_event::Kind::RemovedNodeId(id)) => {
                let name = if app.output.is_for_people() {
                    format!("{}  removed", short_id(&id))
                } else {
                    id.clone()
                };
                app.output.streamed(&json!({ "node_id": id, "is_removed": true }), &name)?;
            }
            Some(node_event::Kind::Bookmark(_)) if app.output.is_for_people() => app.output.note("-- now --"),
            _ => {}
        }
    }
    Err(Failure::new(Exit::Unreachable, "the orchestrator ended the watch", "start it again"))
}
