//! `secbeat-orchestrator ca`: the built-in authority, on its own machine.
//!
//! Works on files only: also while the orchestrator runs, which reads them again on SIGHUP.

use std::path::Path;

use secbeat_config::orchestrator::OrchestratorConfig;

use crate::access::Authority;
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
        CaCommand::Issue { name, scopes, out } => {
            let scopes = scopes_of(scopes).map_err(|failure| ExitError::config(failure.to_string()))?;
            let pair = open(config)?.issue_operator(name, &scopes, now_ms())?;
            let (certificate, key) = (out.join(format!("{name}.crt")), out.join(format!("{name}.key")));
            write(&certificate, &pair.issued.chain_pem)?;
            write(&key, &pair.key_pem)?;
            println!("{}\n{}", certificate.display(), key.display());
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

/// Readable by its owner only; never over a file that exists.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| ExitError::config(format!("{}: {error}", path.display())))?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}
