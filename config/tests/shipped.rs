//! Every shipped file is read as a user would read it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use secbeat_config::autoscaling::Autoscaling;
use secbeat_config::node::{Driver, Mode, SynCookies};
use secbeat_config::orchestrator::OrchestratorConfig;
use secbeat_config::{ConfigErrors, Layers, NodeConfig};

fn text(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn node_with(name: &str, environment: &[(&str, &str)]) -> Result<NodeConfig, ConfigErrors> {
    NodeConfig::load(&Layers {
        file: Some((format!("config/{name}"), text(name))),
        environment: environment.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        ..Layers::default()
    })
}

const PRODUCTION: &[(&str, &str)] = &[
    ("SYN_COOKIE_SECRET", "6c0f2f4b8f0a4d7aa3a2a1b95e7d1c44"),
    ("SECBEAT_API_TOKEN", "b7d0c6a9e1f24358"),
    ("SECBEAT_BACKEND", "192.0.2.10:8080"),
];

#[test]
fn every_node_file_is_valid_and_carries_the_promised_limits() {
    for (name, mode) in [
        ("tcp.toml", Mode::Tcp),
        ("syn.toml", Mode::Syn),
        ("l7.toml", Mode::L7),
        ("development.toml", Mode::Tcp),
        ("production.toml", Mode::Syn),
        ("safe.toml", Mode::Tcp),
    ] {
        let config = node_with(name, PRODUCTION).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config.server.mode, mode, "{name}");
        let limits =
            (config.limits.source_rate, config.limits.source_connections, config.server.connections_max);
        assert_eq!(limits, (Some(100), Some(10), 1_000), "{name}");
        assert!(config.metrics.bind_address.port() == 9191, "{name}");
    }
}

#[test]
fn defaults_are_the_promised_limits_as_well() {
    let config = NodeConfig::default();
    assert_eq!((config.limits.source_rate, config.limits.source_connections), (Some(100), Some(10)));
    assert_eq!((config.server.connections_max, config.server.mode), (1_000, Mode::Tcp));
    assert_eq!(config.metrics.bind_address.to_string(), "127.0.0.1:9191");
    assert_eq!(config.orchestrator.heartbeat.interval.as_secs(), 30);
    assert_eq!((config.io.driver, config.syn_proxy.syn_cookies), (Driver::Auto, SynCookies::Auto));
    assert_eq!(config.syn_proxy.syn_backlog_max, 65_536);
    assert!(config.syn_proxy.syn_cookie_secret.is_none() && config.api.token.is_none());
}

#[test]
fn l7_file_needs_no_certificate_and_no_privilege() {
    let config = node_with("l7.toml", &[]).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(config.tls.certificates.is_empty(), "a self-signed one is made");
    assert!(config.listeners.iter().all(|listener| listener.bind_address.port() >= 1_024));
    let https = &config.listeners[0];
    assert!(https.tls && https.redirect_https.is_none());
    let http = &config.listeners[1];
    assert!(!http.tls && http.redirect_https == Some(https.bind_address.port()));
    assert!(config.server.state_dir.is_relative() && config.io.driver != Driver::Xdp);
}

#[test]
fn production_names_each_missing_variable_with_its_key() {
    let errors = node_with("production.toml", &[]).unwrap_err().to_string();
    for line in [
        "[[backends]] address: environment variable `SECBEAT_BACKEND` is not set",
        "[syn_proxy] syn_cookie_secret: environment variable `SYN_COOKIE_SECRET` is not set",
        "[api] token: environment variable `SECBEAT_API_TOKEN` is not set",
    ] {
        assert!(errors.contains(line), "{line} is missing in\n{errors}");
    }
}

#[test]
fn orchestrator_and_autoscaling_are_valid() {
    let config = OrchestratorConfig::parse("orchestrator.toml", &text("orchestrator.toml"), &BTreeMap::new())
        .unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.fleet.heartbeat_interval.as_secs(), config.fleet.missed_max), (30, 3));
    assert_eq!(config.server.bind_address.port(), 9090);
    let scaling =
        Autoscaling::parse("autoscaling.toml", &text("autoscaling.toml")).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((scaling.bounds.nodes_min, scaling.bounds.nodes_max), (2, 10));
    assert!(scaling.prediction.horizon >= scaling.timing.boot_time);
}

#[test]
fn contradictions_of_the_fleet_files_are_found() {
    let scaling = |text| Autoscaling::parse("a.toml", text).unwrap_err().to_string();
    assert_eq!(scaling("[bounds]\nmin_nodes = 11\n"), "a.toml:2: [bounds] min_nodes: is above max_nodes");
    assert!(scaling("[thresholds]\nscale_down_percent = 80\n").contains("the fleet would swing"));
    assert!(scaling("[prediction]\nmin_confidence = 1.5\n").contains("1.5 is out of range: must be 0 to 1"));
    assert!(scaling("[prediction]\nhorizon = 60\n").contains("a new node would come too late"));
    let text = "[actions]\nwebhook_url = \"https://a.example\"\n[fleet]\nmax_node = 4\n";
    let errors = OrchestratorConfig::parse("o.toml", text, &BTreeMap::new()).unwrap_err().to_string();
    assert!(
        errors.contains("needs webhook_secret") && errors.contains("did you mean `max_nodes`?"),
        "{errors}"
    );
}
