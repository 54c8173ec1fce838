//! What `l7` sessions must know, compiled from the configuration and from the files it names.
//!
//! Owns: [`Resources`] (certificates and pages, read from disk) and the conversion into [`L7Policy`]. Does not own:
//! what sessions do with it. Files are read once per start and reload, before anything is changed; compiling cannot
//! fail, so that a policy for new backends or keys never depends on a disk.

use core::time::Duration;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use secbeat_config::NodeConfig;
use secbeat_config::node::{Alpn, ForwardedStyle, Listener, LogTarget, Mode, ProxyProtocol, Route};
use secbeat_http::h2;
use secbeat_net::limit::Rate;

use super::rules;
use crate::event::ListenerId;
use crate::session::pages::Pages;
use crate::session::policy;
use crate::session::policy::{
    AccessLogPolicy, Forwarding, Inspection, L7Policy, Limits, Rates, RequestRate, RouteTable, Scope,
    Service, Timeouts,
};
use crate::session::tls::{Acceptor, LoadError};
use crate::upstream::route_group;
use crate::waf::{self, Lasting, Waf};

/// Largest error page, bytes: a client waits for all of it.
const PAGE_BYTES_MAX: u64 = 64 << 10;

/// Of a million.
const MILLION: f64 = 1_000_000.0;

/// Why files that the configuration names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Certificates, keys.
    #[error("tls: {0}")]
    Tls(#[from] LoadError),
    /// Rules.
    #[error("waf: {0}")]
    Waf(#[from] waf::Error),
    /// A page.
    #[error("error page {path}: {error}", path = path.display())]
    Page {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: io::Error,
    },
}

/// What is read from files for sessions.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Certificates; `None` when no listener speaks TLS.
    pub acceptor: Option<Arc<Acceptor>>,
    /// The operator's own pages.
    pub pages: Pages,
    /// The rules; `None` when nothing is inspected.
    pub waf: Option<Arc<Waf>>,
    /// What outlives the rules.
    pub lasting: Arc<Lasting>,
}

/// Whether a listener's clients are served by sessions.
pub fn is_l7(listener: &Listener) -> bool {
    listener.mode == Mode::L7
}

/// Reads the operator's pages.
///
/// # Errors
/// Which cannot be read.
pub fn load_pages(config: &NodeConfig) -> Result<Pages, Error> {
    let mut own = Vec::with_capacity(config.http.error_pages.len());
    for page in &config.http.error_pages {
        let failed = |error| Error::Page { path: page.path.clone(), error };
        let mut html = String::new();
        let file = fs::File::open(&page.path).map_err(failed)?;
        file.take(PAGE_BYTES_MAX + 1).read_to_string(&mut html).map_err(failed)?;
        if html.len() as u64 > PAGE_BYTES_MAX {
            let text = format!("longer than {PAGE_BYTES_MAX} bytes");
            return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, text)));
        }
        own.push((page.statuses.clone(), html));
    }
    Ok(Pages::new(own))
}

/// Compiles a policy. `place` gives the number under which the front knows a listener, by its place in the
/// configuration and its name; a listener without one is left out.
pub fn compile(
    config: &NodeConfig,
    resources: &Resources,
    generation: u64,
    place: impl Fn(usize, &str) -> Option<ListenerId>,
) -> L7Policy {
    let mut listeners = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate().filter(|(_, listener)| is_l7(listener)) {
        let Some(id) = place(index, &listener.name) else {
            continue;
        };
        let slot = usize::from(id);
        if listeners.len() <= slot {
            listeners.resize_with(slot + 1, || None);
        }
        listeners[slot] = Some(compile_listener(config, index, listener));
    }
    L7Policy {
        generation,
        listeners,
        routes: config.routes.iter().map(compile_route).collect(),
        limits: limits(config),
        h2: Arc::new(h2_limits(config)),
        timeouts: timeouts(config),
        rates: rates(config),
        forwarding: forwarding(config),
        inspection: Inspection { refuse_traversal: config.http.refuse_traversal, waf: resources.waf.clone() },
        access_log: AccessLogPolicy {
            enable: config.access_log.target != LogTarget::Off,
            sample_ppm: (config.access_log.sample * MILLION).round() as u32,
        },
        pages: resources.pages.clone(),
        health_path: config.http.health_path.as_ref().map(|path| path.as_str().as_bytes().into()),
        upgrade: config.http.upgrade,
        offences: rules::offences(config),
        misdirected: config.tls.misdirected,
        tls: resources.acceptor.clone(),
    }
}

fn compile_listener(config: &NodeConfig, index: usize, listener: &Listener) -> policy::Listener {
    let serves = |route: &Route| route.listeners.is_empty() || route.listeners.contains(&index);
    let scopes =
        config.routes.iter().enumerate().filter(|(_, route)| serves(route)).map(|(number, route)| Scope {
            hosts: route.hosts.clone(),
            path: route.path_prefix.as_str().as_bytes().into(),
            route: number as u16,
        });
    policy::Listener {
        name: listener.name.as_str().into(),
        tls: listener.tls,
        service: listener.redirect_https.map_or(Service::Proxy, |port| Service::Redirect { port }),
        routes: RouteTable::new(&scopes.collect::<Vec<_>>()),
        group: (!listener.backends.is_empty()).then(|| listener.name.as_str().into()),
        http2: config.tls.alpn.contains(&Alpn::H2),
        waf: listener.waf,
        proxy_protocol: listener.proxy_protocol == ProxyProtocol::V2,
    }
}

fn compile_route(route: &Route) -> policy::Route {
    policy::Route {
        name: route.name.as_str().into(),
        group: route_group(&route.name).into(),
        rate: None,
        source_rate: route.request_rate.map(|count| request_rate(count, route.request_burst)),
        body_max: route.body_bytes_max,
        response_timeout: route.response_timeout,
        waf: route.waf,
        proxy_protocol: route.proxy_protocol.map(|wanted| wanted == ProxyProtocol::V2),
    }
}

fn request_rate(count: u32, burst: u32) -> RequestRate {
    RequestRate::new(Rate { count: u64::from(count), interval: Duration::from_secs(1), burst })
}

fn limits(config: &NodeConfig) -> Limits {
    let http = &config.http;
    let (head, target) = (http.head_bytes_max as u32, http.target_bytes_max as u32);
    let defaults = secbeat_http::limits::Limits::default();
    Limits {
        head: secbeat_http::limits::Limits {
            // The method and the version stand on the same line.
            start_line_bytes_max: (target + 64).min(head),
            head_bytes_max: head,
            field_bytes_max: defaults.field_bytes_max.min(head),
            fields_max: (http.fields_max as u16).min(secbeat_http::limits::FIELDS_CEILING as u16),
            ..defaults
        },
        request_body_max: http.body_bytes_max,
        requests_max: http.requests_max,
    }
}

/// Frames that carry nothing are limited per kind, each to the configured rate.
fn h2_limits(config: &NodeConfig) -> h2::Limits {
    let (h2, defaults) = (&config.http.h2, h2::Limits::default());
    let rate = |count: u32, burst: u32| h2::Rate::new(burst, (1_000 / count.max(1)).max(1));
    let control = rate(h2.control_rate, h2.control_burst);
    let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    h2::Limits {
        streams_max: h2.streams_max,
        stream_window_bytes: h2.stream_window_bytes,
        connection_window_bytes: h2.connection_window_bytes,
        header_list_bytes_max: config.http.head_bytes_max as u32,
        header_fields_max: config.http.fields_max as u32,
        target_bytes_max: config.http.target_bytes_max as u32,
        header_table_bytes: h2.header_table_bytes,
        continuations_max: h2.continuations_max,
        reset: rate(h2.reset_rate, h2.reset_burst),
        ping: control,
        settings: control,
        priority: control,
        small_data: h2::Rate::new(
            h2.control_burst.max(defaults.small_data.burst),
            defaults.small_data.interval_ms,
        ),
        window_update: h2::Rate::new(
            h2.control_burst.max(defaults.window_update.burst),
            defaults.window_update.interval_ms,
        ),
        head_timeout_ms: millis(config.http.head_timeout),
        ..defaults
    }
}

fn timeouts(config: &NodeConfig) -> Timeouts {
    let http = &config.http;
    Timeouts {
        tls_handshake: config.tls.handshake_timeout,
        request_head: http.head_timeout,
        keep_alive: config.server.keepalive_timeout,
        rate_grace: http.rate_grace,
        request_rate_min: http.body_rate_min.unwrap_or(0),
        response_rate_min: http.response_rate_min.unwrap_or(0),
        tunnel_idle: http.tunnel_idle_timeout,
        total: http.request_timeout,
    }
}

fn rates(config: &NodeConfig) -> Rates {
    let limits = &config.limits;
    Rates {
        source: config.waf.rate_limit_rps.map(|count| request_rate(count, limits.request_burst)),
        global: limits.request_rate_total.map(|count| request_rate(count, limits.request_burst_total)),
        source_len_v6: limits.source_v6_bits,
    }
}

fn forwarding(config: &NodeConfig) -> Forwarding {
    let http = &config.http;
    let style = http.forwarded;
    Forwarding {
        trusted: http.trusted_proxies.clone().into(),
        x_forwarded: matches!(style, ForwardedStyle::XForwarded | ForwardedStyle::Both),
        forwarded: matches!(style, ForwardedStyle::Forwarded | ForwardedStyle::Both),
        request_id: http.request_id_header.as_ref().map(|name| name.as_str().as_bytes().into()),
        via: None,
        server: http.server_header,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
[server]
mode = "l7"
[http]
max_target_bytes = 1024
[waf]
rate_limit_rps = 7
[[listeners]]
name = "old"
mode = "syn"
bind_address = "127.0.0.1:80"
backends = ["one"]
[[listeners]]
name = "web"
bind_address = "127.0.0.1:443"
backends = ["one"]
[[listeners]]
name = "plain"
bind_address = "127.0.0.1:8080"
tls = false
proxy_protocol = "v2"
redirect_https = true
redirect_port = 8443
backends = ["one"]
[[routes]]
name = "api"
listeners = ["web"]
path_prefix = "/api"
backends = ["two"]
[[routes]]
name = "old"
path_prefix = "/old"
proxy_protocol = "off"
backends = ["two"]
[[backends]]
name = "one"
address = "127.0.0.1:1"
[[backends]]
name = "two"
address = "127.0.0.1:2"
"#;

    fn policy(place: impl Fn(usize, &str) -> Option<ListenerId>) -> L7Policy {
        let config = secbeat_config::parse(CONFIG).expect("configuration");
        compile(&config, &Resources::default(), 3, place)
    }

    #[test]
    fn only_l7_listeners_are_there_each_at_its_number() {
        let policy = policy(|index, _| Some(index as ListenerId));
        let names: Vec<_> =
            policy.listeners.iter().map(|listener| listener.as_ref().map(|l| l.name.to_string())).collect();
        assert_eq!(names, [None, Some("web".to_owned()), Some("plain".to_owned())]);
        let plain = policy.listener(2).expect("the redirect");
        assert_eq!((plain.tls, plain.service), (false, Service::Redirect { port: 8_443 }));
        let web = policy.listener(1).expect("the service");
        assert_eq!((web.tls, web.service, web.group.as_deref()), (true, Service::Proxy, Some("web")));
        assert_eq!(&*policy.routes[0].group, "route:api");
        assert_eq!((plain.proxy_protocol, web.proxy_protocol), (true, false));
        assert_eq!(
            policy.routes.iter().map(|route| route.proxy_protocol).collect::<Vec<_>>(),
            [None, Some(false)]
        );
        assert_eq!(policy.limits.head.start_line_bytes_max, 1_024 + 64);
        assert!(policy.rates.source.is_some() && policy.rates.global.is_none());
    }

    #[test]
    fn front_numbers_listeners_as_it_likes() {
        let policy = policy(|_, name| (name == "web").then_some(5));
        assert_eq!(policy.listeners.len(), 6);
        assert!(policy.listener(5).is_some() && policy.listener(2).is_none());
    }

    #[test]
    fn page_that_cannot_be_read_is_named() {
        let text =
            format!("{CONFIG}[[http.error_pages]]\nstatuses = [503]\npath = \"/nonexistent/busy.html\"\n");
        let config = secbeat_config::parse(&text).expect("configuration");
        let error = load_pages(&config).expect_err("no such page").to_string();
        assert!(error.contains("/nonexistent/busy.html"), "{error}");
    }
}
