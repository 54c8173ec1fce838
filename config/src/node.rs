//! The configuration of a mitigation node.
//!
//! Owns: the typed sections and the checks that span several of them. What comes out of [`NodeConfig::load`]
//! needs no further checking: names are resolved to indexes, families match, at least one listener and one
//! backend exist, and every listener has a backend.

mod backend;
mod check;
mod http;
mod io;
mod l7;
mod limits;
mod management;
mod route;
mod server;
mod syn;
mod tls;
mod upstream;
mod waf;

pub(crate) use backend::ListenerEntry;
pub use backend::{BACKENDS_MAX, Backend, Health, LISTENERS_MAX, Listener, ProxyProtocol, Transport};
pub use http::{ErrorPage, ForwardedStyle, H2, Http, ServerHeader};
pub use io::{Attach, Driver, Io, Unbound, Want};
pub use l7::{Geo, GeoAction};
pub use limits::{Attack, FILTER_RULES_MAX, Filter, FilterAction, FilterRule, Limits, Lists, PREFIXES_MAX};
pub use management::{Api, Heartbeat, Metrics, Orchestrator};
pub use route::{AccessLog, AccessLogFormat, ROUTES_MAX, Route};
pub use server::{LogFormat, LogLevel, Logging, Mode, Performance, Server, TcpCongestion};
pub use syn::{Flows, SynCookies, SynCookiesAt, SynProxy, Udp};
pub use tls::{Alpn, CERTIFICATES_MAX, Certificate, ClientAuth, Misdirected, Tls, TlsVersion};
pub use upstream::Upstream;
pub use waf::{AtLimit, AuditFormat, CsrfCheck, Waf, WafMode, WafSite};

pub use crate::units::{HeaderName, HostPattern, LogTarget, UrlPath};

use toml::de::DeTable;

use crate::error::{ConfigError, ConfigErrors, Place, Problem};
use crate::export::Export;
use crate::layers::Layers;
use crate::reader::tree::Entries;
use crate::reader::{Document, Table};

/// Longest configuration file. Longer lists belong into files of their own. Bytes.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// A node's configuration, checked.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// `[server]`
    pub server: Server,
    /// `[io]`
    pub io: Io,
    /// `[[listeners]]`, or the one that `[server]` describes. Never empty.
    pub listeners: Vec<Listener>,
    /// `[[backends]]`, or the one that `[server]` describes. Never empty.
    pub backends: Vec<Backend>,
    /// `[health]`
    pub health: Health,
    /// `[syn_proxy]`
    pub syn_proxy: SynProxy,
    /// `[flows]`
    pub flows: Flows,
    /// `[udp]`
    pub udp: Udp,
    /// `[limits]`
    pub limits: Limits,
    /// `[attack]`
    pub attack: Attack,
    /// `[lists]`
    pub lists: Lists,
    /// `[filter]`
    pub filter: Filter,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[api]`
    pub api: Api,
    /// `[logging]`
    pub logging: Logging,
    /// `[performance]`
    pub performance: Performance,
    /// `[tls]`
    pub tls: Tls,
    /// `[http]`
    pub http: Http,
    /// `[[routes]]`
    pub routes: Vec<Route>,
    /// `[access_log]`
    pub access_log: AccessLog,
    /// `[waf]`
    pub waf: Waf,
    /// `[geo]`
    pub geo: Geo,
    /// `[orchestrator]`
    pub orchestrator: Orchestrator,
    /// `[[export]]`
    pub exports: Vec<Export>,
}

impl Default for NodeConfig {
    /// What an empty file means.
    fn default() -> Self {
        Self::load(&Layers::default()).expect("the defaults are valid")
    }
}

impl NodeConfig {
    /// Reads all layers.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place.
    pub fn load(layers: &Layers) -> Result<Self, ConfigErrors> {
        let (name, text) = layers.file.as_ref().map_or(("", ""), |(name, text)| (name, text));
        if text.len() > FILE_BYTES_MAX {
            let problem = Problem::OutOfRange {
                value: format!("{} bytes", text.len()),
                allowed: format!("at most {FILE_BYTES_MAX}"),
            };
            return Err(ConfigErrors(vec![ConfigError { place: Place::Whole, key: name.into(), problem }]));
        }
        let (root, syntax) = DeTable::parse_recoverable(text);
        if !syntax.is_empty() {
            return Err(syntax_errors(name, text, &syntax));
        }
        let document = Document::new(layers, Some(root.get_ref()), false);
        let mut top = document.top();
        let config = Self::read(&mut top);
        top.end();
        document.finish().1.map(|()| config)
    }

    /// Of a tree that resources of a policy were put into; `name_part` names their places.
    pub(crate) fn of_tree(
        layers: &Layers,
        root: &Entries<'_>,
        name_part: &dyn Fn(usize) -> String,
    ) -> Result<Self, ConfigErrors> {
        let document = Document::of_tree(layers, root, 0, name_part);
        let mut top = document.top();
        let config = Self::read(&mut top);
        top.end();
        document.finish().1.map(|()| config)
    }

    /// Whether some listener terminates TLS or HTTP.
    pub fn has_l7(&self) -> bool {
        self.listeners.iter().any(|listener| listener.mode == Mode::L7)
    }

    /// Reads every section. After a mistake the value holds defaults and must not be used.
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let mut given = check::Given::default();
        let server = t.section("server", |t| {
            given.note_server(t);
            Server::read(t)
        });
        let io = t.section("io", |t| {
            let io = Io::read(t);
            check::io(t, &io);
            io
        });
        let syn_proxy = t.section("syn_proxy", SynProxy::read);
        let entries = t.tables("listeners", LISTENERS_MAX, backend::ListenerEntry::read);
        let backends = t.tables("backends", BACKENDS_MAX, Backend::read);
        let (listeners, backends) = check::resolve(t, &given, &server, &syn_proxy, entries, backends);
        let routes = t.tables("routes", route::ROUTES_MAX, route::RouteEntry::read);
        let routes = check::routes(t, &listeners, &backends, routes);
        let config = Self {
            listeners,
            backends,
            routes,
            health: t.section("health", |t| {
                let health = Health::read(t);
                check::health(t, &health);
                health
            }),
            flows: t.section("flows", Flows::read),
            udp: t.section("udp", Udp::read),
            limits: t.section("limits", Limits::read),
            attack: t.section("attack", Attack::read),
            lists: t.section("lists", |t| {
                let lists = Lists::read(t);
                check::lists(t, &lists);
                lists
            }),
            filter: t.section("filter", Filter::read),
            metrics: t.section("metrics", Metrics::read),
            api: t.section("api", |t| {
                given.note_api(t);
                Api::read(t)
            }),
            logging: t.section("logging", Logging::read),
            performance: t.section("performance", Performance::read),
            tls: t.section("tls", Tls::read),
            http: t.section("http", Http::read),
            access_log: t.section("access_log", AccessLog::read),
            waf: t.section("waf", Waf::read),
            geo: t.section("geo", Geo::read),
            orchestrator: t.section("orchestrator", Orchestrator::read),
            exports: Export::read_all(t),
            server,
            io,
            syn_proxy,
        };
        check::whole(t, &given, &config);
        config
    }
}

/// TOML's own messages, with our places.
pub(crate) fn syntax_errors(name: &str, text: &str, errors: &[toml::de::Error]) -> ConfigErrors {
    // One broken line can make the parser stumble many times; the first few say it all.
    const SHOWN_MAX: usize = 8;
    let errors = errors.iter().take(SHOWN_MAX).map(|error| {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let upto = text.as_bytes().get(..at).unwrap_or_default();
        let line = 1 + upto.iter().filter(|byte| **byte == b'\n').count();
        // Only what stands before the value: the value may be a secret.
        let shown = text.lines().nth(line - 1).unwrap_or_default().split('=').next().unwrap_or_default();
        let key: String = shown.trim().chars().take(64).collect();
        ConfigError {
            place: Place::File { name: name.into(), line: u32::try_from(line).unwrap_or(u32::MAX) },
            key: format!("`{key}`"),
            problem: Problem::Syntax(error.message().to_string()),
        }
    });
    ConfigErrors(errors.collect())
}
