//! The end of an exchange: what is counted, and its line in the access log.
//!
//! Owns: the line's fields. Does not own: its way to the file (`access_log`). Cost: some 400 bytes written per line.
//!
//! ```json
//! {"time":"2026-01-02T03:04:05.678Z","request_id":"..","client":"192.0.2.1","listener":"https","route":"api",
//!  "method":"GET","host":"example.org","target":"/a?b","version":"2","status":200,"bytes_in":0,"bytes_out":1024,
//!  "seconds":0.001234,"backend":"web-1","connections":1,"user_agent":"..","referer":"..","tls":"TLSv1.3","ja4":"..","reason":".."}
//! ```

use std::io::Write;

use secbeat_http::head::Known;
use secbeat_net::time::Instant;

use super::exchange::{Exchange, Reply};
use super::inspect::{End, NAME};
use super::pages::escape_json;
use super::report::Report;
use super::slab::Key;
use super::state::{Core, Turn};
use crate::telemetry::counters::Counter;
use crate::telemetry::requests::STATUS_NONE;

/// Longest text of a client's in a line, bytes: a target of 64 KiB is no use to anybody.
const TEXT_BYTES_MAX: usize = 2_048;

/// Ends an exchange: gives up what it still has with a backend, counts it, writes it down, and releases it.
pub(super) fn close(t: &mut Turn<'_>, key: Key) {
    let core = &mut *t.core;
    let Some(exchange) = core.exchanges.get_mut(key) else { return };
    exchange.detach(&mut core.client);
    core.held_bytes = core.held_bytes.saturating_sub(exchange.held_bytes);
    let delayed = exchange.delayed.take();
    core.tarpitted -= u32::from(delayed.is_some()).min(core.tarpitted);
    if exchange.status == 0 || exchange.reply == Reply::Expect {
        exchange.status = STATUS_NONE;
        core.page.count(Counter::RequestsAbandoned);
    }
    let method = exchange.is_readable.then(|| exchange.request.method());
    let time = t.now.saturating_since(exchange.started);
    core.page.requests.count(method, exchange.status, time);
    write(core, key, t.now);
    end_inspection(core, key, t.now);
    if let Some(exchange) = core.exchanges.release(key) {
        exchange.reset(&mut core.store.buffers);
    }
}

/// The last phase of the rules, and what they would have refused.
fn end_inspection(core: &mut Core, key: Key, now: Instant) {
    let Some(exchange) = core.exchanges.get_mut(key) else { return };
    let Some(running) = exchange.transaction.running.take() else { return };
    let end = End {
        now,
        time: core.date.rfc3339(now),
        id: exchange.id.as_bytes(),
        client: exchange.source,
        peer: exchange.peer,
        server: exchange.server,
        status: exchange.status,
    };
    let Some((attack, rule)) = core.inspector.rules.finish(running, &end, &core.page) else { return };
    let (exchange, status) = (&*exchange, exchange.status);
    core.reporter.report(|worker| Report {
        rule: rule.to_string().into(),
        is_blocked: false,
        ..exchange.report(worker, attack, NAME, status, now)
    });
}

fn write(core: &mut Core, key: Key, now: Instant) {
    let policy = &core.policy.access_log;
    let Some(exchange) = core.exchanges.get(key) else { return };
    if !policy.enable {
        return;
    }
    if exchange.status < 400 && policy.sample_ppm < 1_000_000 {
        core.sampled = core.sampled.wrapping_add(policy.sample_ppm);
        if core.sampled < 1_000_000 {
            return;
        }
        core.sampled -= 1_000_000;
    }
    let listener = core.policy.listener(exchange.listener).map_or("", |listener| &listener.name);
    let route = exchange.route.and_then(|route| core.policy.routes.get(usize::from(route)));
    let snapshot = exchange.backend.map(|_| core.shared.upstream.snapshot());
    let backend = exchange
        .backend
        .zip(snapshot.as_ref())
        .and_then(|(id, snapshot)| snapshot.backend(id))
        .map_or("", |backend| &backend.name);
    let time = core.date.rfc3339(now);
    core.lines.push(|out| {
        line(out, exchange, time, now, &[("listener", listener), ("route", route.map_or("", |r| &r.name))]);
        if !backend.is_empty() {
            text(out, "backend", backend.as_bytes());
        }
        if exchange.connections > 0 {
            let _ = write!(out, ",\"connections\":{}", exchange.connections);
        }
        if let Some((ja4, version)) = &exchange.tls {
            text(out, "tls", version.as_bytes());
            text(out, "ja4", ja4.as_str().as_bytes());
        }
        if let Some(reason) = exchange.reason {
            text(out, "reason", reason.as_bytes());
        }
        let rule = exchange.transaction.running.as_ref().and_then(|running| running.rule());
        if let Some(rule) = rule {
            text(out, "rule", rule.as_bytes());
        }
        out.push(b'}');
    });
}

fn line(out: &mut Vec<u8>, exchange: &Exchange, time: &[u8], now: Instant, names: &[(&str, &str)]) {
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(time);
    // Writing to memory does not fail.
    let _ = write!(out, ".{:03}Z\"", now.as_millis() % 1_000);
    text(out, "request_id", exchange.id.as_bytes());
    let _ = write!(out, ",\"client\":\"{}\"", exchange.source);
    for (name, value) in names.iter().filter(|(_, value)| !value.is_empty()) {
        text(out, name, value.as_bytes());
    }
    let head = &exchange.request;
    if exchange.is_readable {
        text(out, "method", head.method_bytes());
        text(out, "host", head.authority());
        text(out, "target", head.target());
        text(out, "version", head.version().number().as_bytes());
    }
    let seconds = now.saturating_since(exchange.started).as_secs_f64();
    let _ = write!(
        out,
        ",\"status\":{},\"bytes_in\":{},\"bytes_out\":{},\"seconds\":{seconds:.6}",
        exchange.status, exchange.body_received, exchange.body_sent
    );
    for (name, known) in [("user_agent", Known::UserAgent), ("referer", Known::Referer)] {
        if let Some(value) = head.fields().known(known) {
            text(out, name, value);
        }
    }
}

fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let _ = write!(out, ",\"{name}\":\"");
    escape_json(out, value.get(..TEXT_BYTES_MAX).unwrap_or(value));
    out.push(b'"');
}
