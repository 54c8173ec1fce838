//! What an operator is told: the text of each message.
//!
//! Golden files: `tests/golden/<name>.toml` is read, `<name>.txt` holds the messages. `UPDATE_GOLDEN=1` writes them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use secbeat_config::layers::{Override, VARIABLES};
use secbeat_config::node::Mode;
use secbeat_config::{Layers, NodeConfig, parse, reference};

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn messages_are_as_recorded() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    names.sort();
    assert!(names.len() >= 6, "golden files are missing");
    for path in names {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let layers = Layers { file: Some((name, fs::read_to_string(&path).unwrap())), ..Layers::default() };
        let got = format!("{}\n", NodeConfig::load(&layers).expect_err("a golden file holds mistakes"));
        let golden = path.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &got).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(got, expected, "{}", golden.display());
    }
}

#[test]
fn several_mistakes_are_reported_at_once_in_the_order_of_the_file() {
    let text = "[server]\nworker_threads = 999\nmod = \"syn\"\n[limits]\nsource_rate = -1\n[sever]\n";
    let expected = "configuration:2: [server] worker_threads: 999 is out of range: must be 0 to 256 threads\n\
                    configuration:3: [server] mod: unknown key; did you mean `mode`?\n\
                    configuration:5: [limits] source_rate: -1 is out of range: must be 0 to 1000000000 connections/s\n\
                    configuration:6: [sever]: unknown key; did you mean `[server]`?";
    assert_eq!(error(text), expected);
}

#[test]
fn secrets_never_appear_in_messages_or_debug_output() {
    let secret = "tiny-s3cret";
    let text = format!("[syn_proxy]\nsyn_cookie_secret = \"{secret}\"\n[api]\ntoken = 5\n");
    let message = error(&text);
    assert!(!message.contains(secret) && !message.contains("s3cret"), "{message}");
    assert!(message.contains("11 characters long; must be at least 16"));
    let good = "9f1c0a77e2d84b6f5310c2aa";
    let config = parse(&format!("[syn_proxy]\nsyn_cookie_secret = \"{good}\"\n")).unwrap();
    assert!(!format!("{config:?}").contains(good));
    assert_eq!(config.syn_proxy.syn_cookie_secret.unwrap().expose(), good.as_bytes());
}

#[test]
fn secret_that_the_parser_stumbles_over_is_not_quoted() {
    let message = error("[syn_proxy]\nsyn_cookie_secret = \"9f1c0a77e2d84b6f5310c2aa\n");
    assert!(!message.contains("9f1c0a77"), "{message}");
}

#[test]
fn every_variable_names_a_key_that_exists() {
    for (name, key) in VARIABLES {
        let found = reference().iter().any(|doc| {
            let table = doc.table.trim_matches(['[', ']']);
            format!("{table}.{}", doc.key) == *key
        });
        assert!(found, "{name} -> {key}");
    }
}

#[test]
fn highest_layer_wins_for_every_variable() {
    let value = |variable: &str, layer: &str| match (variable, layer) {
        ("MITIGATION_MODE", "environment") => "syn",
        ("MITIGATION_MODE", _) => "tcp",
        ("SYN_COOKIE_SECRET", "environment") => "eeee0123f5a7c9b1d3",
        ("SYN_COOKIE_SECRET", _) => "cccc0124f5a7c9b1d3",
        ("TLS_CERT_PATH" | "TLS_KEY_PATH", layer) => {
            if layer == "environment" {
                "/e"
            } else {
                "/c"
            }
        }
        (_, "environment") => "100",
        _ => "101",
    };
    for (name, key) in VARIABLES {
        let shown = |config: &NodeConfig| -> String {
            let secret = config.syn_proxy.syn_cookie_secret.as_ref();
            match *name {
                "MITIGATION_MODE" => {
                    if config.server.mode == Mode::Syn {
                        "syn".into()
                    } else {
                        "tcp".into()
                    }
                }
                "SYN_COOKIE_SECRET" => String::from_utf8(secret.unwrap().expose().to_vec()).unwrap(),
                "TLS_CERT_PATH" => config.tls.certificates[0].cert_path.display().to_string(),
                "TLS_KEY_PATH" => config.tls.certificates[0].key_path.display().to_string(),
                "WORKER_THREADS" => config.server.worker_threads.to_string(),
                "MAX_CONNECTIONS" => config.server.connections_max.to_string(),
                other => {
                    assert_eq!(other, "BUFFER_SIZE");
                    config.server.buffer_bytes.to_string()
                }
            }
        };
        let (from_environment, from_command_line) = (value(name, "environment"), value(name, "command line"));
        let scale = |text: &str| if *name == "BUFFER_SIZE" { format!("{text}00") } else { text.to_owned() };
        let mut layers = Layers::default();
        // A certificate is nothing without its key.
        if name.starts_with("TLS_") {
            for both in ["TLS_CERT_PATH", "TLS_KEY_PATH"] {
                layers.environment.insert(both.into(), "/other".into());
            }
        }
        layers.environment.insert((*name).into(), scale(from_environment));
        assert_eq!(shown(&NodeConfig::load(&layers).unwrap()), scale(from_environment), "{name}");
        let over = Override { option: "--x".into(), key: (*key).into(), value: scale(from_command_line) };
        layers.command_line.push(over);
        assert_eq!(shown(&NodeConfig::load(&layers).unwrap()), scale(from_command_line), "{name}");
    }
}

#[test]
fn durations_are_numbers_of_the_keys_unit_or_words() {
    let interval = |value: &str| {
        parse(&format!("[orchestrator]\nheartbeat_interval = {value}\n"))
            .unwrap()
            .orchestrator
            .heartbeat
            .interval
            .as_secs()
    };
    assert_eq!((interval("10"), interval("\"10\""), interval("\"1m 30s\"")), (10, 10, 90));
    let text = "[syn_proxy]\nbackend_syn_timeout = 500\n[io]\nidle_spin = 20\n";
    let config = parse(text).unwrap();
    assert_eq!(config.syn_proxy.backend_syn_timeout.as_millis(), 500);
    assert_eq!(config.io.idle_spin.unwrap().as_micros(), 20);
}

#[test]
fn listeners_serve_the_backends_of_their_family() {
    let text = r#"
        [[listeners]]
        name = "v4"
        bind_address = "0.0.0.0:443"
        [[listeners]]
        bind_address = "[::]:443"
        syn_cookies = "always"
        backends = ["six"]
        [[backends]]
        name = "four"
        address = "192.0.2.1:80"
        [[backends]]
        group = "six"
        address = "[2001:db8::1]:80"
        [[backends]]
        name = "named"
        address = "web.internal:80"
    "#;
    let config = parse(text).unwrap();
    assert_eq!(config.listeners[0].backends, [0, 2]);
    assert_eq!(config.listeners[1].backends, [1]);
    assert_eq!(config.listeners[1].name, "tcp-::-443");
    assert_eq!(config.backends[1].name, "[2001:db8::1]:80");
}

proptest! {
    /// Whatever the text, the answer is a configuration or a list of mistakes, never a panic.
    #[test]
    fn any_text_is_answered(text in "(\\[[a-z_.]{1,12}\\]\n|\\[\\[(backends|listeners|filter.rules)\\]\\]\n|[a-z_]{1,16} = (\"[ -~]{0,24}\"|-?[0-9]{1,20}|true|\\[[^\\]\n]{0,20}\\])\n){0,24}") {
        secbeat_config::fuzz(text.as_bytes());
    }
}

#[test]
fn corpus_of_the_fuzzer_is_replayed() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/config_node");
    let mut count = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        secbeat_config::fuzz(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 8, "the corpus is missing");
}
