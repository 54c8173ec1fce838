//! `secbeat login` and `secbeat version`: which orchestrator is meant, and who it takes us for.
//!
//! Owns: asking the server before anything is stored. Does not own: the file (`context`).

use std::io::{IsTerminal as _, Read as _};

use secbeat_proto::v1::{GetServerInfoRequest, ServerInfo};
use serde_json::{Value, json};

use crate::client::{App, Client, absolute};
use crate::context::{self, CONTEXT_DEFAULT, Context, Contexts, SERVER_DEFAULT};
use crate::exit::{Exit, Failure};
use crate::output::sheet::{Sheet, column, pairs, plain};
use crate::output::text::{or_dash, relative, short_number};
use crate::output::{Format, Output};

/// Bytes of a token on stdin; a longer one is no token.
const TOKEN_BYTES_MAX: u64 = 4_096;

/// Arguments of `login`. Server, token, authority, certificate and name are the global options.
#[derive(clap::Args)]
#[command(after_help = "Stores --server, --token, --ca, --cert and --key under the name --context in
~/.config/secbeat/contexts.toml (mode 0600), after asking the server whether they are right.
Later commands use that of --context or SECBEAT_CONTEXT, else `default`.")]
pub(crate) struct Args {
    /// Read the token from stdin, so that no command line shows it
    #[arg(long, conflicts_with_all = ["list", "remove"])]
    token_stdin: bool,
    /// Store without asking the server
    #[arg(long)]
    no_verify: bool,
    /// Show what is stored, without tokens
    #[arg(long, conflicts_with = "remove")]
    list: bool,
    /// Forget the one named by --context
    #[arg(long)]
    remove: bool,
}

const CONTEXTS: Sheet<(String, Context)> = Sheet {
    columns: &[
        column("NAME", |(name, _), _| plain(name)),
        column("SERVER", |(_, context), _| plain(&context.server)),
        column("TOKEN", |(_, context), _| plain(if context.token.is_some() { "yes" } else { "no" })),
        column("CA", |(_, context), _| plain(file(context.ca.as_ref()))),
        column("CERT", |(_, context), _| plain(file(context.cert.as_ref()))),
    ],
    json: |(name, context)| {
        json!({
            "name": name,
            "server": context.server,
            "has_token": context.token.is_some(),
            "ca": context.ca,
            "cert": context.cert,
            "key": context.key,
        })
    },
    name: |(name, _)| name.clone(),
};

fn file(path: Option<&std::path::PathBuf>) -> String {
    path.map_or_else(|| "-".to_owned(), |path| path.display().to_string())
}

pub(crate) async fn run(app: &App, args: Args) -> Result<Exit, Failure> {
    let path = context::path()?;
    let mut contexts = Contexts::load(&path)?;
    let name = app.global.context.clone().unwrap_or_else(|| CONTEXT_DEFAULT.to_owned());
    if args.list {
        let stored: Vec<_> = contexts.contexts.into_iter().collect();
        CONTEXTS.list(&app.output, &stored, "logins")?;
        return Ok(Exit::Done);
    }
    if args.remove {
        if contexts.contexts.remove(&name).is_none() {
            let what = format!("there is no login `{name}`");
            return Err(Failure::new(Exit::NotFound, what, "`secbeat login --list` shows what there is"));
        }
        contexts.save(&path)?;
        app.output.note(&format!("`{name}` is forgotten"));
        return Ok(Exit::Done);
    }
    let context = given(app, &args)?;
    if !args.no_verify {
        let client = app.connect_to(&context).await?;
        let info = server_info(&client).await?;
        app.output.note(&format!("{} takes you for {}", context.server, or_dash(&info.principal)));
    }
    contexts.contexts.insert(name.clone(), context);
    contexts.save(&path)?;
    app.output.note(&format!("stored as `{name}` in {}", path.display()));
    Ok(Exit::Done)
}

fn given(app: &App, args: &Args) -> Result<Context, Failure> {
    let global = &app.global;
    let token = if args.token_stdin { Some(token_of_stdin()?) } else { global.token.clone() };
    Ok(Context {
        server: global.server.clone().unwrap_or_else(|| SERVER_DEFAULT.to_owned()),
        token,
        ca: global.ca.as_deref().map(absolute),
        cert: global.cert.as_deref().map(absolute),
        key: global.key.as_deref().map(absolute),
    })
}

fn token_of_stdin() -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::usage("--token-stdin on a terminal would show the token", "pipe it in: < FILE"));
    }
    let mut text = String::new();
    let read = stdin.lock().take(TOKEN_BYTES_MAX).read_to_string(&mut text);
    match read {
        Ok(_) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        _ => Err(Failure::usage("there is no token on stdin", "pipe it in: < FILE")),
    }
}

async fn server_info(client: &Client) -> Result<ServerInfo, Failure> {
    client.ask("version", client.fleet().get_server_info(GetServerInfoRequest {})).await
}

pub(crate) async fn version(app: &App, remote: bool) -> Result<Exit, Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let server = if remote {
        let client = app.connect().await?;
        Some((server_info(&client).await?, client.server))
    } else {
        None
    };
    match app.output.format {
        Format::Table | Format::Wide => {
            app.output.line(&format!("secbeat {own}"))?;
            if let Some((info, url)) = &server {
                app.output.raw(&pairs(&app.output, &rows(info, url)))?;
            }
        }
        Format::Name => app.output.line(own)?,
        _ => value(&app.output, own, server.as_ref().map(|(info, _)| info))?,
    }
    Ok(Exit::Done)
}

fn rows(info: &ServerInfo, url: &str) -> Vec<(&'static str, String)> {
    vec![
        ("orchestrator", format!("{} at {url}", info.version)),
        ("id", info.orchestrator_id.clone()),
        ("started", relative(info.started_ms, crate::output::text::now_ms())),
        ("store", format!("schema {}, {}B", info.store_schema, short_number(info.store_bytes as f64))),
        ("you are", or_dash(&info.principal).to_owned()),
        ("you may", or_dash(&info.scopes.join(", ")).to_owned()),
    ]
}

fn value(output: &Output, own: &str, server: Option<&ServerInfo>) -> Result<(), Failure> {
    let server: Option<Value> = server.map(|info| {
        json!({
            "orchestrator_id": info.orchestrator_id,
            "version": info.version,
            "started_ms": info.started_ms,
            "store_schema": info.store_schema,
            "store_bytes": info.store_bytes,
            "principal": info.principal,
            "scopes": info.scopes,
        })
    });
    output.value(&json!({ "version": own, "server": server }), own)
}
