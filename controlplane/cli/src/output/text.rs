//! Text that came over the wire, made safe for a terminal; times and numbers for people.
//!
//! Owns: sanitising (user agents, reasons and host names are written by strangers), relative times, short numbers.
//! Does not own: where text goes. Cost: linear; nothing is copied when there is nothing to change.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whether a terminal may take it as an order, or it changes how its neighbours read: controls (C0, DEL, C1),
/// line and paragraph separators, marks of direction and invisible joiners.
pub(crate) const fn is_hostile(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
    )
}

/// One line: hostile characters become visible escapes.
pub(crate) fn sanitise(text: &str) -> Cow<'_, str> {
    escape(text, false)
}

/// A whole JSON or TOML text: line feeds and tabs stay. There, hostile characters stand in strings only, where this
/// escape means the same character.
pub(crate) fn sanitise_document(text: &str) -> Cow<'_, str> {
    escape(text, true)
}

fn escape(text: &str, keeps_lines: bool) -> Cow<'_, str> {
    let is_kept = |c: char| !is_hostile(c) || keeps_lines && matches!(c, '\n' | '\t');
    if text.chars().all(is_kept) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if is_kept(c) => safe.push(c),
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            // All of them lie in the first plane.
            c => safe.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    Cow::Owned(safe)
}

/// At most this many characters, the cut shown.
pub(crate) fn shorten(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect()
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The two largest units: `3h 5m`, `12s`, `0s`.
pub(crate) fn short_duration(duration: Duration) -> String {
    if duration < Duration::from_secs(1) && !duration.is_zero() {
        return format!("{}ms", duration.as_millis());
    }
    let seconds = Duration::from_secs(duration.as_secs());
    let text = humantime::format_duration(seconds).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// `3m 12s ago`, `in 58m`, `never` for 0.
pub(crate) fn relative(at_ms: u64, now_ms: u64) -> String {
    match at_ms {
        0 => "never".to_owned(),
        _ if at_ms > now_ms => format!("in {}", short_duration(Duration::from_millis(at_ms - now_ms))),
        _ if now_ms - at_ms < 1_000 => "now".to_owned(),
        _ => format!("{} ago", short_duration(Duration::from_millis(now_ms - at_ms))),
    }
}

/// RFC 3339, `-` for 0 and for what no calendar holds.
pub(crate) fn rfc3339(at_ms: u64) -> String {
    // The year 9999 is where RFC 3339 ends.
    const LAST_MS: u64 = 253_402_300_799_000;
    if at_ms == 0 || at_ms > LAST_MS {
        return "-".to_owned();
    }
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(at_ms)).to_string()
}

/// `1.2k`, `3.4M`: three digits are enough to look at.
pub(crate) fn short_number(value: f64) -> String {
    const STEPS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    if !value.is_finite() {
        return "-".to_owned();
    }
    match STEPS.iter().find(|(size, _)| value.abs() >= *size) {
        Some((size, letter)) if value.abs() >= size * 100.0 => format!("{:.0}{letter}", value / size),
        Some((size, letter)) => format!("{:.1}{letter}", value / size),
        None if value.abs() >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        None => format!("{value:.1}"),
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `-` instead of nothing, so that columns stay columns.
pub(crate) fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_terminals_become_visible() {
        assert_eq!(sanitise("\x1b[2J\u{9b}1m\u{202e}x\ny\x7f"), "\\u001b[2J\\u009b1m\\u202ex\\ny\\u007f");
        assert!(matches!(sanitise("Mozilla/5.0 (ü)"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_sanitised_json_document_means_the_same() {
        let value = serde_json::json!({ "agent": "a\u{9b}b\u{202e}\x1b", "n": [1, 2] });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let safe = sanitise_document(&text);
        assert!(!safe.chars().any(|c| is_hostile(c) && c != '\n'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }

    #[test]
    fn times_are_told_from_now() {
        let now = 1_700_000_000_000;
        assert_eq!(relative(0, now), "never");
        assert_eq!(relative(now - 192_500, now), "3m 12s ago");
        assert_eq!(relative(now + 3_480_000, now), "in 58m");
        assert_eq!(relative(now, now), "now");
        assert_eq!(rfc3339(now), "2023-11-14T22:13:20.000Z");
        assert_eq!(rfc3339(u64::MAX), "-");
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 7.25, 999.0, 1_234.0, 250_000.0, 3.4e6, 1e13, f64::NAN].map(short_number);
        assert_eq!(shown, ["0", "7.2", "999", "1.2k", "250k", "3.4M", "10.0T", "-"]);
    }

    #[test]
    fn a_cut_is_shown() {
        assert_eq!(shorten("abcdef", 4), "abc…");
        assert_eq!(shorten("abc", 4), "abc");
    }
}
