//! Use cases of nodes' certificates: the first one against a join token, each later one against the one before.
//!
//! Owns: who gets a certificate. Does not own: what it says (`access::authority`).

use secbeat_proto::v1;
use uuid::Uuid;

use super::mutation::{Record, carry_out};
use crate::access::Authority;
use crate::access::authority::{AuthorityError, Issued};
use crate::access::revoked::What;
use crate::api::auth::node_of;
use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::{Orchestrator, now_ms};

/// A node's first certificate. The join token is used up by it; the same node may repeat its request with the same key.
///
/// # Errors
/// `Denied` without a join token or with a used one, `Invalid` for the request, `Refused` for a revoked node, or for an
/// id that another key holds.
pub async fn enroll(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::EnrollRequest,
) -> Result<v1::EnrollResponse, Failure> {
    caller.require(Scope::Join)?;
    let change = async {
        let node_id = Uuid::parse_str(&request.node_id)
            .map_err(|_| Failure::Invalid(format!("node_id: {:?} is no UUID", cut(&request.node_id))))?;
        let issued = sign(o, node_id, &request.certificate_request)?;
        // After the request was found good, before the certificate leaves: a bad request costs no token. An
        // administrator enrols without one, and may give an id to another key.
        if caller.scopes.contains(&Scope::Join) {
            if o.access.enrolled.is_taken(node_id, &issued.key_hash, now_ms()) {
                return Err(Failure::Refused(format!(
                    "node_id: {node_id} holds a certificate for another key; choose a new id, or let an administrator \
                     enrol it"
                )));
            }
            let used_for = format!("{node_id} {}", issued.key_hash);
            o.access.tokens.use_up(&caller.name, &used_for, now_ms()).await?;
        }
        answer(o, node_id, issued).await
    };
    carry_out(o, caller, "node.enroll", &v1::Mutation::default(), &request, change).await
}

/// A node's next certificate.
///
/// # Errors
/// `Denied` to whoever is not a node, `Invalid` for the request, `Refused` for a revoked node.
pub async fn renew(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::RenewRequest,
) -> Result<v1::EnrollResponse, Failure> {
    let node_id = node_of(caller).and_then(|id| Uuid::parse_str(id).ok());
    let node_id =
        node_id.ok_or_else(|| Failure::Denied("only a node renews its certificate, by showing it".into()))?;
    let change = async {
        let issued = sign(o, node_id, &request.certificate_request)?;
        answer(o, node_id, issued).await
    };
    carry_out(o, caller, "node.renew", &v1::Mutation::default(), &request, change).await
}

fn sign(o: &Orchestrator, node_id: Uuid, certificate_request: &[u8]) -> Result<Issued, Failure> {
    if o.access.revoked.entry(&What::Node(node_id)).is_some() {
        return Err(Failure::Refused(format!(
            "node {node_id} is revoked; reinstate it, or give it a new id"
        )));
    }
    authority_of(o)?.issue_node(node_id, certificate_request, now_ms()).map_err(|error| match error {
        AuthorityError::Request(why) => Failure::Invalid(why),
        other => Failure::Internal(other.to_string()),
    })
}

async fn answer(
    o: &Orchestrator,
    node_id: Uuid,
    issued: Issued,
) -> Result<(v1::EnrollResponse, Record), Failure> {
    o.access.enrolled.note(node_id, &issued.key_hash, issued.not_after_ms, now_ms()).await?;
    let response = v1::EnrollResponse {
        certificate_chain: issued.chain_pem,
        authority: authority_of(o)?.bundle_pem(now_ms()),
        not_after_ms: issued.not_after_ms,
    };
    let after = serde_json::json!({ "serial": issued.serial, "key_hash": issued.key_hash }).to_string();
    Ok((response, Record { target: format!("node/{node_id}"), before: String::new(), after }))
}

fn authority_of(o: &Orchestrator) -> Result<&Authority, Failure> {
    o.access.authority.as_ref().ok_or_else(|| {
        Failure::Refused(
            "this orchestrator has no authority; make one with `secbeat-orchestrator ca init`".into(),
        )
    })
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
