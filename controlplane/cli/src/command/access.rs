//! `secbeat audit` and `secbeat token`: who did what, and who may.
//!
//! Owns: the audit log as a list, its verification, tokens. A new token is on stdout once, and nowhere else.

use std::time::Duration;

use clap::Subcommand;
use secbeat_proto::v1::{
    AuditEntry, CreateTokenRequest, ListAuditRequest, ListTokensRequest, RevokeTokenRequest, TokenInfo,
    VerifyAuditRequest,
};
use serde_json::{Value, json};

use crate::args::{Newest, ms, next_page, parse_time};
use crate::client::{App, Client};
use crate::exit::{Exit, Failure};
use crate::output::sheet::{Sheet, column, plain, wide};
use crate::output::text::{hex, now_ms, or_dash, relative};
use crate::output::{Format, Tone};

/// What a token may be good for.
const SCOPES: [&str; 8] =
    ["read", "policy:write", "ban:write", "event:write", "fleet:write", "audit:read", "join", "admin"];

/// What is done with the audit log.
#[derive(Subcommand)]
pub(crate) enum AuditVerb {
    /// Entries, the newest first
    Log {
        /// By this principal
        #[arg(long)]
        actor: Option<String>,
        /// policy.apply, ban.add, token.create, ...
        #[arg(long)]
        action: Option<String>,
        /// Since then: 1h, 7d, or RFC 3339
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        since: Option<u64>,
        #[command(flatten)]
        newest: Newest,
    },
    /// Compute the chain of hashes anew; exit code 8 when it is broken
    Verify,
}

/// What is done with tokens.
#[derive(Subcommand)]
pub(crate) enum TokenVerb {
    /// A new token, shown once
    Create {
        /// Whose it is
        name: String,
        /// What it is good for; may be repeated
        #[arg(long, required = true, value_delimiter = ',', value_parser = SCOPES)]
        scope: Vec<String>,
        /// How long [default: the longest that the configuration allows]
        #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
        lifetime: Option<Duration>,
    },
    /// All tokens, without what opens anything
    List,
    /// End a token now
    Revoke {
        /// As in `token list`
        #[arg(value_name = "ID")]
        token_id: String,
    },
}

const AUDIT: Sheet<AuditEntry> = Sheet {
    columns: &[
        column("NUMBER", |entry, _| plain(entry.number)),
        column("WHEN", |entry, show| plain(show.past(entry.at_ms))),
        column("ACTOR", |entry, _| plain(or_dash(&entry.actor))),
        column("ACTION", |entry, _| plain(&entry.action)),
        column("TARGET", |entry, _| plain(or_dash(&entry.target))),
        column("OUTCOME", |entry, _| {
            (entry.outcome.clone(), if entry.outcome == "ok" { Tone::Good } else { Tone::Bad })
        }),
        column("REASON", |entry, _| plain(or_dash(&entry.reason))),
        wide("SOURCE", |entry, _| plain(or_dash(&entry.source))),
        wide("REQUEST", |entry, _| plain(or_dash(&entry.request_id))),
        wide("BEFORE", |entry, _| plain(or_dash(&entry.before))),
        wide("AFTER", |entry, _| plain(or_dash(&entry.after))),
    ],
    json: |entry| {
        json!({
            "number": entry.number,
            "at_ms": entry.at_ms,
            "actor": entry.actor,
            "source": entry.source,
            "action": entry.action,
            "target": entry.target,
            "reason": entry.reason,
            "request_id": entry.request_id,
            "outcome": entry.outcome,
            "before": embedded(&entry.before),
            "after": embedded(&entry.after),
            "previous_hash": hex(&entry.previous_hash),
            "hash": hex(&entry.hash),
        })
    },
    name: |entry| entry.number.to_string(),
};

const TOKENS: Sheet<TokenInfo> = Sheet {
    columns: &[
        column("ID", |token, _| plain(&token.token_id)),
        column("NAME", |token, _| plain(&token.name)),
        column("SCOPES", |token, _| plain(token.scopes.join(","))),
        column("STATE", |token, show| state(token, show.now_ms)),
        column("USED", |token, show| plain(show.time(token.last_used_ms).replace("never", "-"))),
        column("CREATED", |token, show| plain(show.past(token.created_ms))),
        wide("ENDS", |token, show| plain(show.end(token.expires_ms))),
        wide("BY", |token, _| plain(or_dash(&token.created_by))),
    ],
    json: json_token,
    name: |token| token.token_id.clone(),
};

/// JSON inside a text as JSON; what was cut stays a text.
fn embedded(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn state(token: &TokenInfo, now_ms: u64) -> (String, Tone) {
    match token.expires_ms {
        _ if token.is_revoked => ("revoked".to_owned(), Tone::Dim),
        0 => ("valid".to_owned(), Tone::Good),
        at_ms if at_ms <= now_ms => (format!("ended {}", relative(at_ms, now_ms)), Tone::Dim),
        at_ms => (format!("ends {}", relative(at_ms, now_ms)), Tone::Good),
    }
}

fn json_token(token: &TokenInfo) -> Value {
    json!({
        "token_id": token.token_id,
        "name": token.name,
        "scopes": token.scopes,
        "created_ms": token.created_ms,
        "expires_ms": token.expires_ms,
        "last_used_ms": token.last_used_ms,
        "is_revoked": token.is_revoked,
        "created_by": token.created_by,
    })
}

pub(crate) async fn audit(app: &App, verb: AuditVerb) -> Result<Exit, Failure> {
    let client = app.connect().await?;
    match verb {
        AuditVerb::Log { actor, action, since, newest } => {
            let request = ListAuditRequest {
                page_size: 0,
                before_number: 0,
                actor: actor.unwrap_or_default(),
                action: action.unwrap_or_default(),
                since_ms: since.unwrap_or(0),
            };
            log(app, &client, request, newest.limit).await
        }
        AuditVerb::Verify => verify(app, &client).await,
    }
}

async fn log(app: &App, client: &Client, wanted: ListAuditRequest, limit: usize) -> Result<Exit, Failure> {
    let mut entries: Vec<AuditEntry> = Vec::new();
    let mut before_number = 0;
    let mut has_more = false;
    while let Some(page_size) = next_page(limit, entries.len()) {
        let request = ListAuditRequest { page_size, before_number, ..wanted.clone() };
        let answer = client.ask("audit log", client.access().list_audit(request)).await?;
        let is_stuck = answer.entries.is_empty() || answer.next_before_number == before_number;
        entries.extend(answer.entries);
        before_number = answer.next_before_number;
        has_more = before_number != 0 && !is_stuck;
        if !has_more {
            break;
        }
    }
    AUDIT.list(&app.output, &entries, "entries")?;
    if has_more && app.output.is_for_people() {
        app.output.note(&format!("there are more than these {}: --limit 0 shows all", entries.len()));
    }
    Ok(Exit::Done)
}

async fn verify(app: &App, client: &Client) -> Result<Exit, Failure> {
    let answer = client.ask("audit verify", client.access().verify_audit(VerifyAuditRequest {})).await?;
    let head = hex(&answer.head_hash);
    if app.output.is_for_people() {
        if answer.is_intact {
            app.output.line(&format!("intact: {} entries, head {head}", answer.entries))?;
        }
    } else {
        let value = json!({
            "is_intact": answer.is_intact,
            "entries": answer.entries,
            "broken_at": answer.broken_at,
            "head_hash": head,
        });
        app.output.value(&value, &head)?;
    }
    if answer.is_intact {
        return Ok(Exit::Done);
    }
    let what = format!("the audit log is broken at entry {} of {}", answer.broken_at, answer.entries);
    Err(Failure::new(Exit::Invalid, what, "someone or something changed the store: compare with a backup"))
}

pub(crate) async fn token(app: &App, verb: TokenVerb) -> Result<Exit, Failure> {
    let client = app.connect().await?;
    match verb {
        TokenVerb::Create { name, scope, lifetime } => {
            let request = CreateTokenRequest {
                mutation: Some(app.mutation()),
                name,
                scopes: scope,
                lifetime_ms: ms(lifetime),
            };
            create(app, &client, request).await
        }
        TokenVerb::List => {
            let answer = client.ask("token list", client.access().list_tokens(ListTokensRequest {})).await?;
            TOKENS.list(&app.output, &answer.tokens, "tokens")?;
            Ok(Exit::Done)
        }
        TokenVerb::Revoke { token_id } => revoke(app, &client, token_id).await,
    }
}

async fn create(app: &App, client: &Client, request: CreateTokenRequest) -> Result<Exit, Failure> {
    let mut call = client.access();
    let answer = client.change("token create", Duration::ZERO, call.create_token(request)).await?;
    app.note_dry_run();
    let info = answer.info.unwrap_or_default();
    if app.output.is_for_people() {
        let ends = if info.expires_ms == 0 { "never ends".to_owned() } else { state(&info, now_ms()).0 };
        app.output
            .note(&format!("token {} of {}, {ends}; it is shown only this once:", info.token_id, info.name));
    }
    let mut value = json_token(&info);
    value["token"] = answer.token.clone().into();
    app.output.value(&value, &answer.token)?;
    Ok(Exit::Done)
}

async fn revoke(app: &App, client: &Client, token_id: String) -> Result<Exit, Failure> {
    if !app.is_dry_run {
        app.output.confirm(&format!("end token {token_id} now?")).await?;
    }
    let request = RevokeTokenRequest { mutation: Some(app.mutation()), token_id };
    let mut call = client.access();
    let answer = client.change("token revoke", Duration::ZERO, call.revoke_token(request)).await?;
    app.note_dry_run();
    let info = answer.info.unwrap_or_default();
    match app.output.format {
        Format::Table | Format::Wide => app.output.line(&format!("{} revoked", info.token_id))?,
        _ => app.output.value(&json_token(&info), &info.token_id)?,
    }
    Ok(Exit::Done)
}
