//! What goes out, byte by byte, and that nothing hostile breaks it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use core::time::Duration;
use std::time::UNIX_EPOCH;

use proptest::prelude::*;
use secbeat_export::readback::{export, origin};
use secbeat_export::{Field, Kind, Record, Severity, cef, json, syslog};

/// A refused request.
fn record() -> Record {
    let time = UNIX_EPOCH + Duration::from_millis(1_767_225_600_123);
    let mut record = Record::new(time, Severity::Warning, Kind::Request, "request_refused")
        .with(Field::AttackType, "sql_injection")
        .with(Field::Rule, "942100")
        .with(Field::Method, "GET")
        .with(Field::Target, "/a?q=1|2]\"\\\n")
        .with(Field::Action, "blocked");
    record.source = Some(("192.0.2.7".parse().unwrap(), None));
    record.add_detail("status", "403");
    record
}

#[test]
fn syslog_is_rfc_5424() {
    let expected = concat!(
        r#"<132>1 2026-01-01T00:00:00.123Z node-1 secbeat-node 42 request_refused "#,
        r#"[secbeat@32473 kind="request" severity="warning" src="192.0.2.7" attack_type="sql_injection" "#,
        r#"rule="942100" action="blocked" method="GET" target="/a?q=1|2\]\"\\␊"]"#,
        r#"[secbeat.details@32473 status="403"] request refused 192.0.2.7 sql_injection 942100"#,
    );
    assert_eq!(syslog::write(&record(), &origin(), &export("target = \"tcp://a:514\"")), expected);
}

#[test]
fn message_beyond_ascii_begins_with_a_byte_order_mark() {
    let record = record().with(Field::Message, "größer");
    let line = syslog::write(&record, &origin(), &export("target = \"tcp://a:514\""));
    assert!(line.as_bytes().ends_with("\u{feff}größer".as_bytes()), "{line}");
}

#[test]
fn facility_and_number_are_those_of_the_configuration() {
    let export = export("target = \"tcp://a:514\"\nfacility = \"authpriv\"\nenterprise_number = 9");
    let line = syslog::write(&record(), &origin(), &export);
    assert!(
        line.starts_with("<84>1 ") && line.contains("[secbeat@9 ") && line.contains("[secbeat.details@9 ")
    );
}

#[test]
fn cef_has_standard_keys_and_escapes() {
    let expected = concat!(
        r#"CEF:0|SecBeat|secbeat-node|0.1.0|request_refused|request refused 192.0.2.7 sql_injection 942100|6|"#,
        r#"rt=1767225600123 cat=request src=192.0.2.7 cs4Label=attackType cs4=sql_injection cs1Label=rule cs1=942100 "#,
        r#"act=blocked requestMethod=GET request=/a?q\=1|2]"\\␊ dvchost=node-1 cs5Label=details cs5={"status":"403"}"#,
    );
    assert_eq!(
        cef::write(&record(), &origin(), &export("format = \"cef\"\ntarget = \"file:///a\"")),
        expected
    );
    let line = cef::write(&record(), &origin(), &export("format = \"cef\"\ntarget = \"udp://a:514\""));
    assert!(
        line.starts_with("<132>1 2026-01-01T00:00:00.123Z node-1 secbeat-node 42 request_refused - CEF:0|")
    );
}

#[test]
fn json_is_one_object() {
    let object: serde_json::Value = serde_json::from_str(&json::write(&record(), &origin())).unwrap();
    let expected = serde_json::json!({
        "time": "2026-01-01T00:00:00.123Z", "host": "node-1", "app": "secbeat-node", "version": "0.1.0",
        "severity": "warning", "kind": "request", "event": "request_refused", "src": "192.0.2.7",
        "attack_type": "sql_injection", "rule": "942100", "action": "blocked", "method": "GET",
        "target": "/a?q=1|2]\"\\\u{240a}", "message": "request refused 192.0.2.7 sql_injection 942100",
        "details": {"status": "403"},
    });
    assert_eq!(object, expected);
}

#[test]
fn texts_are_cut_at_whole_characters() {
    let record = record().with(Field::Method, &"ä".repeat(99));
    assert_eq!(record.text(Field::Method).unwrap(), "ä".repeat(16));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever bytes become texts: read back, they are the same, and no line ends early.
    #[test]
    fn hostile_bytes_never_break_a_record(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        secbeat_export::fuzz(&bytes);
    }

    /// The same, with the characters that mean something to one of the formats.
    #[test]
    fn syntax_never_breaks_a_record(parts in proptest::collection::vec("[\\\\\"\\]\\[=| a\u{0}\n\r\u{85}\u{2028}\u{feff}\u{202e}<>{}:,ä]{0,12}", 0..30)) {
        let mut bytes = vec![7; 8];
        for part in parts {
            bytes.extend_from_slice(part.as_bytes());
            bytes.push(0xfe);
        }
        secbeat_export::fuzz(&bytes);
    }
}

#[test]
fn corpus_of_the_fuzzer_is_replayed() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/export_record");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        secbeat_export::fuzz(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 8, "the corpus is missing");
}
