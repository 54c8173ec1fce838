//! From a request to its answer: who may, which route, what it does.

use serde_json::json;

use super::answer::{Answer, Failure};
use super::events::{Class, Query};
use super::request::{Method, Request};
use super::{ApiSettings, Control, EventLog, Phase, body, waf};
use crate::telemetry::Telemetry;

/// Events given by one answer when `limit` is absent, and most that can be asked for.
const EVENTS_DEFAULT: usize = 100;
const EVENTS_MAX: usize = 1_000;
/// Bans given by one answer when `limit` is absent, and most that can be asked for.
const BANS_DEFAULT: usize = 1_000;
const BANS_MAX: usize = 10_000;

/// What routes work with.
pub(super) struct Context<'a> {
    pub(super) settings: &'a ApiSettings,
    pub(super) control: &'a dyn Control,
    pub(super) telemetry: &'a Telemetry,
    pub(super) events: &'a EventLog,
}

/// Answers a request.
pub(super) fn answer(context: &Context<'_>, request: &Request, body: &[u8]) -> Answer {
    route(context, request, body).unwrap_or_else(Failure::answer)
}

fn route(context: &Context<'_>, request: &Request, body: &[u8]) -> Result<Answer, Failure> {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    let is_open = matches!(path.as_slice(), ["health" | "metrics"]);
    authorize(context.settings, request, is_open)?;
    match path.as_slice() {
        ["health"] => get(request, || health(context)),
        ["metrics"] => get(request, || {
            Ok(Answer::text("text/plain; version=0.0.4; charset=utf-8", context.telemetry.prometheus()))
        }),
        ["api", "v1", ..] if !context.settings.api => Err(Failure::new(
            404,
            "api_disabled",
            "the management API is switched off ([api] enable = false)",
        )),
        ["api", "v1", rest @ ..] => api(context, request, rest, body),
        _ => Err(Failure::new(404, "not_found", "no such path; try /health, /metrics or /api/v1/status")),
    }
}

fn api(context: &Context<'_>, request: &Request, path: &[&str], body: &[u8]) -> Result<Answer, Failure> {
    let control = context.control;
    match path {
        ["status"] => get(request, || Ok(Answer::json(200, &control.status()))),
        ["metrics"] => get(request, || Ok(Answer::json(200, &context.telemetry.json()))),
        ["events"] => get(request, || events(context, request)),
        ["blocked-ips"] => get(request, || bans(control, request)),
        ["block-ip"] => post(request, || block(control, body, "ip", "blocked by hand")),
        ["emergency-block"] => post(request, || block(control, body, "cidr", "emergency block")),
        ["block-ip", address @ ..] => match (request.method, address.len()) {
            (Method::Delete, 1..=2) => unblock(control, &address.join("/")),
            _ => Err(Failure::method("Allow: DELETE")),
        },
        ["reload"] => post(request, || reload(control)),
        ["waf", "rules"] => match request.method {
            Method::Get | Method::Head => waf::list(control),
            Method::Post => waf::add(control, body),
            _ => Err(Failure::method("Allow: GET, HEAD, POST")),
        },
        ["waf", "rules", id] => match request.method {
            Method::Delete => waf::remove(control, id),
            _ => Err(Failure::method("Allow: DELETE")),
        },
        _ => Err(Failure::new(404, "not_found", format!("no such path: /api/v1/{}", path.join("/")))),
    }
}

/// Without a token only programs on this machine may ask: neither a web page open in somebody's browser, nor
/// a page whose host name was made to point here.
fn authorize(settings: &ApiSettings, request: &Request, is_open: bool) -> Result<(), Failure> {
    if let Some(token) = &settings.token {
        let presented = request.token.as_deref().unwrap_or_default();
        let may = equal(presented, token.expose()) || (is_open && settings.metrics_without_token);
        return if may { Ok(()) } else { Err(Failure::unauthorized()) };
    }
    if request.from_page {
        return Err(Failure::new(403, "from_a_page", "requests of web pages need [api] token"));
    }
    if request.host.as_ref().is_some_and(|host| !is_plain_host(host)) {
        let message = "without [api] token the Host must be an address or localhost";
        return Err(Failure::new(403, "foreign_host", message));
    }
    Ok(())
}

fn is_plain_host(host: &str) -> bool {
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(n, _)| n);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<core::net::IpAddr>().is_ok()
}

/// Whether two byte strings are equal, in a time that does not depend on where they differ.
fn equal(presented: &[u8], secret: &[u8]) -> bool {
    let mut difference = u8::from(presented.len() != secret.len());
    for (index, byte) in secret.iter().enumerate() {
        difference |= byte ^ presented.get(index).copied().unwrap_or(!byte);
    }
    core::hint::black_box(difference) == 0
}

fn get(request: &Request, answer: impl FnOnce() -> Result<Answer, Failure>) -> Result<Answer, Failure> {
    if matches!(request.method, Method::Get | Method::Head) {
        answer()
    } else {
        Err(Failure::method("Allow: GET, HEAD"))
    }
}

fn post(request: &Request, answer: impl FnOnce() -> Result<Answer, Failure>) -> Result<Answer, Failure> {
    if request.method == Method::Post { answer() } else { Err(Failure::method("Allow: POST")) }
}

fn health(context: &Context<'_>) -> Result<Answer, Failure> {
    let status = context.control.status();
    let stalled: Vec<_> =
        status.workers.iter().filter(|worker| !worker.alive).map(|worker| worker.worker).collect();
    let well = status.phase == Phase::Active && stalled.is_empty();
    let body = json!({
        "status": if well { "ok" } else { "unavailable" },
        "phase": status.phase,
        "mode": status.mode,
        "driver": status.driver,
        "workers_stalled": stalled,
    });
    Ok(Answer::json(if well { 200 } else { 503 }, &body))
}

fn events(context: &Context<'_>, request: &Request) -> Result<Answer, Failure> {
    only(request, &["type", "since", "limit"])?;
    let class = match text(request, "type") {
        None => None,
        Some(name) => {
            let class = Class::from_name(name);
            let names: Vec<_> = Class::ALL.iter().map(|(name, _)| *name).collect();
            let allowed = || format!("one of {}", names.join(", "));
            Some(class.ok_or_else(|| Failure::value("type", name.into(), &allowed()))?)
        }
    };
    let since = number(request, "since", 0, u64::MAX)?;
    let count = number(request, "limit", 1, EVENTS_MAX as u64)?.unwrap_or(EVENTS_DEFAULT as u64);
    Ok(Answer::json(200, &context.events.find(Query { class, since, count_max: count as usize })))
}

fn bans(control: &dyn Control, request: &Request) -> Result<Answer, Failure> {
    only(request, &["after", "limit"])?;
    let after = match text(request, "after") {
        None => None,
        Some(given) => {
            let prefix = body::prefix_of(given);
            Some(prefix.ok_or_else(|| Failure::value("after", given.into(), body::PREFIX_ALLOWED))?)
        }
    };
    let count = number(request, "limit", 1, BANS_MAX as u64)?.unwrap_or(BANS_DEFAULT as u64);
    let (bans, total) = control.bans(after, count as usize);
    Ok(Answer::json(200, &json!({"total": total, "blocked": bans.iter().map(ban_json).collect::<Vec<_>>()})))
}

fn block(control: &dyn Control, body: &[u8], key: &'static str, reason: &str) -> Result<Answer, Failure> {
    let banned = control.block(body::ban(body, key, reason)?)?;
    let exempt: Vec<_> = banned.exempt.iter().map(ToString::to_string).collect();
    Ok(Answer::json(200, &json!({"blocked": ban_json(&banned.ban), "exempt": exempt})))
}

fn unblock(control: &dyn Control, address: &str) -> Result<Answer, Failure> {
    let prefix = body::prefix_of(address);
    let prefix = prefix.ok_or_else(|| Failure::value("ip", address.into(), body::PREFIX_ALLOWED))?;
    let ban = control.unblock(prefix)?;
    Ok(Answer::json(200, &json!({"unblocked": ban_json(&ban)})))
}

fn reload(control: &dyn Control) -> Result<Answer, Failure> {
    match control.reload() {
        Ok(done) => Ok(Answer::json(200, &done)),
        Err(message) => Err(Failure::new(409, "configuration_refused", message)),
    }
}

fn ban_json(ban: &crate::lists::Ban) -> serde_json::Value {
    let time = |time| humantime::format_rfc3339_seconds(time).to_string();
    json!({
        "prefix": ban.prefix.to_string(),
        "reason": ban.reason,
        "origin": ban.origin,
        "since": time(ban.since),
        "until": ban.until.map(time),
        "hits": ban.hits,
    })
}

// Query parameters.

fn only(request: &Request, known: &[&str]) -> Result<(), Failure> {
    match request.query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, value)) => {
            let allowed = format!("one of the parameters {}", known.join(", "));
            Err(Failure::value(name, value.as_str().into(), &allowed))
        }
        None => Ok(()),
    }
}

fn text<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn number(request: &Request, name: &str, min: u64, max: u64) -> Result<Option<u64>, Failure> {
    let Some(given) = text(request, name) else { return Ok(None) };
    match given.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(Some(number)),
        _ => Err(Failure::value(name, given.into(), &format!("a number from {min} to {max}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_accepts_only_the_whole_secret() {
        assert!(equal(b"secret", b"secret"));
        for wrong in [b"secre".as_slice(), b"secretx", b"Secret", b"", b"\x8cecret"] {
            assert!(!equal(wrong, b"secret"));
        }
    }

    #[test]
    fn hosts_that_are_addresses_are_told_from_names() {
        for host in ["127.0.0.1:9191", "localhost", "LOCALHOST:1", "[::1]:9191", "[::1]", "10.0.0.1"] {
            assert!(is_plain_host(host), "{host}");
        }
        for host in ["evil.example", "evil.example:9191", "127.0.0.1.evil.example", "", "localhost.evil"] {
            assert!(!is_plain_host(host), "{host}");
        }
    }
}
