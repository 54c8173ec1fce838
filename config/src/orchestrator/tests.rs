use std::collections::BTreeMap;

use super::OrchestratorConfig;

fn read(text: &str) -> Result<OrchestratorConfig, String> {
    OrchestratorConfig::parse("o.toml", text, &BTreeMap::new()).map_err(|errors| errors.to_string())
}

#[test]
fn nobody_is_let_in_without_a_word_of_the_operator() {
    let config = read("").unwrap();
    assert!(!config.access.loopback_open);
    assert_eq!(config.access.certificate_lifetime.as_secs(), 30 * 86_400);
    assert!(config.tls.cert_path.is_none() && config.tls.key_path.is_none());
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    let message = read("[tls]\ncert_path = \"a.crt\"\n").unwrap_err();
    assert!(message.contains("cert_path") && message.contains("need each other"), "{message}");
}

#[test]
fn lifetimes_and_limits_have_ranges() {
    for (text, key) in [
        ("[access]\ntoken_lifetime_max = \"5s\"\n", "token_lifetime_max"),
        ("[access]\ncertificate_lifetime = \"20000d\"\n", "certificate_lifetime"),
        ("[access]\ncertificate_lifetime = \"1d\"\n", "certificate_lifetime"),
        ("[api]\nrate_limit_rps = 0\n", "rate_limit_rps"),
        ("[api]\nbody_bytes_max = 1\n", "body_bytes_max"),
        ("[api]\nconnections_max = 1\n", "connections_max"),
    ] {
        let message = read(text).unwrap_err();
        assert!(message.contains(key) && message.contains("out of range"), "{message}");
    }
}
