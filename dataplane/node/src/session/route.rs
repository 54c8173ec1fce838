//! Which route serves a request: the most exact host (a name before `*.name` before any), then the longest path
//! prefix on segment borders, then the first in the configuration.
//!
//! Owns: [`RouteTable`], compiled per listener. Does not own: what a route says (`policy`). Cost: one hash look-up per
//! label of the host, then the prefixes under it one by one; no allocation.

use std::collections::HashMap;

use secbeat_config::units::HostPattern;

/// Longest host that is looked up (RFC 1035 §2.3.4); a longer one matches only routes for any host.
const HOST_BYTES_MAX: usize = 255;

/// What one route covers.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Hosts; empty = any.
    pub hosts: Vec<HostPattern>,
    /// Path prefix; `/` = any.
    pub path: Box<[u8]>,
    /// Index into [`super::L7Policy::routes`].
    pub route: u16,
}

/// Prefixes and routes, longest prefix first.
type Prefixes = Vec<(Box<[u8]>, u16)>;

/// The routes of one listener.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    exact: HashMap<Box<[u8]>, Prefixes>,
    /// By what stands after the star: `.name`.
    suffix: HashMap<Box<[u8]>, Prefixes>,
    any: Prefixes,
}

impl RouteTable {
    /// Compiles routes, given in the order of the configuration.
    pub fn new(scopes: &[Scope]) -> Self {
        let mut table = Self::default();
        for Scope { hosts, path, route } in scopes {
            if hosts.is_empty() {
                table.any.push((path.clone(), *route));
            }
            for host in hosts {
                let (map, name) = match host {
                    HostPattern::Exact(name) => (&mut table.exact, name),
                    HostPattern::Suffix(name) => (&mut table.suffix, name),
                };
                map.entry(name.as_bytes().into()).or_default().push((path.clone(), *route));
            }
        }
        let lists = table.exact.values_mut().chain(table.suffix.values_mut()).chain([&mut table.any]);
        for prefixes in lists {
            // Stable: of equal prefixes the first in the configuration stays first.
            prefixes.sort_by_key(|(path, _)| core::cmp::Reverse(path.len()));
        }
        table
    }

    /// Whether any route is for certain hosts.
    pub(super) fn has_hosts(&self) -> bool {
        !self.exact.is_empty() || !self.suffix.is_empty()
    }

    /// The route for a host (without port, any case) and a normalised path.
    pub fn find(&self, host: &[u8], path: &[u8]) -> Option<u16> {
        if self.has_hosts() && host.len() <= HOST_BYTES_MAX {
            let mut lower = [0; HOST_BYTES_MAX];
            let lower = &mut lower[..host.len()];
            lower.copy_from_slice(host);
            lower.make_ascii_lowercase();
            if let Some(route) = self.find_named(lower, path) {
                return Some(route);
            }
        }
        among(&self.any, path)
    }

    fn find_named(&self, host: &[u8], path: &[u8]) -> Option<u16> {
        if let Some(route) = self.exact.get(host).and_then(|prefixes| among(prefixes, path)) {
            return Some(route);
        }
        if self.suffix.is_empty() {
            return None;
        }
        // From the longest suffix, the most exact one, to the shortest.
        let dots = host.iter().enumerate().filter(|(index, byte)| **byte == b'.' && *index > 0);
        dots.map(|(dot, _)| &host[dot..])
            .find_map(|suffix| self.suffix.get(suffix).and_then(|prefixes| among(prefixes, path)))
    }
}

fn among(prefixes: &Prefixes, path: &[u8]) -> Option<u16> {
    prefixes.iter().find(|(prefix, _)| covers(prefix, path)).map(|(_, route)| *route)
}

/// Whether a prefix covers a path: whole segments only, with or without a slash at the prefix's end.
fn covers(prefix: &[u8], path: &[u8]) -> bool {
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest[0] == b'/') || prefix.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &[(&[&str], &str)]) -> RouteTable {
        let scopes: Vec<_> = routes
            .iter()
            .enumerate()
            .map(|(route, (hosts, path))| Scope {
                hosts: hosts
                    .iter()
                    .map(|host| match host.strip_prefix('*') {
                        Some(suffix) => HostPattern::Suffix(suffix.to_owned()),
                        None => HostPattern::Exact((*host).to_owned()),
                    })
                    .collect(),
                path: path.as_bytes().into(),
                route: route as u16,
            })
            .collect();
        RouteTable::new(&scopes)
    }

    #[test]
    fn most_exact_host_wins_then_longest_prefix_then_order() {
        let table = table(&[
            (&[], "/"),
            (&[], "/api"),
            (&["*.example.org"], "/"),
            (&["*.b.example.org"], "/"),
            (&["a.example.org"], "/x"),
            (&["a.example.org"], "/x/y"),
            (&["a.example.org"], "/x/y"),
        ]);
        let find = |host: &str, path: &str| table.find(host.as_bytes(), path.as_bytes());
        assert_eq!(find("elsewhere", "/"), Some(0));
        assert_eq!(find("elsewhere", "/api/1"), Some(1));
        assert_eq!(find("A.Example.ORG", "/x/y/z"), Some(5), "any case, longest prefix, first of equals");
        assert_eq!(find("a.example.org", "/x"), Some(4));
        assert_eq!(find("a.example.org", "/other"), Some(2), "no prefix of the exact host: the wildcard");
        assert_eq!(find("c.b.example.org", "/"), Some(3), "the longer suffix");
        assert_eq!(find("example.org", "/api"), Some(1), "a star stands for at least one label");
        assert_eq!(find(&"a".repeat(300), "/"), Some(0));
    }

    #[test]
    fn prefix_covers_whole_segments() {
        let table = table(&[(&[], "/a"), (&[], "/b/")]);
        let find = |path: &str| table.find(b"", path.as_bytes());
        assert_eq!(find("/a"), Some(0));
        assert_eq!(find("/a/b"), Some(0));
        assert_eq!(find("/ab"), None);
        assert_eq!((find("/b"), find("/b/c"), find("/bc")), (Some(1), Some(1), None));
        assert_eq!(find("*"), None);
    }
}
