//! Names become indexes: listeners, backends, routes.

use core::net::SocketAddr;

use super::Given;
use crate::node::backend::{Backend, Listener, ListenerEntry, ProxyProtocol, Transport};
use crate::node::route::{Route, RouteEntry};
use crate::node::server::{Mode, Server};
use crate::node::syn::SynProxy;
use crate::reader::Table;

/// Listeners and backends: short forms become entries, names become indexes.
pub(in crate::node) fn resolve(
    t: &Table<'_>,
    given: &Given,
    server: &Server,
    syn: &SynProxy,
    entries: Vec<ListenerEntry>,
    mut backends: Vec<Backend>,
) -> (Vec<Listener>, Vec<Backend>) {
    if !entries.is_empty() && given.bind_address {
        t.conflict("listeners", "[server] bind_address is given as well; keep one of the two");
    }
    if !backends.is_empty() && given.backend_address {
        t.conflict("backends", "[server] backend_address is given as well; keep one of the two");
    }
    if backends.is_empty() {
        let address = server.backend_address.clone();
        backends.push(Backend {
            name: "default".into(),
            group: None,
            address,
            weight: 1,
            connections_max: None,
        });
    }
    check_backends(t, &backends);
    let entries = if entries.is_empty() { vec![default_listener(server)] } else { entries };
    let mut listeners: Vec<Listener> = Vec::with_capacity(entries.len());
    for entry in entries {
        let line = entry.line;
        let listener = resolve_listener(t, server, syn, &backends, entry);
        if listeners.iter().any(|other| other.name == listener.name) {
            t.conflict_on(line, "[[listeners]]", &format!("two listeners are called `{}`", listener.name));
        }
        let address = (listener.protocol, listener.bind_address);
        if let Some(other) = listeners.iter().find(|other| (other.protocol, other.bind_address) == address) {
            t.conflict_on(
                line,
                "[[listeners]]",
                &format!("`{}` and `{}` both accept on {}", other.name, listener.name, listener.bind_address),
            );
        }
        listeners.push(listener);
    }
    name_redirect_ports(&mut listeners);
    (listeners, backends)
}

fn default_listener(server: &Server) -> ListenerEntry {
    ListenerEntry {
        name: Some("default".into()),
        protocol: Transport::Tcp,
        bind_address: server.bind_address,
        mode: None,
        tls: None,
        redirect_https: false,
        redirect_port: 0,
        syn_cookies: None,
        backends: Vec::new(),
        proxy_protocol: ProxyProtocol::Off,
        waf: None,
        line: None,
    }
}

fn check_backends(t: &Table<'_>, backends: &[Backend]) {
    for (index, backend) in backends.iter().enumerate() {
        let others = backends.iter().take(index);
        if others.clone().any(|other| other.name == backend.name) {
            t.conflict("backends", &format!("two backends are called `{}`", backend.name));
        }
        if backends
            .iter()
            .any(|other| other.group.as_deref() == Some(&backend.name) && other.name != backend.name)
        {
            t.conflict("backends", &format!("`{}` is the name of a backend and of a group", backend.name));
        }
        let Some(address) = backend.address.address() else { continue };
        if address.ip().is_unspecified() || address.ip().is_multicast() || address.port() == 0 {
            let why = format!("`{}` has the address {address}, which nobody can connect to", backend.name);
            t.conflict("backends", &why);
        }
    }
}

fn resolve_listener(
    t: &Table<'_>,
    server: &Server,
    syn: &SynProxy,
    backends: &[Backend],
    entry: ListenerEntry,
) -> Listener {
    let protocol = match entry.protocol {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    let at = entry.bind_address;
    let name = entry.name.clone().unwrap_or_else(|| format!("{protocol}-{}-{}", at.ip(), at.port()));
    let fail = |why: String| t.conflict_on(entry.line, "[[listeners]]", &format!("listener `{name}`: {why}"));
    if at.port() == 0 {
        fail(format!("{at} has port 0"));
    }
    let mode = match entry.protocol {
        Transport::Tcp => entry.mode.unwrap_or(server.mode),
        Transport::Udp => Mode::Tcp,
    };
    check_mode(&entry, mode, &fail);
    let chosen = choose_backends(backends, &entry.backends, (mode != Mode::L7).then_some(at), &fail);
    Listener {
        name,
        protocol: entry.protocol,
        bind_address: at,
        mode,
        tls: mode == Mode::L7 && entry.tls.unwrap_or(!entry.redirect_https),
        redirect_https: entry.redirect_https.then_some(entry.redirect_port),
        syn_cookies: entry.syn_cookies.unwrap_or(syn.syn_cookies),
        backends: chosen,
        proxy_protocol: entry.proxy_protocol,
        waf: entry.waf,
    }
}

/// Keys of an entry that its mode or protocol gives no meaning.
fn check_mode(entry: &ListenerEntry, mode: Mode, fail: &dyn Fn(String)) {
    if entry.protocol == Transport::Udp {
        if entry.mode.is_some_and(|mode| mode != Mode::Tcp) {
            fail("UDP is only forwarded: mode can only be \"tcp\"".into());
        }
        if entry.proxy_protocol != ProxyProtocol::Off {
            fail("PROXY protocol is for TCP".into());
        }
    }
    if mode != Mode::L7 {
        if entry.tls == Some(true) {
            fail("tls = true needs mode = \"l7\"; other modes forward TLS untouched".into());
        }
        if entry.redirect_https {
            fail("redirect_https = true needs mode = \"l7\"".into());
        }
    } else if entry.redirect_https && entry.tls == Some(true) {
        fail("tls = true and redirect_https = true would redirect HTTPS to HTTPS".into());
    }
    if entry.redirect_port != 0 && !entry.redirect_https {
        fail("redirect_port needs redirect_https = true".into());
    }
}

/// The backends that `wanted` names, all of them when it is empty. With `at` only those of its family fit.
fn choose_backends(
    backends: &[Backend],
    wanted: &[String],
    at: Option<SocketAddr>,
    fail: &dyn Fn(String),
) -> Vec<usize> {
    let other = |backend: &Backend| at.and_then(|at| other_family(backend, &at).map(|address| (at, address)));
    if wanted.is_empty() {
        let fits = |index: &usize| backends.get(*index).is_some_and(|backend| other(backend).is_none());
        let chosen: Vec<usize> = (0..backends.len()).filter(fits).collect();
        if let (true, Some(at)) = (chosen.is_empty(), at) {
            fail(format!("{at} is {} but no backend is", family(&at)));
        }
        return chosen;
    }
    let mut chosen = Vec::new();
    for name in wanted {
        let mut found = false;
        for (index, backend) in backends.iter().enumerate() {
            if backend.name != *name && backend.group.as_deref() != Some(name) {
                continue;
            }
            found = true;
            if let Some((at, address)) = other(backend) {
                fail(format!(
                    "{at} is {} but backend `{}` is {} at {address}",
                    family(&at),
                    backend.name,
                    family(&address)
                ));
            } else if !chosen.contains(&index) {
                chosen.push(index);
            }
        }
        if !found {
            fail(format!("no backend or group is called `{name}`"));
        }
    }
    chosen
}

/// Fills in where redirects lead that name no port: the first listener with TLS, else the well-known port.
fn name_redirect_ports(listeners: &mut [Listener]) {
    const HTTPS_PORT: u16 = 443;
    let secure = listeners.iter().find(|listener| listener.tls);
    let port = secure.map_or(HTTPS_PORT, |listener| listener.bind_address.port());
    for listener in listeners {
        if listener.redirect_https == Some(0) {
            listener.redirect_https = Some(port);
        }
    }
}

/// Routes: names become indexes, and no two are for the same requests.
pub(in crate::node) fn routes(
    t: &Table<'_>,
    listeners: &[Listener],
    backends: &[Backend],
    entries: Vec<RouteEntry>,
) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let line = entry.line;
        let route = resolve_route(t, listeners, backends, entry, index);
        let fail = |why: &str| t.conflict_on(line, "[[routes]]", &format!("route `{}`: {why}", route.name));
        if routes.iter().any(|other| other.name == route.name) {
            fail("another route has this name");
        }
        if let Some(other) = routes.iter().find(|other| is_same_place(other, &route)) {
            fail(&format!(
                "`{}` is for the same listener, host and path, and comes first: this one would never act",
                other.name
            ));
        }
        routes.push(route);
    }
    routes
}

fn resolve_route(
    t: &Table<'_>,
    listeners: &[Listener],
    backends: &[Backend],
    entry: RouteEntry,
    index: usize,
) -> Route {
    let name = entry.name.unwrap_or_else(|| format!("route-{}", index + 1));
    let fail = |why: String| t.conflict_on(entry.line, "[[routes]]", &format!("route `{name}`: {why}"));
    let mut chosen = Vec::new();
    for wanted in &entry.listeners {
        match listeners.iter().position(|listener| listener.name == *wanted) {
            None => fail(format!("no listener is called `{wanted}`")),
            Some(at) if listeners.get(at).is_some_and(|listener| listener.mode != Mode::L7) => {
                fail(format!("listener `{wanted}` has not mode = \"l7\": it does not see requests"));
            }
            Some(at) => chosen.push(at),
        }
    }
    let backends = choose_backends(backends, &entry.backends, None, &fail);
    Route { name, listeners: chosen, backends, ..entry.rest }
}

/// Whether every request for `later` would have been taken by `earlier`, whose pattern is no more exact.
fn is_same_place(earlier: &Route, later: &Route) -> bool {
    let hosts = match (earlier.hosts.as_slice(), later.hosts.as_slice()) {
        ([], []) => true,
        ([], _) | (_, []) => false,
        (one, other) => other.iter().all(|host| one.contains(host)),
    };
    let listeners = earlier.listeners.is_empty()
        || (!later.listeners.is_empty() && later.listeners.iter().all(|l| earlier.listeners.contains(l)));
    hosts && listeners && earlier.path_prefix == later.path_prefix
}

/// The backend's address if its family is not that of `at`. Of a name it is known only at run time.
fn other_family(backend: &Backend, at: &SocketAddr) -> Option<SocketAddr> {
    backend.address.address().filter(|address| address.is_ipv4() != at.is_ipv4())
}

fn family(addr: &SocketAddr) -> &'static str {
    if addr.is_ipv4() { "IPv4" } else { "IPv6" }
}
