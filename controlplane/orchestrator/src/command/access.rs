//! `secbeat-orchestrator ca` and `token`: the authority, and a first token before anybody can ask for one.
//!
//! `ca` works on files and may be used while the orchestrator runs (which reads them again on SIGHUP); `token` needs
//! the store to itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use secbeat_config::orchestrator::OrchestratorConfig;

use super::open_store;
use crate::access::authority::{Authority, IssuedPair};
use crate::access::files;
use crate::access::token::{NewToken, Tokens, scopes_of};
use crate::cli::{CaCommand, Exit, TokenCommand};
use crate::orchestrator::now_ms;

/// `ca`.
pub(super) fn authority(config: &OrchestratorConfig, command: &CaCommand) -> anyhow::Result<Exit> {
    let (dir, lifetime) = (&config.server.state_dir, config.access.certificate_lifetime);
    match command {
        CaCommand::Init => {
            let authority = Authority::init(dir, lifetime, now_ms())?;
            print!("{}", authority.bundle_pem(now_ms()));
        }
        CaCommand::Show => print!("{}", open(dir, lifetime)?.bundle_pem(now_ms())),
        CaCommand::Rotate => {
            let authority = open(dir, lifetime)?;
            authority.rotate(now_ms())?;
            print!("{}", authority.bundle_pem(now_ms()));
            eprintln!("a running orchestrator reads it on SIGHUP");
        }
        CaCommand::IssueServer { names, out } => {
            write(&open(dir, lifetime)?.issue_server(names, now_ms())?, out)?;
        }
        CaCommand::IssueOperator { name, scopes, out } => {
            let scopes = scopes_of(scopes)?;
            write(&open(dir, lifetime)?.issue_operator(name, &scopes, now_ms())?, out)?;
        }
    }
    Ok(Exit::Ok)
}

/// `token`.
pub(super) fn token(config: &OrchestratorConfig, command: &TokenCommand) -> anyhow::Result<Exit> {
    let TokenCommand::Create { name, scopes, days } = command;
    let tokens = Tokens::open(open_store(config)?, config.access.token_lifetime_max)?;
    let new = NewToken {
        name: name.clone(),
        scopes: scopes.clone(),
        lifetime_ms: days.map_or(0, |days| u64::from(days) * 86_400_000),
        created_by: "console".into(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (_, text) = runtime.block_on(tokens.create(new, false, now_ms()))?;
    println!("{text}");
    Ok(Exit::Ok)
}

fn open(dir: &Path, lifetime: Duration) -> anyhow::Result<Authority> {
    let authority = Authority::open(dir, lifetime)?;
    authority.with_context(|| format!("{}: no authority; `ca init` makes one", dir.join("ca").display()))
}

/// Writes `<out>.crt` and `<out>.key`, never over others.
fn write(pair: &IssuedPair, out: &Path) -> anyhow::Result<()> {
    let path = |ending: &str| {
        let mut path = out.as_os_str().to_owned();
        path.push(ending);
        PathBuf::from(path)
    };
    let (certificate, key) = (path(".crt"), path(".key"));
    for path in [&certificate, &key] {
        anyhow::ensure!(fs::symlink_metadata(path).is_err(), "{} is there already", path.display());
    }
    files::write_private(&key, &pair.key_pem)?;
    files::write_public(&certificate, &pair.issued.chain_pem)?;
    println!("{} {} (certificate {})", certificate.display(), key.display(), pair.issued.serial);
    Ok(())
}
