//! The only door to an interface: traffic goes into lab namespaces, or where somebody says it may.
//!
//! A flood on the wrong interface hurts strangers. An interface is allowed when it lies in a namespace that
//! this program's lab made, or when its name is repeated in `--i-own-this-interface`; the machine's own
//! interface with its default route is refused even then.

use std::fs;

use anyhow::{Result, bail};

use crate::lab::State;

/// Where traffic may be sent from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Inside a lab namespace.
    Lab {
        /// Its full name.
        netns: String,
    },
    /// In the namespace this program was started in, on an interface its user owns.
    Here,
}

/// Decides whether traffic may be sent through `interface`.
///
/// # Errors
/// With a sentence that says why not, and what would be allowed.
pub(crate) fn permit(interface: &str, netns: Option<&str>, owned: Option<&str>) -> Result<Place> {
    let routes = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let routes6 = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap_or_default();
    decide(interface, netns, owned, State::made_namespace, &has_default_route(&routes, &routes6))
}

fn decide(
    interface: &str,
    netns: Option<&str>,
    owned: Option<&str>,
    is_lab: impl Fn(&str) -> bool,
    default_routes: &[String],
) -> Result<Place> {
    match netns {
        Some(name) if is_lab(name) => Ok(Place::Lab { netns: name.to_owned() }),
        Some(name) => bail!("`{name}` is not a namespace of a lab made by `secbeat-bench lab up`"),
        None if interface == "lo" || default_routes.iter().any(|route| route == interface) => {
            bail!(
                "`{interface}` is this machine's own way to the network: no traffic is ever generated there"
            )
        }
        None if owned == Some(interface) => Ok(Place::Here),
        None => bail!(
            "`{interface}` is not in a lab namespace; traffic leaves there only with \
             `--i-own-this-interface {interface}`, which says that you may flood whatever is behind it"
        ),
    }
}

/// Interfaces that carry a default route, from the kernel's IPv4 and IPv6 route tables.
fn has_default_route(routes: &str, routes6: &str) -> Vec<String> {
    let v4 = routes.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1) == Some(&"00000000")).then(|| fields[0].to_owned())
    });
    let v6 = routes6.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default = fields.get(1) == Some(&"00") && fields.get(9) != Some(&"lo");
        (is_default && fields.len() >= 10).then(|| fields[9].to_owned())
    });
    v4.chain(v6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(interface: &str, netns: Option<&str>, owned: Option<&str>) -> Result<Place> {
        decide(interface, netns, owned, |name| name == "sb-attacker", &["eth0".to_owned()])
    }

    #[test]
    fn an_interface_outside_the_lab_is_refused_unless_named_again() {
        assert!(ask("veth9", None, None).is_err());
        assert!(ask("veth9", None, Some("veth8")).is_err());
        assert_eq!(ask("veth9", None, Some("veth9")).unwrap(), Place::Here);
    }

    #[test]
    fn the_machines_own_interface_is_refused_always() {
        assert!(ask("eth0", None, Some("eth0")).is_err());
        assert!(ask("lo", None, Some("lo")).is_err());
    }

    #[test]
    fn a_namespace_must_be_one_that_a_lab_made() {
        assert!(ask("att1", Some("production"), None).is_err());
        let place = ask("att1", Some("sb-attacker"), None).unwrap();
        assert_eq!(place, Place::Lab { netns: "sb-attacker".to_owned() });
    }

    #[test]
    fn default_routes_are_found_in_both_tables() {
        let v4 = "Iface\tDestination\tGateway\neth0\t00000000\t0100A8C0\neth1\t0000A8C0\t0\n";
        let zero = "0".repeat(32);
        let v6 = format!("{zero} 00 {zero} 00 {zero} 00000400 1 0 00000003 wan0\n");
        assert_eq!(has_default_route(v4, &v6), ["eth0", "wan0"]);
    }
}
