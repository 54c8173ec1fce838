//! What a group of backends is told: addresses, weights, limits, how health is checked.
//!
//! Owns: the settings as plain checked values. Does not own: the file format (`secbeat-config`), which converts
//! into these.

use core::net::SocketAddr;
use core::time::Duration;

use secbeat_config::node::{Mode, NodeConfig, Transport};
pub use secbeat_config::units::Target;

/// How often names are resolved again: most servers' records live for a minute or more, and a change of address is
/// also noticed by the checks.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);

/// Backends over all groups. Each costs 64 bytes of counters and a row in the packet path's tables; 1,024 is
/// above any real pool behind one appliance. More: [`super::Error::TooManyBackends`].
pub const BACKENDS_MAX: usize = 1_024;

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendSettings {
    /// Name, unique over all groups.
    pub name: String,
    /// Where it is.
    pub target: Target,
    /// Share of new connections relative to the others of its group, at least 1.
    pub weight: u16,
    /// Connections at once from this node; 0 = no limit.
    pub connections_max: u32,
    /// Whether it starts drained: existing connections only.
    pub drain: bool,
    /// Whether active checks apply; a backend that only serves UDP has nothing to connect to.
    pub check: bool,
    /// Family that a name must resolve to, because its listeners are of that family: `Some(true)` = IPv4; `None` = any.
    pub wants_ipv4: Option<bool>,
}

impl BackendSettings {
    /// A backend with weight 1 and no limit.
    pub fn new(name: impl Into<String>, addr: SocketAddr) -> Self {
        Self {
            name: name.into(),
            target: Target::Address(addr),
            weight: 1,
            connections_max: 0,
            drain: false,
            check: true,
            wants_ipv4: None,
        }
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

/// The name of a route's group, which no listener's can be: names of listeners hold no colon.
pub fn route_group(route: &str) -> String {
    format!("route:{route}")
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
}

impl Settings {
    /// The settings that a node's configuration asks for: one group per listener, under the listener's name, and one
    /// per route, under [`route_group`].
    pub fn from_config(config: &NodeConfig) -> Self {
        let users =
            |index: usize| config.listeners.iter().filter(move |listener| listener.backends.contains(&index));
        let serves_tcp = |index: usize| {
            let mut users = users(index).peekable();
            // Nobody uses it: there is no reason to spare it either. Routes are always TCP.
            users.peek().is_none()
                || users.any(|listener| listener.protocol == Transport::Tcp)
                || config.routes.iter().any(|route| route.backends.contains(&index))
        };
        let family = |index: usize| {
            // `l7` makes connections of its own, whatever the family of the client's.
            let mut users = users(index).filter(|listener| listener.mode != Mode::L7);
            let first = users.next()?.bind_address.is_ipv4();
            users.all(|listener| listener.bind_address.is_ipv4() == first).then_some(first)
        };
        let backends = config.backends.iter().enumerate().map(|(index, backend)| BackendSettings {
            name: backend.name.clone(),
            target: backend.address.clone(),
            weight: backend.weight.max(1),
            connections_max: backend.connections_max.unwrap_or(0),
            drain: backend.weight == 0,
            check: serves_tcp(index),
            wants_ipv4: family(index),
        });
        let of_listeners = config.listeners.iter().map(|listener| GroupSettings {
            name: listener.name.clone(),
            backends: listener.backends.clone(),
        });
        let of_routes = config
            .routes
            .iter()
            .map(|route| GroupSettings { name: route_group(&route.name), backends: route.backends.clone() });
        let groups = of_listeners.chain(of_routes);
        let health = &config.health;
        Self {
            backends: backends.collect(),
            groups: groups.collect(),
            health: HealthSettings {
                enable: health.enable,
                interval: health.interval,
                timeout: health.timeout,
                rise: u32::from(health.rise),
                fall: u32::from(health.fall),
            },
            ejection: EjectionSettings {
                failures: u32::from(health.passive_failures),
                backoff: health.ejection_time,
                backoff_max: health.ejection_time_max,
            },
            resolve_interval: RESOLVE_INTERVAL,
        }
    }

    /// Settings with every choice at its default and one group `default` over all `backends`.
    pub fn one_group(backends: Vec<BackendSettings>) -> Self {
        let members = (0..backends.len()).collect();
        Self {
            backends,
            groups: vec![GroupSettings { name: "default".to_owned(), backends: members }],
            health: HealthSettings::default(),
            ejection: EjectionSettings::default(),
            resolve_interval: RESOLVE_INTERVAL,
        }
    }
}

#[cfg(test)]
mod tests {
    use secbeat_config::Layers;

    use super::*;

    #[test]
    fn default_configuration_gives_one_group_over_one_backend() {
        let config = NodeConfig::load(&Layers::default()).unwrap();
        let settings = Settings::from_config(&config);
        assert_eq!(settings.groups.len(), config.listeners.len());
        assert_eq!(settings.backends.len(), 1);
        assert!(settings.backends[0].check);
        assert_eq!(settings.health.fall, u32::from(config.health.fall));
    }
}
