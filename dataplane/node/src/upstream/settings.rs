//! What a group of backends is told: addresses, weights, limits, how health is checked.
//!
//! Owns: the settings as plain checked values. Does not own: the file format (`secbeat-config`), which converts
//! into these.

use core::net::SocketAddr;
use core::time::Duration;

/// Backends over all groups. Each costs 64 bytes of counters and a row in the packet path's tables; 1,024 is
/// above any real pool behind one appliance. More: [`super::Error::TooManyBackends`].
pub const BACKENDS_MAX: usize = 1_024;

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A fixed address.
    Address(SocketAddr),
    /// A DNS name, resolved again every [`Settings::resolve_interval`]; the first address is used.
    Name {
        /// The host name.
        host: String,
        /// The port, host byte order.
        port: u16,
    },
}

impl core::fmt::Display for Target {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Address(addr) => write!(f, "{addr}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendSettings {
    /// Name, unique over all groups.
    pub name: String,
    /// Where it is.
    pub target: Target,
    /// Share of new connections relative to the others of its group; 0 = none while another is usable.
    pub weight: u16,
    /// Connections at once from this node; 0 = no limit.
    pub connections_max: u32,
    /// Whether it starts drained: existing connections only.
    pub drain: bool,
}

impl BackendSettings {
    /// A backend with weight 1 and no limit.
    pub fn new(name: impl Into<String>, addr: SocketAddr) -> Self {
        Self { name: name.into(), target: Target::Address(addr), weight: 1, connections_max: 0, drain: false }
    }
}

/// One group: the backends that a listener shares its connections among.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// Name, unique.
    pub name: String,
    /// Its backends, by index into [`Settings::backends`].
    pub backends: Vec<usize>,
}

/// Active health checks: a TCP connection that is closed as soon as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// Whether to check at all; without, a backend is up until connections to it fail.
    pub enable: bool,
    /// Time between two checks of one backend; each wait is drawn from 90 % to 110 % of it.
    pub interval: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// Successes in a row that bring a backend up.
    pub rise: u32,
    /// Failures in a row that bring it down.
    pub fall: u32,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            enable: true,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
        }
    }
}

/// Passive ejection: what real connections tell about a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EjectionSettings {
    /// Failed connections in a row that eject a backend; 0 = never.
    pub failures: u32,
    /// How long the first ejection lasts; doubles with each further one up to [`EjectionSettings::backoff_max`].
    pub backoff: Duration,
    /// Longest ejection.
    pub backoff_max: Duration,
}

impl Default for EjectionSettings {
    fn default() -> Self {
        Self { failures: 5, backoff: Duration::from_secs(10), backoff_max: Duration::from_secs(300) }
    }
}

/// Everything the backends of a node are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// All backends; their order gives their identifiers.
    pub backends: Vec<BackendSettings>,
    /// The groups over them.
    pub groups: Vec<GroupSettings>,
    /// Active checks.
    pub health: HealthSettings,
    /// Passive ejection.
    pub ejection: EjectionSettings,
    /// How often names are resolved again.
    pub resolve_interval: Duration,
    /// Slots of each group's Maglev table, a prime.
    pub maglev_slots: usize,
}

impl Settings {
    /// Settings with every choice at its default and one group `default` over all `backends`.
    pub fn one_group(backends: Vec<BackendSettings>) -> Self {
        let members = (0..backends.len()).collect();
        Self {
            backends,
            groups: vec![GroupSettings { name: "default".to_owned(), backends: members }],
            health: HealthSettings::default(),
            ejection: EjectionSettings::default(),
            resolve_interval: Duration::from_secs(30),
            maglev_slots: 4_099,
        }
    }
}
