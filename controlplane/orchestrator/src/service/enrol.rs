//! Use cases of nodes' certificates: the first one against a join token, each later one against the one before.
//!
//! Owns: who gets a certificate. Does not own: what it says (`access::authority`).

use aws_lc_rs::digest::{SHA256, digest};
use secbeat_proto::v1;
use uuid::Uuid;

use super::mutation::{Record, carry_out};
use crate::access::Authority;
use crate::access::authority::AuthorityError;
use crate::access::revoked::What;
use crate::api::auth::node_of;
use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::{Orchestrator, now_ms};

/// A node's first certificate. The join token is used up by it; the same node may repeat the same request.
///
/// # Errors
/// `Denied` without a join token or with a used one, `Invalid` for the request, `Refused` for a revoked node.
pub async fn enroll(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::EnrollRequest,
) -> Result<v1::EnrollResponse, Failure> {
    caller.require(Scope::Join)?;
    let change = async {
        let node_id = Uuid::parse_str(&request.node_id)
            .map_err(|_| Failure::Invalid(format!("node_id: {:?} is no UUID", cut(&request.node_id))))?;
        let response = issue(o, node_id, &request.certificate_request)?;
        // After the request was found good, before the certificate leaves: a bad request costs no token. An
        // administrator enrols without one.
        if caller.scopes.contains(&Scope::Join) {
            let hash = digest(&SHA256, &request.certificate_request);
            let used_for = format!("{node_id} {}", crate::access::hex(hash.as_ref()));
            o.access.tokens.use_up(&caller.name, &used_for, now_ms()).await?;
        }
        Ok((response, record(node_id)))
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
    let change = async { Ok((issue(o, node_id, &request.certificate_request)?, record(node_id))) };
    carry_out(o, caller, "node.renew", &v1::Mutation::default(), &request, change).await
}

fn issue(o: &Orchestrator, node_id: Uuid, certificate_request: &[u8]) -> Result<v1::EnrollResponse, Failure> {
    let authority = authority_of(o)?;
    if o.access.revoked.entry(&What::Node(node_id)).is_some() {
        return Err(Failure::Refused(format!(
            "node {node_id} is revoked; reinstate it, or give it a new id"
        )));
    }
    let now_ms = now_ms();
    let issued = authority.issue_node(node_id, certificate_request, now_ms).map_err(|error| match error {
        AuthorityError::Request(why) => Failure::Invalid(why),
        other => Failure::Internal(other.to_string()),
    })?;
    Ok(v1::EnrollResponse {
        certificate_chain: issued.chain_pem,
        authority: authority.bundle_pem(now_ms),
        not_after_ms: issued.not_after_ms,
    })
}

fn authority_of(o: &Orchestrator) -> Result<&Authority, Failure> {
    o.access.authority.as_ref().ok_or_else(|| {
        Failure::Refused(
            "this orchestrator has no authority; make one with `secbeat-orchestrator ca init`".into(),
        )
    })
}

fn record(node_id: Uuid) -> Record {
    Record { target: format!("node/{node_id}"), ..Record::default() }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
