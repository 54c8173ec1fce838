//! JSON bodies of requests: checked values or an error that names key, value and range.

use core::net::IpAddr;
use core::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::answer::Failure;
use crate::lists::{BanRequest, Origin};

/// Longest ban by hand. A year; whoever wants it for ever writes it into the configuration.
const DURATION_SECONDS_MAX: u64 = 365 * 86_400;
const DURATION_ALLOWED: &str = "1 to 31536000 seconds, or a string such as \"1h 30m\"";

/// A ban as `POST /api/v1/block-ip` (`key` = "ip") and `emergency-block` ("cidr") spell it.
pub(super) fn ban(bytes: &[u8], key: &'static str, default_reason: &str) -> Result<BanRequest, Failure> {
    let object = object(bytes, &[key, "duration", "reason"])?;
    let Some(prefix) = object.get(key) else {
        return Err(Failure::new(400, "missing_key", format!("the body needs `{key}`")));
    };
    let Some(prefix) = prefix.as_str().and_then(prefix_of) else {
        return Err(Failure::value(key, prefix.clone(), PREFIX_ALLOWED));
    };
    let duration = object.get("duration").filter(|value| !value.is_null()).map(duration).transpose()?;
    let reason = match object.get("reason") {
        None | Some(Value::Null) => default_reason.into(),
        Some(Value::String(reason)) if !reason.chars().any(char::is_control) => reason.clone(),
        Some(other) => {
            return Err(Failure::value("reason", other.clone(), "a string without control characters"));
        }
    };
    Ok(BanRequest { prefix, origin: Origin::Api, reason, duration })
}

/// What an address or prefix looks like.
pub(super) const PREFIX_ALLOWED: &str = "an address or a prefix, e.g. 192.0.2.1 or 2001:db8::/32";

/// An address or a prefix.
pub(super) fn prefix_of(text: &str) -> Option<IpNet> {
    if let Ok(addr) = text.parse::<IpAddr>() {
        // ::ffff:192.0.2.1 would never match a packet: on the wire it is IPv4.
        return Some(addr.to_canonical().into());
    }
    text.parse::<IpNet>().ok().map(|net| net.trunc())
}

fn duration(value: &Value) -> Result<Duration, Failure> {
    let parsed = match value {
        Value::Number(number) => number.as_u64().map(Duration::from_secs),
        Value::String(text) => match text.parse::<u64>() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => humantime::parse_duration(text).ok(),
        },
        _ => None,
    };
    parsed
        .filter(|duration| (1..=DURATION_SECONDS_MAX).contains(&duration.as_secs()))
        .ok_or_else(|| Failure::value("duration", value.clone(), DURATION_ALLOWED))
}

/// A JSON object with no other keys than `known`.
fn object(bytes: &[u8], known: &[&str]) -> Result<Map<String, Value>, Failure> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| Failure::new(400, "bad_json", format!("the body is not JSON: {error}")))?;
    let Value::Object(object) = value else {
        return Err(Failure::new(400, "bad_json", "the body must be a JSON object"));
    };
    if let Some((key, value)) = object.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        let allowed = format!("one of the keys {}", known.join(", "));
        return Err(Failure::value(&key.chars().take(64).collect::<String>(), value.clone(), &allowed));
    }
    Ok(object)
}

/// What the fuzzer and the replay of its corpus call.
pub(super) fn fuzz(bytes: &[u8]) {
    if let Ok(request) = ban(bytes, "ip", "") {
        assert_eq!(request.prefix, request.prefix.trunc());
        assert!(request.duration.is_none_or(|d| (1..=DURATION_SECONDS_MAX).contains(&d.as_secs())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(body: &str) -> Value {
        let answer = ban(body.as_bytes(), "ip", "by hand").unwrap_err().answer();
        serde_json::from_slice(&answer.body).unwrap()
    }

    #[test]
    fn durations_are_numbers_of_seconds_or_words() {
        for (text, seconds) in [("3600", 3_600), ("\"90\"", 90), ("\"1h 30m\"", 5_400)] {
            let request =
                ban(format!("{{\"ip\":\"192.0.2.1\",\"duration\":{text}}}").as_bytes(), "ip", "").unwrap();
            assert_eq!(request.duration, Some(Duration::from_secs(seconds)));
        }
        let request = ban(br#"{"ip":"192.0.2.1","duration":null}"#, "ip", "by hand").unwrap();
        assert_eq!((request.duration, request.reason.as_str()), (None, "by hand"));
    }

    #[test]
    fn prefixes_are_cut_to_their_length_and_mapped_addresses_are_ipv4() {
        assert_eq!(prefix_of("192.0.2.77/24").unwrap().to_string(), "192.0.2.0/24");
        assert_eq!(prefix_of("::ffff:192.0.2.1").unwrap().to_string(), "192.0.2.1/32");
        assert_eq!(prefix_of("2001:db8::1").unwrap().to_string(), "2001:db8::1/128");
        assert!(prefix_of("192.0.2").is_none());
    }

    #[test]
    fn errors_name_key_value_and_range() {
        let error = &failure(r#"{"ip":"192.0.2.1","duration":0}"#)["error"];
        assert_eq!((&error["key"], &error["value"]), (&"duration".into(), &0.into()));
        assert_eq!(error["allowed"], DURATION_ALLOWED);
        assert_eq!(failure(r#"{"ip":"x"}"#)["error"]["allowed"], PREFIX_ALLOWED);
        assert_eq!(failure(r#"{"ip":"192.0.2.1","minutes":5}"#)["error"]["key"], "minutes");
        assert_eq!(failure("{}")["error"]["code"], "missing_key");
        assert_eq!(failure("[1]")["error"]["code"], "bad_json");
        assert_eq!(failure("")["error"]["code"], "bad_json");
        let deep = "[".repeat(10_000);
        assert_eq!(failure(&deep)["error"]["code"], "bad_json");
    }
}
