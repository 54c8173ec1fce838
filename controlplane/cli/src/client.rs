//! The connection to an orchestrator, and what every call has in common.
//!
//! Owns: TLS, the token, deadlines, what a mutation carries, and the translation of failures. Does not own: what is
//! asked. One connection per command; a call that changes something carries the request id of the invocation, so that
//! it can be repeated after a lost answer without being done twice.

use std::cell::RefCell;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secbeat_proto::v1::access_service_client::AccessServiceClient;
use secbeat_proto::v1::ban_service_client::BanServiceClient;
use secbeat_proto::v1::event_service_client::EventServiceClient;
use secbeat_proto::v1::fleet_service_client::FleetServiceClient;
use secbeat_proto::v1::policy_service_client::PolicyServiceClient;
use secbeat_proto::v1::{GetServerInfoRequest, Mutation, NodeRejection};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Response, Status};

use crate::args::Global;
use crate::context::{self, Context};
use crate::exit::{Exit, Failure, certificate_wanted, is_closed, unreachable};
use crate::output::Output;
use crate::word;

/// How long one call may take unless `--timeout` says otherwise.
pub(crate) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Bytes of one answer: a whole policy fits. A longer one is an error of the call.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of a PEM file; a longer one is refused.
const PEM_BYTES_MAX: u64 = 1024 * 1024;
/// Longest request id, in characters: the protocol allows 64, and parts of a command append to it.
const REQUEST_ID_CHARS_MAX: usize = 52;
/// Longest reason that the protocol allows, in characters.
const REASON_CHARS_MAX: usize = 500;
/// Rejections that an error lists; the rest is counted by `Failure`.
const REJECTIONS_MAX: usize = 1_000;

/// What every command has at hand.
pub(crate) struct App {
    pub(crate) output: Output,
    pub(crate) request_id: String,
    pub(crate) reason: String,
    pub(crate) is_dry_run: bool,
    /// `--timeout`, when given.
    pub(crate) timeout: Option<Duration>,
    pub(crate) global: Global,
    /// What goes on without us, told when the command is interrupted.
    pub(crate) on_interrupt: RefCell<String>,
}

impl App {
    pub(crate) fn new(global: Global) -> Result<Self, Failure> {
        let request_id = global.request_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        if request_id.is_empty() || request_id.chars().count() > REQUEST_ID_CHARS_MAX {
            let what = format!("--request-id has 1 to {REQUEST_ID_CHARS_MAX} characters");
            return Err(Failure::usage(what, "a UUID will do"));
        }
        let reason = global.reason.clone().unwrap_or_default();
        if reason.chars().count() > REASON_CHARS_MAX {
            return Err(Failure::usage(
                format!("--reason has at most {REASON_CHARS_MAX} characters"),
                "shorten it",
            ));
        }
        Ok(Self {
            output: Output::new(global.output, global.color, global.yes),
            request_id,
            reason,
            is_dry_run: global.dry_run,
            timeout: global.timeout,
            global,
            on_interrupt: RefCell::new(String::new()),
        })
    }

    /// What every request that changes something carries.
    pub(crate) fn mutation(&self) -> Mutation {
        Mutation {
            request_id: self.request_id.clone(),
            expected_revision: 0,
            dry_run: self.is_dry_run,
            reason: self.reason.clone(),
        }
    }

    /// A mutation that belongs to the same command: its own id, made from the command's, so that a repetition of
    /// the command repeats it too.
    pub(crate) fn mutation_part(&self, part: &str) -> Mutation {
        Mutation { request_id: format!("{}/{part}", self.request_id), ..self.mutation() }
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT_DEFAULT)
    }

    /// Says that nothing was changed, where people could think so.
    pub(crate) fn note_dry_run(&self) {
        if self.is_dry_run {
            self.output.note("dry run: nothing was changed");
        }
    }

    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let context = context::resolve(&self.global)?;
        self.connect_to(&context).await
    }

    pub(crate) async fn connect_to(&self, context: &Context) -> Result<Client, Failure> {
        let endpoint = endpoint(context, self.timeout())?;
        if let (Some(_), Some(host)) = (&context.token, plain_host(&context.server)) {
            self.output.note(&format!("warning: the token goes to {host} unencrypted: use https://"));
        }
        let bearer = Bearer::new(context.token.as_deref())?;
        let connecting = tokio::time::timeout(self.timeout(), endpoint.connect());
        let channel = connecting
            .await
            .map_err(|_| {
                let what = format!("cannot reach {}: no answer within {:?}", context.server, self.timeout());
                Failure::new(Exit::Unreachable, what, "is the address right? try --timeout, --server")
            })?
            .map_err(|error| unreachable(&error, &context.server))?;
        Ok(Client {
            service: InterceptedService::new(channel, bearer),
            server: context.server.clone(),
            shows_no_certificate: context.server.starts_with("https://") && context.cert.is_none(),
            request_id: self.request_id.clone(),
            timeout: self.timeout(),
        })
    }
}

/// The host, when it is reached without TLS and over a network.
fn plain_host(server: &str) -> Option<&str> {
    let host = server.strip_prefix("http://")?.split('/').next()?;
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_loopback = name == "localhost" || name == "[::1]" || name.starts_with("127.");
    (!is_loopback).then_some(name)
}

fn endpoint(context: &Context, timeout: Duration) -> Result<Endpoint, Failure> {
    let server = &context.server;
    let is_tls = server.starts_with("https://");
    if !is_tls && !server.starts_with("http://") {
        return Err(Failure::usage(
            format!("`{server}` is not the URL of an orchestrator"),
            "write https://HOST:PORT, or http://127.0.0.1:PORT on the same machine",
        ));
    }
    let endpoint = Endpoint::from_shared(server.clone())
        .and_then(|endpoint| endpoint.user_agent(concat!("secbeat/", env!("CARGO_PKG_VERSION"))))
        .map_err(|error| {
            Failure::usage(format!("`{server}` is not a URL: {error}"), "write https://HOST:PORT")
        })?
        .connect_timeout(timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true);
    if !is_tls {
        if context.cert.is_some() {
            return Err(Failure::usage("--cert needs TLS", "use https:// in --server"));
        }
        return Ok(endpoint);
    }
    endpoint.tls_config(tls(context)?).map_err(|error| {
        Failure::usage(format!("TLS cannot be set up: {error}"), "check --ca, --cert and --key")
    })
}

fn tls(context: &Context) -> Result<ClientTlsConfig, Failure> {
    let Some(ca) = &context.ca else {
        return Err(Failure::usage(
            "https:// needs --ca FILE: the certificate of the fleet's authority",
            "`secbeat-orchestrator ca init` writes it; `secbeat login --ca FILE` remembers it",
        ));
    };
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem(ca)?));
    match (&context.cert, &context.key) {
        (Some(cert), Some(key)) => config = config.identity(Identity::from_pem(pem(cert)?, pem(key)?)),
        (None, None) => {}
        _ => return Err(Failure::usage("--cert and --key belong together", "give both")),
    }
    Ok(config)
}

fn pem(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| Failure::usage(format!("{}: {why}", path.display()), "give a PEM file");
    let meta = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if meta.len() > PEM_BYTES_MAX {
        return Err(failed(format!("{} bytes are more than the {PEM_BYTES_MAX} allowed", meta.len())));
    }
    let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
    if !bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        return Err(failed("there is no PEM block in it".to_owned()));
    }
    Ok(bytes)
}

/// Puts the token on every call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    fn new(token: Option<&str>) -> Result<Self, Failure> {
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(Self(None)) };
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
            .parse()
            .map_err(|_| Failure::usage("the token has characters that no token has", "copy it again"))?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// The transport of every service.
pub(crate) type Wire = InterceptedService<Channel, Bearer>;

/// A connected orchestrator.
#[derive(Clone)]
pub(crate) struct Client {
    service: Wire,
    pub(crate) server: String,
    shows_no_certificate: bool,
    request_id: String,
    timeout: Duration,
}

impl Client {
    pub(crate) fn policy(&self) -> PolicyServiceClient<Wire> {
        PolicyServiceClient::new(self.service.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    pub(crate) fn fleet(&self) -> FleetServiceClient<Wire> {
        FleetServiceClient::new(self.service.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    pub(crate) fn bans(&self) -> BanServiceClient<Wire> {
        BanServiceClient::new(self.service.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    pub(crate) fn events(&self) -> EventServiceClient<Wire> {
        EventServiceClient::new(self.service.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    pub(crate) fn access(&self) -> AccessServiceClient<Wire> {
        AccessServiceClient::new(self.service.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Waits for the answer to a question.
    pub(crate) async fn ask<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        self.ask_for(what, self.timeout, call).await
    }

    /// Waits at most this long, for calls in which the server waits for nodes.
    pub(crate) async fn ask_for<T>(
        &self,
        what: &str,
        timeout: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(timeout, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) if self.lacks_certificate(&status).await => Err(certificate_wanted(&self.server)),
            Ok(Err(status)) => Err(self.failure(&status, what)),
            Err(_) => Err(self.failure(&Status::deadline_exceeded(""), what)),
        }
    }

    /// Like `ask`, for a change: after a lost answer the hint says how to repeat it without doing it twice.
    pub(crate) async fn change<T>(
        &self,
        what: &str,
        wait: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        self.ask_for(what, self.timeout.saturating_add(wait), call).await.map_err(|mut failure| {
            if failure.exit == Exit::Unreachable {
                failure.hint = format!(
                    "{}; to repeat it without doing it twice: --request-id {}",
                    failure.hint, self.request_id
                );
            }
            failure
        })
    }

    /// Whether a closed connection means that a certificate is wanted. TLS 1.3 refuses a client only after the
    /// handshake, and the reason can be lost with the connection: a second one that ends the same way tells it from a
    /// server that went away.
    async fn lacks_certificate(&self, status: &Status) -> bool {
        if !self.shows_no_certificate || !is_closed(status) {
            return false;
        }
        let mut probe = self.fleet();
        let answer = probe.get_server_info(GetServerInfoRequest {});
        matches!(tokio::time::timeout(self.timeout, answer).await, Ok(Err(again)) if is_closed(&again))
    }

    pub(crate) fn failure(&self, status: &Status, what: &str) -> Failure {
        Failure::of_status(status, what, &self.server)
    }
}

/// `node-1: filter-set/edge: why`.
pub(crate) fn rejection_lines(rejections: &[NodeRejection]) -> Vec<String> {
    let line = |rejection: &NodeRejection| {
        format!("{}: {}: {}", rejection.node_id, word::key(rejection.key.as_ref()), rejection.error)
    };
    rejections.iter().take(REJECTIONS_MAX).map(line).collect()
}

/// An absolute form of a path that is stored for later commands, which run in other folders.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unencrypted_networks_are_warned_of() {
        assert_eq!(plain_host("http://10.0.0.1:9443"), Some("10.0.0.1"));
        for safe in ["http://127.0.0.1:9443", "http://localhost:1", "http://[::1]:1", "https://10.0.0.1:1"] {
            assert_eq!(plain_host(safe), None, "{safe}");
        }
    }

    #[test]
    fn tls_without_an_authority_says_what_to_give() {
        let context = Context { server: "https://h:1".into(), ..Context::default() };
        let failure = endpoint(&context, TIMEOUT_DEFAULT).err().unwrap();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.what.contains("--ca"));
    }
}
