//! `secbeat event` and `secbeat threat`: what happened, and who does it.
//!
//! Owns: filters as arguments, and how events look: names, agents and details are written by strangers. Does not own:
//! how long events are kept.

use clap::{Args, Subcommand};
use secbeat_proto::v1::{
    AcknowledgeEventsRequest, Event, EventFilter, EventStats, GetEventStatsRequest, ListEventsRequest,
    ListThreatsRequest, Severity, Threat, WatchEventsRequest,
};
use serde_json::{Value, json};

use crate::args::{Newest, next_page, parse_time};
use crate::client::{App, Client};
use crate::command::node::short_id;
use crate::exit::{Exit, Failure};
use crate::output::sheet::{Sheet, column, pairs, plain, wide};
use crate::output::text::{or_dash, rfc3339, sanitise, shorten};
use crate::output::{Output, Tone};
use crate::word::{self, SeverityWord};

/// What is done with events.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Events as they come, until interrupted
    Watch {
        #[command(flatten)]
        filter: Filter,
        /// How many old ones come first
        #[arg(long, value_name = "COUNT", default_value_t = 10)]
        last: u32,
    },
    /// Stored events, the newest first
    List {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        newest: Newest,
    },
    /// Mark events as seen: by number, or everything that a filter matches
    Ack {
        /// Numbers, as in `event list`
        #[arg(value_name = "ID")]
        ids: Vec<u64>,
        #[command(flatten)]
        filter: Filter,
        /// Everything, when there is no number and no filter
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Counts by class, kind, node and severity
    Stats {
        #[command(flatten)]
        span: Span,
    },
}

/// What is done with threats.
#[derive(Subcommand)]
pub(crate) enum ThreatVerb {
    /// Sources by number of events
    List {
        /// Since then: 1h, 7d, or RFC 3339
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        since: Option<u64>,
        /// At most this many
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: u32,
    },
}

/// A stretch of time.
#[derive(Args, Clone, Copy)]
pub(crate) struct Span {
    /// Since then: 1h, 7d, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<u64>,
    /// Until then
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<u64>,
}

/// Which events.
#[derive(Args, Clone)]
pub(crate) struct Filter {
    /// Of this node (UUID); may be repeated
    #[arg(long, value_name = "NODE")]
    node: Vec<String>,
    /// attack, ban, request, backend, node, policy; may be repeated
    #[arg(long)]
    class: Vec<String>,
    /// attack_started, ip_banned, ...; may be repeated
    #[arg(long)]
    name: Vec<String>,
    /// syn_flood, sql_injection, ...; may be repeated
    #[arg(long, value_name = "TYPE")]
    attack: Vec<String>,
    /// Of this address or prefix
    #[arg(long, value_name = "PREFIX", value_parser = super::ban::parse_prefix)]
    client: Option<ipnet::IpNet>,
    /// Of this severity or worse
    #[arg(long, value_enum)]
    severity: Option<SeverityWord>,
    /// By this rule
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// Only what was blocked
    #[arg(long)]
    blocked: bool,
    /// Only what nobody has acknowledged
    #[arg(long)]
    unacknowledged: bool,
    #[command(flatten)]
    span: Span,
}

impl Filter {
    fn into_proto(self) -> EventFilter {
        EventFilter {
            node_ids: self.node,
            classes: self.class,
            names: self.name,
            attack_types: self.attack,
            client: self.client.map(|prefix| prefix.to_string()).unwrap_or_default(),
            severity_min: self.severity.map_or(0, |severity| Severity::from(severity) as i32),
            since_ms: self.span.since.unwrap_or(0),
            until_ms: self.span.until.unwrap_or(0),
            only_blocked: self.blocked,
            only_unacknowledged: self.unacknowledged,
            rule_id: self.rule.unwrap_or_default(),
        }
    }
}

pub(crate) const EVENTS: Sheet<Event> = Sheet {
    columns: &[
        column("ID", |event, _| plain(event.id)),
        column("WHEN", |event, show| plain(show.past(event.at_ms))),
        column("SEVERITY", |event, _| {
            let (word, tone) = word::severity(event.severity);
            (word.to_owned(), tone)
        }),
        column("NODE", |event, show| {
            plain(if show.is_wide { &event.node_id } else { short_id(&event.node_id) })
        }),
        column("EVENT", |event, _| plain(format!("{}/{}", event.class, event.name))),
        column("ATTACK", |event, _| plain(or_dash(&event.attack_type))),
        column("CLIENT", |event, _| plain(or_dash(&event.client_ip))),
        column("BLOCKED", |event, _| plain(yes(event.is_blocked))),
        column("RULE", |event, _| plain(or_dash(&event.rule_id))),
        column("SEEN BY", |event, _| plain(or_dash(&event.acknowledged_by))),
        wide("AGENT", |event, _| plain(or_dash(&event.user_agent))),
        wide("DETAILS", |event, _| plain(details(event))),
    ],
    json: json_event,
    name: |event| event.id.to_string(),
};

pub(crate) const THREATS: Sheet<Threat> = Sheet {
    columns: &[
        column("CLIENT", |threat, _| plain(&threat.client_ip)),
        column("EVENTS", |threat, _| plain(threat.events)),
        column("BLOCKED", |threat, _| plain(threat.blocked)),
        column("NODES", |threat, _| plain(threat.nodes)),
        column("BANNED", |threat, _| {
            (yes(threat.is_banned).to_owned(), if threat.is_banned { Tone::Good } else { Tone::Plain })
        }),
        column("LAST", |threat, show| plain(show.past(threat.last_ms))),
        column("KINDS", |threat, _| {
            let kinds: Vec<_> = threat.by_attack_type.keys().map(String::as_str).collect();
            plain(or_dash(&kinds.join(",")))
        }),
        wide("FIRST", |threat, show| plain(show.past(threat.first_ms))),
    ],
    json: json_threat,
    name: |threat| threat.client_ip.clone(),
};

const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn details(event: &Event) -> String {
    let pairs: Vec<_> = event.details.iter().map(|(key, value)| format!("{key}={value}")).collect();
    or_dash(&pairs.join(" ")).to_owned()
}

pub(crate) fn json_event(event: &Event) -> Value {
    json!({
        "id": event.id,
        "at_ms": event.at_ms,
        "node_id": event.node_id,
        "severity": word::severity(event.severity).0,
        "class": event.class,
        "component": event.component,
        "name": event.name,
        "attack_type": event.attack_type,
        "client_ip": event.client_ip,
        "user_agent": event.user_agent,
        "is_blocked": event.is_blocked,
        "rule_id": event.rule_id,
        "details": event.details,
        "acknowledged_by": event.acknowledged_by,
        "acknowledged_at_ms": event.acknowledged_at_ms,
    })
}

fn json_threat(threat: &Threat) -> Value {
    json!({
        "client_ip": threat.client_ip,
        "events": threat.events,
        "blocked": threat.blocked,
        "by_attack_type": threat.by_attack_type,
        "first_ms": threat.first_ms,
        "last_ms": threat.last_ms,
        "nodes": threat.nodes,
        "is_banned": threat.is_banned,
    })
}

/// One event as a line, safe for a terminal; columns of a fixed width, because what follows is not known yet.
pub(crate) fn line(output: &Output, event: &Event) -> String {
    let (severity, tone) = word::severity(event.severity);
    let name = format!("{}/{}", event.class, event.name);
    let mut text = format!(
        "{:24}  {}  {:8}  {:28}",
        rfc3339(event.at_ms),
        output.paint(tone, &format!("{severity:7}")),
        sanitise(short_id(&event.node_id)),
        sanitise(&name),
    );
    let words = [
        ("", event.attack_type.as_str()),
        ("from ", event.client_ip.as_str()),
        ("", if event.is_blocked { "blocked" } else { "" }),
        ("rule ", event.rule_id.as_str()),
        ("agent ", event.user_agent.as_str()),
    ];
    for (label, word) in words.into_iter().filter(|(_, word)| !word.is_empty()) {
        text.push_str(&format!("  {label}{}", sanitise(&shorten(word, 60))));
    }
    for (key, value) in &event.details {
        text.push_str(&format!("  {}={}", sanitise(key), sanitise(&shorten(value, 60))));
    }
    text.push('\n');
    text
}

pub(crate) async fn run(app: &App, verb: Verb) -> Result<Exit, Failure> {
    if let Verb::Ack { ids, filter, all } = &verb {
        let is_everything = filter.clone().into_proto() == EventFilter::default();
        if ids.is_empty() && is_everything && !all {
            return Err(Failure::usage("which events?", "give numbers, a filter, or --all"));
        }
        if !ids.is_empty() && !is_everything {
            return Err(Failure::usage("numbers and a filter do not go together", "give one of them"));
        }
    }
    let client = app.connect().await?;
    match verb {
        Verb::Watch { filter, last } => watch(app, &client, filter.into_proto(), last).await,
        Verb::List { filter, newest } => list(app, &client, &filter.into_proto(), newest.limit).await,
        Verb::Ack { ids, filter, .. } => acknowledge(app, &client, ids, filter.into_proto()).await,
        Verb::Stats { span } => stats(app, &client, span).await,
    }
}

async fn watch(app: &App, client: &Client, filter: EventFilter, last: u32) -> Result<Exit, Failure> {
    let request = WatchEventsRequest { filter: Some(filter), last };
    let mut call = client.events();
    let mut stream = client.ask("event watch", call.watch_events(request)).await?;
    while let Some(part) = stream.message().await.map_err(|status| client.failure(&status, "event watch"))? {
        if part.lost > 0 {
            app.output
                .note(&format!("{} events were lost: this reader is too slow; narrow the filter", part.lost));
        }
        for event in &part.events {
            if app.output.is_for_people() {
                app.output.raw(&line(&app.output, event))?;
            } else {
                app.output.streamed(&json_event(event), &event.id.to_string())?;
            }
        }
    }
    Err(Failure::new(Exit::Unreachable, "the orchestrator ended the watch", "start it again"))
}

async fn list(app: &App, client: &Client, filter: &EventFilter, limit: usize) -> Result<Exit, Failure> {
    let mut events: Vec<Event> = Vec::new();
    let (mut before_id, mut lost) = (0, 0);
    let mut has_more = false;
    while let Some(page_size) = next_page(limit, events.len()) {
        let request = ListEventsRequest { filter: Some(filter.clone()), page_size, before_id };
        let answer = client.ask("event list", client.events().list_events(request)).await?;
        let is_stuck = answer.events.is_empty() || answer.next_before_id == before_id;
        events.extend(answer.events);
        before_id = answer.next_before_id;
        lost = answer.lost;
        has_more = before_id != 0 && !is_stuck;
        if !has_more {
            break;
        }
    }
    EVENTS.list(&app.output, &events, "events")?;
    if has_more && app.output.is_for_people() {
        app.output.note(&format!("there are more than these {}: --limit 0 shows all", events.len()));
    }
    if lost > 0 && app.output.is_for_people() {
        app.output.note(&format!("{lost} events were lost on their way, over all time"));
    }
    Ok(Exit::Done)
}

async fn acknowledge(
    app: &App,
    client: &Client,
    ids: Vec<u64>,
    filter: EventFilter,
) -> Result<Exit, Failure> {
    let filter = ids.is_empty().then_some(filter);
    let request = AcknowledgeEventsRequest { mutation: Some(app.mutation()), ids, filter };
    let mut call = client.events();
    let answer =
        client.change("event ack", std::time::Duration::ZERO, call.acknowledge_events(request)).await?;
    app.note_dry_run();
    let count = answer.acknowledged;
    let said = if app.output.is_for_people() { format!("{count} acknowledged") } else { count.to_string() };
    app.output.value(&json!({ "acknowledged": count }), &said)?;
    Ok(Exit::Done)
}

async fn stats(app: &App, client: &Client, span: Span) -> Result<Exit, Failure> {
    let request =
        GetEventStatsRequest { since_ms: span.since.unwrap_or(0), until_ms: span.until.unwrap_or(0) };
    let stats = client.ask("event stats", client.events().get_event_stats(request)).await?;
    if app.output.is_for_people() {
        let rows = stat_rows(&stats);
        let rows: Vec<_> = rows.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        app.output.raw(&pairs(&app.output, &rows))?;
    } else {
        app.output.value(&json_stats(&stats), &stats.total.to_string())?;
    }
    Ok(Exit::Done)
}

fn stat_rows(stats: &EventStats) -> Vec<(String, String)> {
    let mut rows = vec![
        ("total".to_owned(), stats.total.to_string()),
        ("blocked".to_owned(), stats.blocked.to_string()),
        ("unacknowledged".to_owned(), stats.unacknowledged.to_string()),
        ("oldest".to_owned(), rfc3339(stats.oldest_ms)),
        ("newest".to_owned(), rfc3339(stats.newest_ms)),
    ];
    let groups = [
        ("severity", &stats.by_severity),
        ("class", &stats.by_class),
        ("attack", &stats.by_attack_type),
        ("node", &stats.by_node),
        ("lost", &stats.lost),
    ];
    for (group, counts) in groups {
        rows.extend(counts.iter().map(|(name, count)| (format!("{group} {name}"), count.to_string())));
    }
    rows
}

fn json_stats(stats: &EventStats) -> Value {
    json!({
        "total": stats.total,
        "blocked": stats.blocked,
        "unacknowledged": stats.unacknowledged,
        "by_class": stats.by_class,
        "by_attack_type": stats.by_attack_type,
        "by_node": stats.by_node,
        "by_severity": stats.by_severity,
        "lost": stats.lost,
        "oldest_ms": stats.oldest_ms,
        "newest_ms": stats.newest_ms,
    })
}

pub(crate) async fn threats(app: &App, verb: ThreatVerb) -> Result<Exit, Failure> {
    let ThreatVerb::List { since, limit } = verb;
    let client = app.connect().await?;
    let request = ListThreatsRequest { since_ms: since.unwrap_or(0), page_size: limit };
    let answer = client.ask("threat list", client.events().list_threats(request)).await?;
    THREATS.list(&app.output, &answer.threats, "threats")?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, When};

    #[test]
    fn a_hostile_event_is_one_harmless_line() {
        let event = Event {
            node_id: "\u{202e}\x1b[2J".into(),
            class: "request\n".into(),
            user_agent: "\x1b]52;c;ZXZpbA==\x07".into(),
            rule_id: "r\u{9b}31m".into(),
            details: [("k\r".to_owned(), "v\x08".to_owned())].into(),
            ..Event::default()
        };
        let text = line(&Output::new(Format::Table, When::Never, true), &event);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(!text.trim_end_matches('\n').chars().any(crate::output::text::is_hostile), "{text:?}");
    }
}
