//! `secbeat-orchestrator ca`: the built-in authority, on its own machine.
//!
//! Works on files only: also while the orchestrator runs, which reads them again on SIGHUP.

use std::path::Path;

use secbeat_config::orchestrator::OrchestratorConfig;

use crate::access::authority::{Authority, IssuedPair};
use crate::access::files;
use crate::access::token::scopes_of;
use crate::cli::{CaCommand, Exit, ExitError};
use crate::orchestrator::now_ms;

/// Carries out `ca`.
pub(super) fn run(config: &OrchestratorConfig, command: &CaCommand) -> anyhow::Result<Exit> {
    let dir = &config.server.state_dir;
    let lifetime = config.access.certificate_lifetime;
    match command {
        CaCommand::Init => {
            let authority = Authority::init(dir, lifetime, now_ms())?;
            eprintln!("the authority is in {}; nodes need this certificate:", dir.join("ca").display());
            print!("{}", authority.bundle_pem(now_ms()));
        }
        CaCommand::Show => print!("{}", open(config)?.bundle_pem(now_ms())),
        CaCommand::Rotate => {
            open(config)?.rotate(now_ms())?;
            eprintln!(
                "a new key signs from now on; the old certificate stays trusted until what it signed has ended. \
                 Send SIGHUP to a running orchestrator."
            );
        }
        CaCommand::IssueServer { names, out } => {
            let pair = open(config)?.issue_server(names, now_ms())?;
            write(&pair, names.first().map_or("server", String::as_str), out)?;
        }
        CaCommand::Issue { name, scopes, out } => {
            let scopes = scopes_of(scopes).map_err(|failure| ExitError::config(failure.to_string()))?;
            write(&open(config)?.issue_operator(name, &scopes, now_ms())?, name, out)?;
        }
    }
    Ok(Exit::Ok)
}

fn open(config: &OrchestratorConfig) -> anyhow::Result<Authority> {
    let dir = &config.server.state_dir;
    let authority = Authority::open(dir, config.access.certificate_lifetime)?;
    let missing =
        || ExitError::config(format!("there is no authority below {}: `ca init` makes one", dir.display()));
    Ok(authority.ok_or_else(missing)?)
}

/// Writes certificate and key, never over files that exist.
fn write(pair: &IssuedPair, name: &str, folder: &Path) -> anyhow::Result<()> {
    let (certificate, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
    for path in [&certificate, &key] {
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(ExitError::config(format!("{} is there already", path.display())).into());
        }
    }
    files::write_private(&key, &pair.key_pem)?;
    files::write_public(&certificate, &pair.issued.chain_pem)?;
    println!("{}\n{}", certificate.display(), key.display());
    Ok(())
}
