//! Node and policy configuration: strict parsing, defaults, limits.
//!
//! Owns: what every key means, its default, unit and range; the shipped files beside this crate are parsed by
//! its tests. Does not own: reading files or the environment (the caller passes text and variables in), and
//! policy that changes at run time.
//!
//! Reading and documentation are one thing: a section's `read` function names each key once, with default,
//! range and sentence, and [`reference()`] is the same code run over an empty document.
//!
//! ```
//! let config = secbeat_config::parse("[server]\nmode = \"syn\"\n").unwrap();
//! assert_eq!(config.server.mode, secbeat_config::node::Mode::Syn);
//! let error = secbeat_config::parse("[server]\nmod = \"syn\"\n").unwrap_err();
//! assert!(error.to_string().contains("did you mean `mode`"));
//! ```
#![forbid(unsafe_code)]

pub mod autoscaling;
pub mod ban;
pub mod error;
pub mod export;
pub mod layers;
pub mod node;
pub mod orchestrator;
pub mod policy;
mod reader;
pub mod reference;
pub mod secret;
pub mod units;
pub mod waf_rules;

pub use error::{ConfigError, ConfigErrors};
pub use layers::Layers;
pub use node::NodeConfig;
pub use reference::{KeyDoc, reference};
pub use secret::Secret;

/// A node's configuration from TOML text alone: no environment, no command line.
///
/// # Errors
/// Everything that is wrong with it, each with its line.
pub fn parse(text: &str) -> Result<NodeConfig, ConfigErrors> {
    NodeConfig::load(&Layers { file: Some(("configuration".into(), text.into())), ..Layers::default() })
}

/// What the fuzzer and the replay of its corpus call.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(config) = parse(text) {
        assert!(!config.listeners.is_empty() && !config.backends.is_empty());
        for listener in &config.listeners {
            assert!(!listener.backends.is_empty());
            assert!(listener.backends.iter().all(|index| *index < config.backends.len()));
        }
        assert!(config.io.snat_ports.low <= config.io.snat_ports.high);
    }
    let _ = autoscaling::Autoscaling::parse("fuzz", text);
    let _ = orchestrator::OrchestratorConfig::parse("fuzz", text, &Default::default());
    let _ = waf_rules::RuleSet::parse(text);
}
