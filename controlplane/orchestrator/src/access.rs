//! Who is let in: tokens, the certificate authority, what was revoked.
//!
//! ```text
//! access/token.rs      bearer tokens, only their hashes kept
//! access/authority.rs  the built-in authority: signs, rotates
//! access/identity.rs   what a client certificate says
//! access/revoked.rs    nodes and certificates that are let in no more
//! access/enrolled.rs   which key each node enrolled with
//! access/kept.rs       tokens and revocations in the store
//! access/files.rs      keys on disk
//! ```
//!
//! Owns: the secrets of the control plane and what each is good for. Does not own: how a request carries them
//! (`api::auth`), what a scope allows (`caller`).

pub mod authority;
pub mod enrolled;
pub(crate) mod files;
pub mod identity;
mod kept;
pub mod revoked;
pub mod token;

use secbeat_config::orchestrator::OrchestratorConfig;

pub use authority::Authority;
pub use enrolled::Enrolled;
pub use revoked::Revoked;
pub use token::Tokens;

use crate::api::auth::Failures;
use crate::api::counters::Counters;
use crate::store::Store;

/// Longest name of a token or an operator, in bytes.
pub const NAME_BYTES_MAX: usize = 63;

/// Everything of this room.
#[derive(Debug)]
pub struct Access {
    /// Bearer tokens.
    pub tokens: Tokens,
    /// The built-in authority, when there is one.
    pub authority: Option<Authority>,
    /// What is let in no more.
    pub revoked: Revoked,
    /// Which key each node enrolled with.
    pub enrolled: Enrolled,
    /// Who failed to log in, and how often.
    pub failures: Failures,
    /// What the faces refused.
    pub counters: Counters,
}

impl Access {
    /// Reads tokens, revocations and the authority.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn open(config: &OrchestratorConfig, store: &Store) -> anyhow::Result<Self> {
        Ok(Self {
            tokens: Tokens::open(store.clone(), config.access.token_lifetime_max)?,
            authority: Authority::open(&config.server.state_dir, config.access.certificate_lifetime)?,
            revoked: Revoked::open(store.clone())?,
            enrolled: Enrolled::open(store.clone())?,
            failures: Failures::default(),
            counters: Counters::default(),
        })
    }
}

/// A name that stands in the audit log: letters, digits and `-_.@`; not one that means something else there.
pub(crate) fn check_name(name: &str) -> Result<&str, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_allowed) {
        return Err(format!("name: must be 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_`, `.` or `@`"));
    }
    if ["loopback", "internal", "node"].contains(&name) {
        return Err(format!("name: `{name}` means something else in the audit log"));
    }
    Ok(name)
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Random bytes of the system.
pub(crate) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(bytes)
}
