//! `secbeat-orchestrator token`: bearer tokens without a running orchestrator, for the first one.
//!
//! The store must not be in use; a running orchestrator makes tokens over its API (`secbeat token create`).

use secbeat_config::orchestrator::OrchestratorConfig;
use secbeat_proto::v1;

use super::of_store;
use crate::caller::Caller;
use crate::cli::{Exit, TokenCommand};
use crate::orchestrator::{Orchestrator, now_ms};
use crate::service::access;
use crate::store::Store;

/// Carries out `token`, as the API would, with its rules and its audit log.
pub(super) fn run(config: OrchestratorConfig, command: &TokenCommand) -> anyhow::Result<Exit> {
    let (store, _) = Store::open(&config.server.state_dir).map_err(of_store)?;
    let o = Orchestrator::open(config, store)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(carry_out(&o, command))?;
    Ok(Exit::Ok)
}

async fn carry_out(o: &Orchestrator, command: &TokenCommand) -> anyhow::Result<()> {
    let caller = Caller::internal("command line");
    let mutation = Some(v1::Mutation { reason: "command line".into(), ..v1::Mutation::default() });
    match command {
        TokenCommand::Create { name, scopes, days } => {
            let request = v1::CreateTokenRequest {
                mutation,
                name: name.clone(),
                scopes: scopes.clone(),
                lifetime_ms: u64::from(*days) * 86_400_000,
            };
            let made = access::create_token(o, &caller, request).await?;
            eprintln!("shown once; keep it where nobody else reads it:");
            println!("{}", made.token);
        }
        TokenCommand::List => {
            let listed = access::list_tokens(o, &caller, v1::ListTokensRequest {}).await?;
            for token in listed.tokens {
                let state = match () {
                    () if token.is_revoked => "revoked",
                    () if token.expires_ms <= now_ms() => "expired",
                    () => "valid",
                };
                println!("{}  {state:<8}  {}  {}", token.token_id, token.name, token.scopes.join(","));
            }
        }
        TokenCommand::Revoke { id } => {
            let request = v1::RevokeTokenRequest { mutation, token_id: id.clone() };
            access::revoke_token(o, &caller, request).await?;
            println!("{id} is revoked");
        }
    }
    Ok(())
}
