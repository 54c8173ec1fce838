//! More or fewer nodes: a signed order to whoever makes machines.
//!
//! Owns: how many are wanted, the delivery: signature, retries, the number that makes a repetition harmless. Does not
//! own: making machines. Without `[actions] webhook_url` it refuses: an orchestrator cannot make machines itself.
//!
//! The receiver gets `POST` with JSON and the headers `webhook-id`, `webhook-timestamp` (seconds) and
//! `webhook-signature`: `v1=` and the HMAC-SHA256 in hexadecimal over `id.timestamp.body`. The id is the same for every
//! attempt of one order.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use secbeat_config::orchestrator::Actions;
use secbeat_proto::v1;
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use uuid::Uuid;

use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::{Orchestrator, now_ms};
use crate::registry::Phase;
use crate::service::mutation::{Record, carry_out};

/// Wait before the second attempt; doubles with each.
const BACK_OFF: Duration = Duration::from_millis(500);
/// Longest wait between attempts.
const BACK_OFF_MAX: Duration = Duration::from_secs(8);
/// Where machines keep the authorities they trust: Debian, Red Hat, SUSE, Alpine.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Bytes of the receiver's answer that are read.
const ANSWER_BYTES_MAX: u64 = 4_096;

/// One order, ready to be sent as often as need be.
#[derive(Clone, Debug)]
struct Delivery {
    url: String,
    id: String,
    timestamp: String,
    signature: String,
    body: String,
    wait: Duration,
}

/// What the receiver said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    status: u16,
    text: String,
}

/// Asks the configured webhook for more or fewer nodes.
///
/// # Errors
/// [`Failure::Refused`] without a webhook, or when it refuses; [`Failure::Unavailable`] when it does not answer.
pub async fn scale(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::ScaleRequest,
) -> Result<v1::ScaleResponse, Failure> {
    caller.require(Scope::FleetWrite)?;
    let mutation = request.mutation.clone().unwrap_or_default();
    let change = async {
        let node = match request.node_id.as_str() {
            "" => None,
            name => Some(o.registry.find(name)?),
        };
        let now = o.registry.nodes().values().filter(|node| node.phase != Phase::Dead).count();
        let nodes_now = u32::try_from(now).unwrap_or(u32::MAX);
        let wanted = wanted(nodes_now, &request, o.config.fleet.nodes_max)?;
        let body = json!({
            "action": "scale",
            "nodes_now": nodes_now,
            "nodes_wanted": wanted,
            "node_id": node.map(|id| id.to_string()),
            "reason": mutation.reason,
            "actor": caller.name,
            "orchestrator_id": o.id.to_string(),
        });
        let delivery = Delivery::new(&o.config.actions, body.to_string(), now_ms() / 1_000)?;
        let mut response = v1::ScaleResponse {
            nodes_now,
            nodes_wanted: wanted,
            delivery_id: delivery.id.clone(),
            ..v1::ScaleResponse::default()
        };
        let record = Record {
            target: node.map_or_else(|| "fleet".into(), |id| format!("node {id}")),
            before: json!({ "nodes": nodes_now }).to_string(),
            after: json!({ "nodes": wanted, "delivery_id": response.delivery_id }).to_string(),
        };
        if mutation.dry_run {
            response.message = "nothing was sent".into();
            return Ok((response, record));
        }
        let said = deliver(delivery, o.config.actions.webhook_retries).await?;
        response.status = u32::from(said.status);
        response.message = said.text;
        Ok((response, record))
    };
    carry_out(o, caller, "fleet.scale", &mutation, &request, change).await
}

fn wanted(nodes_now: u32, request: &v1::ScaleRequest, nodes_max: u32) -> Result<u32, Failure> {
    let wanted = match (request.nodes, request.delta) {
        (0, 0) => {
            return Err(Failure::Invalid("nodes: how many? Give `nodes`, or a difference in `delta`".into()));
        }
        (nodes, 0) => i64::from(nodes),
        (0, delta) => i64::from(nodes_now) + i64::from(delta),
        _ => return Err(Failure::Invalid("give either `nodes` or `delta`".into())),
    };
    let allowed = u32::try_from(wanted).ok().filter(|wanted| (1..=nodes_max).contains(wanted));
    allowed.ok_or_else(|| {
        Failure::Invalid(format!(
            "nodes: {wanted} is out of range: must be 1 to {nodes_max} (`[fleet] max_nodes`)"
        ))
    })
}

impl Delivery {
    fn new(actions: &Actions, body: String, now_s: u64) -> Result<Self, Failure> {
        let (Some(url), Some(secret)) = (&actions.webhook_url, &actions.webhook_secret) else {
            return Err(Failure::Refused(
                "no webhook is configured: set `[actions] webhook_url` and `webhook_secret` in the orchestrator's \
                 configuration to what makes and removes machines"
                    .into(),
            ));
        };
        let id = Uuid::new_v4().to_string();
        let timestamp = now_s.to_string();
        let signature = sign(secret.expose(), &id, &timestamp, &body);
        let wait = actions.webhook_timeout;
        Ok(Self { url: url.clone(), id, timestamp, signature, body, wait })
    }

    /// One attempt; blocks.
    fn attempt(&self) -> Result<Said, String> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(self.wait))
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(tls())
            .build()
            .into();
        let sent = agent
            .post(&self.url)
            .header("content-type", "application/json")
            .header("webhook-id", &self.id)
            .header("webhook-timestamp", &self.timestamp)
            .header("webhook-signature", &self.signature)
            .send(&self.body);
        let mut answer = sent.map_err(|error| error.to_string())?;
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).lossy_utf8(true).read_to_string();
        Ok(Said { status: answer.status().as_u16(), text: text.unwrap_or_default() })
    }
}

/// Certificates of receivers are checked against the machine's own authorities.
fn tls() -> ureq::tls::TlsConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = BUNDLES.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
    let roots = ureq::tls::parse_pem(&roots).filter_map(|item| match item {
        Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let roots = ureq::tls::RootCerts::new_with_certs(&roots.collect::<Vec<_>>());
    ureq::tls::TlsConfig::builder().unversioned_rustls_crypto_provider(provider).root_certs(roots).build()
}

fn sign(secret: &[u8], id: &str, timestamp: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v1={hex}")
}

/// Sends until it is taken: again after no answer, 429 and 5xx; not after a refusal.
async fn deliver(delivery: Delivery, retries: u8) -> Result<Said, Failure> {
    let mut pause = BACK_OFF;
    let mut last = String::new();
    for attempt in 0..=retries {
        if attempt > 0 {
            sleep(pause).await;
            pause = (pause * 2).min(BACK_OFF_MAX);
        }
        let one = delivery.clone();
        let said = spawn_blocking(move || one.attempt()).await;
        match said.map_err(|error| Failure::Internal(error.to_string()))? {
            Ok(said) if (200..300).contains(&said.status) => return Ok(said),
            Ok(said) if said.status == 429 || said.status >= 500 => {
                last = format!("status {}: {}", said.status, said.text);
            }
            Ok(said) => {
                return Err(Failure::Refused(format!(
                    "the webhook refused with status {}: {}",
                    said.status, said.text
                )));
            }
            Err(error) => last = error,
        }
        tracing::warn!(id = delivery.id, attempt, why = last, "a webhook was not taken");
    }
    Err(Failure::Unavailable(format!(
        "the webhook did not take it in {} attempts: {last}",
        u32::from(retries) + 1
    )))
}

#[cfg(test)]
mod tests;
