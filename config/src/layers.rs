//! Where values come from, highest first: command line, environment, file, defaults.

use std::collections::BTreeMap;

/// Variables that override one key each.
pub const VARIABLES: &[(&str, &str)] = &[
    ("MITIGATION_MODE", "server.mode"),
    ("SYN_COOKIE_SECRET", "syn_proxy.syn_cookie_secret"),
    ("TLS_CERT_PATH", "tls.cert_path"),
    ("TLS_KEY_PATH", "tls.key_path"),
    ("WORKER_THREADS", "server.worker_threads"),
    ("MAX_CONNECTIONS", "server.max_connections"),
    ("BUFFER_SIZE", "server.buffer_size"),
];

/// Everything a configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// Name (for messages) and text of the file.
    pub file: Option<(String, String)>,
    /// The environment: [`VARIABLES`], and what `${NAME}` in the file refers to.
    pub environment: BTreeMap<String, String>,
    /// Overrides of the command line, the last one wins.
    pub command_line: Vec<Override>,
}

/// One override of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The option as typed, for messages: `--worker-threads`.
    pub option: String,
    /// Dotted key: `server.worker_threads`.
    pub key: String,
    /// The value as text.
    pub value: String,
}
