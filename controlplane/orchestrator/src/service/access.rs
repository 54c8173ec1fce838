//! Use cases of access: tokens, revoked certificates. The audit log's stand in `service::audit`.

use secbeat_proto::v1;

use super::mutation::{Record, carry_out};
use crate::access::revoked::{Entry, What};
use crate::access::token::{self, NewToken};
use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::{Orchestrator, now_ms};

/// Makes a token. It is in the answer to the first request only: a repetition by `request_id` is answered without,
/// because nothing keeps it.
///
/// # Errors
/// Those of [`token::Tokens::create`]; `Denied` without the scope `admin`.
pub async fn create_token(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::CreateTokenRequest,
) -> Result<v1::CreateTokenResponse, Failure> {
    caller.require(Scope::Admin)?;
    let mutation = request.mutation.clone().unwrap_or_default();
    let mut shown = String::new();
    let change = async {
        let new = NewToken {
            name: request.name.clone(),
            scopes: request.scopes.clone(),
            lifetime_ms: request.lifetime_ms,
            created_by: caller.name.clone(),
        };
        let (record, text) = o.access.tokens.create(new, mutation.dry_run, now_ms()).await?;
        shown = text;
        let audit =
            Record { target: format!("token/{}", record.name), before: String::new(), after: json(&record) };
        Ok((v1::CreateTokenResponse { info: Some(info(record)), token: String::new() }, audit))
    };
    let response = carry_out(o, caller, "token.create", &mutation, &request, change).await?;
    Ok(v1::CreateTokenResponse { token: shown, ..response })
}

/// Every token, without secrets.
///
/// # Errors
/// `Denied` without the scope `admin`.
pub async fn list_tokens(
    o: &Orchestrator,
    caller: &Caller,
    _request: v1::ListTokensRequest,
) -> Result<v1::ListTokensResponse, Failure> {
    caller.require(Scope::Admin)?;
    Ok(v1::ListTokensResponse { tokens: o.access.tokens.list().into_iter().map(info).collect() })
}

/// Ends a token.
///
/// # Errors
/// `NotFound`; `Denied` without the scope `admin`.
pub async fn revoke_token(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::RevokeTokenRequest,
) -> Result<v1::RevokeTokenResponse, Failure> {
    caller.require(Scope::Admin)?;
    let mutation = request.mutation.clone().unwrap_or_default();
    let change = async {
        let record = o.access.tokens.revoke(&request.token_id, mutation.dry_run, now_ms()).await?;
        let audit =
            Record { target: format!("token/{}", record.name), before: String::new(), after: json(&record) };
        Ok((v1::RevokeTokenResponse { info: Some(info(record)) }, audit))
    };
    carry_out(o, caller, "token.revoke", &mutation, &request, change).await
}

/// Lets a node or a certificate in no more, or again. An open stream of the node ends.
///
/// # Errors
/// `Invalid` for a target that is neither, `NotFound` for one that is not revoked; `Denied` without `admin`.
pub async fn revoke_certificate(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::RevokeCertificateRequest,
) -> Result<v1::Revocation, Failure> {
    caller.require(Scope::Admin)?;
    let mutation = request.mutation.clone().unwrap_or_default();
    let change = async {
        let what = What::parse(&request.target)?;
        let not_found = || Failure::NotFound(format!("{} is not revoked", what.key()));
        let entry = match (request.reinstate, mutation.dry_run) {
            (true, true) => o.access.revoked.entry(&what).ok_or_else(not_found)?,
            (true, false) => o.access.revoked.remove(&what).await?,
            (false, true) => Entry { key: what.key(), at_ms: now_ms(), reason: mutation.reason.clone() },
            (false, false) => o.access.revoked.add(&what, &mutation.reason, now_ms()).await?,
        };
        if let What::Node(id) = what
            && !request.reinstate
            && !mutation.dry_run
        {
            o.sessions.close(id, Failure::Denied("the node's certificate is revoked".into()));
        }
        let after = if request.reinstate { "reinstated" } else { "revoked" };
        let audit = Record { target: entry.key.clone(), before: String::new(), after: format!("{after:?}") };
        Ok((revocation(entry), audit))
    };
    carry_out(o, caller, "certificate.revoke", &mutation, &request, change).await
}

/// Everything that is revoked.
///
/// # Errors
/// `Denied` without the scope `admin`.
pub fn list_revocations(o: &Orchestrator, caller: &Caller) -> Result<Vec<v1::Revocation>, Failure> {
    caller.require(Scope::Admin)?;
    Ok(o.access.revoked.list().into_iter().map(revocation).collect())
}

fn revocation(entry: Entry) -> v1::Revocation {
    v1::Revocation { target: entry.key, revoked_ms: entry.at_ms, reason: entry.reason }
}

fn info(record: token::Record) -> v1::TokenInfo {
    v1::TokenInfo {
        is_revoked: record.revoked_ms != 0,
        token_id: record.id,
        name: record.name,
        scopes: record.scopes,
        created_ms: record.created_ms,
        expires_ms: record.expires_ms,
        last_used_ms: record.last_used_ms,
        created_by: record.created_by,
    }
}

/// What the audit log says of a token: not even its hash.
fn json(record: &token::Record) -> String {
    serde_json::json!({
        "token_id": record.id,
        "scopes": record.scopes,
        "expires_ms": record.expires_ms,
        "revoked_ms": record.revoked_ms,
    })
    .to_string()
}

#[cfg(test)]
mod tests;
