//! From a URL to a channel: TLS with the node's certificate, asking for one first if there is none.
//!
//! Owns: enrolment with a join token, renewal, pinning of the authority, time limits and sizes of the channel, and
//! what an error means to people. Does not own: files (`identity`), the stream (`session`). A certificate or token
//! that is refused never stops a node: it is an error like any other, said and tried again.

use core::net::IpAddr;
use core::time::Duration;
use std::path::Path;
use std::time::SystemTime;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use secbeat_proto::v1;
use secbeat_proto::v1::node_service_client::NodeServiceClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity, Uri};
use tonic::{Code, Request, Status};

use super::Context;
use super::identity::{self, Identity};
use crate::api::SecurityEvent;
use crate::api::events::{Class, Level};

/// Largest message in either direction, bytes. A policy of 10,000 rules is about 2.5 MB.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Bytes that may be under way before the receiver has looked at them.
const WINDOW_BYTES: u32 = 1 << 20;

/// Longest time between pings of the connection.
const PING_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// Why there is no channel.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("[orchestrator] url {url}: {why}")]
    Url { url: String, why: String },
    #[error(
        "[orchestrator] url {0} is without TLS and not on this machine: use https://, or set allow_plaintext = true \
         where the network itself is trusted"
    )]
    Plaintext(String),
    #[error(
        "the node has no certificate{0}: set [orchestrator] join_token to a token with scope `join`, or put key and \
         certificate into {1}"
    )]
    NoCertificate(&'static str, String),
    #[error("{0}")]
    Files(String),
    #[error("cannot connect to {url}: {why}")]
    Connect { url: String, why: String },
    #[error("the orchestrator gives no certificate: {0}")]
    Enroll(String),
}

/// A channel and when the certificate behind it is due.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) client: NodeServiceClient<Channel>,
    pub(super) renew_at: Option<SystemTime>,
}

/// Connects.
pub(super) async fn connect(context: &Context) -> Result<Connected, Error> {
    let settings = &context.settings;
    let uri: Uri = settings.url.parse().map_err(|error: tonic::codegen::http::uri::InvalidUri| {
        Error::Url { url: settings.url.clone(), why: error.to_string() }
    })?;
    match uri.scheme_str() {
        Some("http") if settings.allow_plaintext || is_loopback(&uri) => {
            let client = open(context, &uri, None).await?;
            Ok(Connected { client, renew_at: None })
        }
        Some("http") => Err(Error::Plaintext(settings.url.clone())),
        Some("https") => connect_securely(context, &uri).await,
        _ => Err(Error::Url { url: settings.url.clone(), why: "must start with http:// or https://".into() }),
    }
}

async fn connect_securely(context: &Context, uri: &Uri) -> Result<Connected, Error> {
    let Some(directory) = context.settings.identity_dir.as_deref() else {
        return Err(Error::Files("there is no directory for the node's certificate".into()));
    };
    let now = SystemTime::now();
    let held = identity::load(directory).map_err(Error::Files)?;
    let identity = match held {
        Some(identity) if !identity.is_over(now) => {
            if identity.renew_at() <= now {
                renew(context, uri, directory, identity).await
            } else {
                identity
            }
        }
        other => enroll(context, uri, directory, other.is_some()).await?,
    };
    let tls = tls(context, uri, directory)?.identity(TlsIdentity::from_pem(&identity.chain, &identity.key));
    let client = open(context, uri, Some(tls)).await?;
    // Not again at once when the renewal failed: the next attempt is due after half of what is left.
    let due = identity.renew_at();
    let half = identity.not_after.duration_since(now).unwrap_or_default() / 2;
    let renew_at = if due <= now { now + half.max(Duration::from_secs(60)) } else { due };
    Ok(Connected { client, renew_at: Some(renew_at) })
}

/// TLS that trusts the fleet's authority and nobody else.
fn tls(context: &Context, uri: &Uri, directory: &Path) -> Result<ClientTlsConfig, Error> {
    let authorities =
        identity::authorities(directory, context.settings.authority.as_deref()).map_err(Error::Files)?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities)).domain_name(host))
}

async fn open(
    context: &Context,
    uri: &Uri,
    tls: Option<ClientTlsConfig>,
) -> Result<NodeServiceClient<Channel>, Error> {
    let settings = &context.settings;
    let failed =
        |error: tonic::transport::Error| Error::Connect { url: settings.url.clone(), why: chain(&error) };
    let mut endpoint = Endpoint::from(uri.clone())
        .connect_timeout(settings.connect_timeout)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keep_alive_interval(settings.heartbeat_interval.min(PING_INTERVAL_MAX))
        .keep_alive_timeout(settings.heartbeat_timeout)
        .keep_alive_while_idle(true);
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls).map_err(failed)?;
    }
    // `connect_timeout` is for TCP alone; a peer that accepts and says nothing would hold TLS up for ever.
    let channel = tokio::time::timeout(settings.connect_timeout * 2, endpoint.connect())
        .await
        .map_err(|_| Error::Connect { url: settings.url.clone(), why: "no answer in time".into() })?
        .map_err(failed)?;
    Ok(NodeServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}

/// A certificate for a node that has none, or whose own is over.
async fn enroll(context: &Context, uri: &Uri, directory: &Path, was_one: bool) -> Result<Identity, Error> {
    let settings = &context.settings;
    let Some(token) = &settings.join_token else {
        let which = if was_one { " any more: its own is over" } else { "" };
        return Err(Error::NoCertificate(which, directory.display().to_string()));
    };
    let mut client = open(context, uri, Some(tls(context, uri, directory)?)).await?;
    let (key, certificate_request) = request(context)?;
    let node_id = settings.node_id.to_string();
    let mut message = Request::new(v1::EnrollRequest { node_id, certificate_request });
    message.set_timeout(settings.connect_timeout);
    let token = String::from_utf8_lossy(token.expose()).into_owned();
    let value = format!("Bearer {token}").parse();
    let value =
        value.map_err(|_| Error::Enroll("[orchestrator] join_token has characters no token has".into()))?;
    message.metadata_mut().insert("authorization", value);
    let response = client.enroll(message).await.map_err(|status| Error::Enroll(explain(&status)))?;
    let identity = keep(directory, key, response.into_inner())?;
    let event = SecurityEvent::new(Class::Policy, Level::Info, "agent", "enrolled");
    context
        .host
        .record(event.with("not_after", humantime::format_rfc3339_seconds(identity.not_after).to_string()));
    Ok(identity)
}

/// The next certificate for a node that has one. Failing to is said; the one it has still holds.
async fn renew(context: &Context, uri: &Uri, directory: &Path, identity: Identity) -> Identity {
    match try_renew(context, uri, directory, &identity).await {
        Ok(renewed) => {
            let event = SecurityEvent::new(Class::Policy, Level::Info, "agent", "certificate_renewed");
            let until = humantime::format_rfc3339_seconds(renewed.not_after).to_string();
            context.host.record(event.with("not_after", until));
            renewed
        }
        Err(error) => {
            let event = SecurityEvent::new(Class::Policy, Level::Warn, "agent", "certificate_not_renewed");
            let until = humantime::format_rfc3339_seconds(identity.not_after).to_string();
            context.host.record(event.with("error", error.to_string()).with("not_after", until));
            identity
        }
    }
}

async fn try_renew(
    context: &Context,
    uri: &Uri,
    directory: &Path,
    identity: &Identity,
) -> Result<Identity, Error> {
    let tls = tls(context, uri, directory)?.identity(TlsIdentity::from_pem(&identity.chain, &identity.key));
    let mut client = open(context, uri, Some(tls)).await?;
    let (key, certificate_request) = request(context)?;
    let mut message = Request::new(v1::RenewRequest { certificate_request });
    message.set_timeout(context.settings.connect_timeout);
    let response = client.renew(message).await.map_err(|status| Error::Enroll(explain(&status)))?;
    keep(directory, key, response.into_inner())
}

/// A new key, and the request for a certificate over it.
fn request(context: &Context) -> Result<(String, Vec<u8>), Error> {
    let failed = |error: rcgen::Error| Error::Enroll(error.to_string());
    let id = context.settings.node_id.to_string();
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(vec![id.clone()]).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, id);
    let request = params.serialize_request(&key).map_err(failed)?;
    Ok((key.serialize_pem(), request.der().to_vec()))
}

fn keep(directory: &Path, key: String, response: v1::EnrollResponse) -> Result<Identity, Error> {
    let identity = Identity::new(key, response.certificate_chain)
        .map_err(|error| Error::Enroll(format!("what it sent is no certificate: {error}")))?;
    identity::save(directory, &identity, &response.authority)
        .map_err(|error| Error::Files(format!("{}: {error}", directory.display())))?;
    Ok(identity)
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|addr| addr.is_loopback())
}

/// What an answer means and what to do.
pub(super) fn explain(status: &Status) -> String {
    let advice = match status.code() {
        Code::Unauthenticated => "; the certificate or token is not accepted: enrol the node anew",
        Code::PermissionDenied => "; the token has not the scope `join`, or the node was barred",
        Code::Unimplemented => "; is it an orchestrator, of a version that knows nodes like this one?",
        _ => "",
    };
    let message = if status.message().is_empty() { status.code().description() } else { status.message() };
    format!("{message} ({:?}){advice}", status.code())
}

/// An error and its causes.
fn chain(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        source = cause.source();
    }
    text
}
