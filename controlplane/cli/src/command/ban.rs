//! `secbeat ban`: addresses that every node drops.
//!
//! Owns: adding, lifting, listing; `import` has files of bans. Does not own: the allowlist, which the orchestrator
//! asks before it takes a ban.

pub(crate) mod import;

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use secbeat_proto::v1::{AddBanRequest, Ban, BanEntry, BanOrigin, ListBansRequest, NewBan, RemoveBanRequest};
use serde_json::{Value, json};

use crate::args::{Limit, ms, next_page};
use crate::client::{App, Client};
use crate::exit::{Exit, Failure};
use crate::output::sheet::{Sheet, column, plain, wide};
use crate::output::text::or_dash;
use crate::output::{Output, Tone};
use crate::word::{self, OriginWord};

/// How long `--wait` waits for nodes unless `--timeout` says otherwise.
const WAIT_DEFAULT: Duration = Duration::from_secs(10);

/// What is done with bans.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Drop an address or prefix on every node
    Add(AddArgs),
    /// Lift a ban
    Remove(RemoveArgs),
    /// Bans, whether they are enforced, and how often they hit
    List(ListArgs),
    /// Many at once: a plain list, CSV (prefix,duration,reason), or JSON
    Import(import::ImportArgs),
}

/// Arguments of `ban add`.
#[derive(Args)]
pub(crate) struct AddArgs {
    /// Address or CIDR
    #[arg(value_parser = parse_prefix)]
    prefix: IpNet,
    /// How long, as in 1h or 7d [default: as configured]
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// It never ends by itself
    #[arg(long, conflicts_with = "duration")]
    permanent: bool,
    /// Come back when every connected node enforces it
    #[arg(long)]
    wait: bool,
}

/// Arguments of `ban remove`.
#[derive(Args)]
pub(crate) struct RemoveArgs {
    /// Address or CIDR, as in `ban list`
    #[arg(value_parser = parse_prefix)]
    prefix: IpNet,
    /// Come back when no connected node enforces it any more
    #[arg(long)]
    wait: bool,
}

/// Arguments of `ban list`.
#[derive(Args)]
pub(crate) struct ListArgs {
    /// Only bans that cover this address or lie in this prefix
    #[arg(long, value_name = "PREFIX", value_parser = parse_prefix)]
    touching: Option<IpNet>,
    /// Only bans set by these
    #[arg(long, value_enum, value_name = "ORIGIN")]
    origin: Vec<OriginWord>,
    /// With every node's hits (JSON and YAML)
    #[arg(long)]
    nodes: bool,
    #[command(flatten)]
    limit: Limit,
}

pub(crate) const BANS: Sheet<Ban> = Sheet {
    columns: &[
        column("PREFIX", |ban, _| plain(&entry(ban).prefix)),
        column("ENDS", |ban, show| plain(show.end(entry(ban).until_ms))),
        column("HITS", |ban, _| plain(ban.hits)),
        column("ENFORCED", |ban, _| enforced(ban)),
        column("BY", |ban, _| plain(word::origin(entry(ban).origin))),
        column("REASON", |ban, _| plain(or_dash(&entry(ban).reason))),
        wide("SINCE", |ban, show| plain(show.past(entry(ban).since_ms))),
        wide("ACTOR", |ban, _| plain(or_dash(&entry(ban).actor))),
        wide("NODE", |ban, _| plain(or_dash(&entry(ban).node_id))),
    ],
    json,
    name: |ban| entry(ban).prefix.clone(),
};

/// The entry, or an empty one when a server sent none.
pub(crate) fn entry(ban: &Ban) -> &BanEntry {
    static NONE: BanEntry = BanEntry {
        prefix: String::new(),
        stamp: None,
        is_removed: false,
        until_ms: 0,
        since_ms: 0,
        reason: String::new(),
        origin: 0,
        actor: String::new(),
        node_id: String::new(),
    };
    ban.entry.as_ref().unwrap_or(&NONE)
}

fn enforced(ban: &Ban) -> (String, Tone) {
    let tone = if ban.nodes_enforcing < ban.nodes_connected { Tone::Warning } else { Tone::Plain };
    (format!("{}/{}", ban.nodes_enforcing, ban.nodes_connected), tone)
}

fn json(ban: &Ban) -> Value {
    let entry = entry(ban);
    let nodes: Vec<_> = ban
        .nodes
        .iter()
        .map(|node| json!({ "node_id": node.node_id, "is_enforced": node.is_enforced, "packets": node.packets }))
        .collect();
    json!({
        "prefix": entry.prefix,
        "since_ms": entry.since_ms,
        "until_ms": entry.until_ms,
        "is_removed": entry.is_removed,
        "reason": entry.reason,
        "origin": word::origin(entry.origin),
        "actor": entry.actor,
        "node_id": entry.node_id,
        "hits": ban.hits,
        "nodes_connected": ban.nodes_connected,
        "nodes_enforcing": ban.nodes_enforcing,
        "nodes": nodes,
    })
}

/// An address, or a prefix whose host bits are clear: what would be banned must be what was meant.
pub(crate) fn parse_prefix(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let net: IpNet =
        text.parse().map_err(|_| "write an address or CIDR: 203.0.113.7, 2001:db8::/64".to_owned())?;
    if net.addr() == net.network() {
        return Ok(net);
    }
    Err(format!("it has bits outside its prefix: {} or {}?", net.trunc(), net.addr()))
}

pub(crate) async fn run(app: &App, verb: Verb) -> Result<Exit, Failure> {
    let client = app.connect().await?;
    match verb {
        Verb::Add(args) => add(app, &client, args).await,
        Verb::Remove(args) => remove(app, &client, args).await,
        Verb::List(args) => {
            let bans = list(&client, &args).await?;
            BANS.list(&app.output, &bans, "bans")?;
            Ok(Exit::Done)
        }
        Verb::Import(args) => import::run(app, &client, args).await,
    }
}

async fn add(app: &App, client: &Client, args: AddArgs) -> Result<Exit, Failure> {
    let wait = wait(app, args.wait);
    let request = AddBanRequest {
        mutation: Some(app.mutation()),
        ban: Some(NewBan {
            prefix: args.prefix.to_string(),
            duration_ms: ms(args.duration),
            reason: app.reason.clone(),
            is_permanent: args.permanent,
        }),
        wait_ms: ms(wait),
    };
    let answer = client.change("ban add", wait.unwrap_or_default(), client.bans().add_ban(request)).await?;
    app.note_dry_run();
    if !answer.exempt.is_empty() {
        app.output.note(&format!("stays allowed inside it: {}", answer.exempt.join(", ")));
    }
    let ban = answer.ban.unwrap_or_default();
    show(&app.output, &ban)?;
    if wait.is_some() && !app.is_dry_run && ban.nodes_enforcing < ban.nodes_connected {
        return Err(not_everywhere(&ban));
    }
    Ok(Exit::Done)
}

fn not_everywhere(ban: &Ban) -> Failure {
    let what =
        format!("{} of {} connected nodes enforce it by now", ban.nodes_enforcing, ban.nodes_connected);
    let lacking = ban.nodes.iter().filter(|node| !node.is_enforced);
    Failure::new(
        Exit::Partial,
        what,
        "the others get it when they answer: `secbeat ban list`, `secbeat node list`",
    )
    .with_details(lacking.map(|node| format!("{}: not yet", node.node_id)).collect())
}

async fn remove(app: &App, client: &Client, args: RemoveArgs) -> Result<Exit, Failure> {
    let wait = wait(app, args.wait);
    let request = RemoveBanRequest {
        mutation: Some(app.mutation()),
        prefix: args.prefix.to_string(),
        wait_ms: ms(wait),
    };
    let answer =
        client.change("ban remove", wait.unwrap_or_default(), client.bans().remove_ban(request)).await?;
    app.note_dry_run();
    let ban = answer.ban.unwrap_or_default();
    show(&app.output, &ban)?;
    if wait.is_some() && !app.is_dry_run && ban.nodes_enforcing > 0 {
        let what =
            format!("{} of {} connected nodes still enforce it", ban.nodes_enforcing, ban.nodes_connected);
        return Err(Failure::new(Exit::Partial, what, "they lift it when they answer: `secbeat node list`"));
    }
    Ok(Exit::Done)
}

fn wait(app: &App, is_wanted: bool) -> Option<Duration> {
    is_wanted.then(|| app.timeout.unwrap_or(WAIT_DEFAULT))
}

fn show(output: &Output, ban: &Ban) -> Result<(), Failure> {
    if output.is_for_people() {
        return output.raw(&BANS.table(output, std::slice::from_ref(ban)));
    }
    output.value(&json(ban), &entry(ban).prefix)
}

async fn list(client: &Client, args: &ListArgs) -> Result<Vec<Ban>, Failure> {
    let mut bans = Vec::new();
    let mut page_token = String::new();
    while let Some(page_size) = next_page(args.limit.limit, bans.len()) {
        let request = ListBansRequest {
            page_size,
            page_token: page_token.clone(),
            touching: args.touching.map(|prefix| prefix.to_string()).unwrap_or_default(),
            origins: args.origin.iter().map(|&origin| BanOrigin::from(origin) as i32).collect(),
            with_nodes: args.nodes,
        };
        let answer = client.ask("ban list", client.bans().list_bans(request)).await?;
        let is_last = answer.bans.is_empty() || answer.next_page_token == page_token;
        bans.extend(answer.bans);
        page_token = answer.next_page_token;
        if is_last || page_token.is_empty() {
            break;
        }
    }
    Ok(bans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_what_was_meant() {
        assert_eq!(parse_prefix("203.0.113.7").unwrap().to_string(), "203.0.113.7/32");
        assert_eq!(parse_prefix("2001:db8::/64").unwrap().to_string(), "2001:db8::/64");
        assert!(parse_prefix("203.0.113.7/24").unwrap_err().contains("203.0.113.0/24 or 203.0.113.7"));
        assert!(parse_prefix("host").unwrap_err().contains("CIDR"));
    }
}
