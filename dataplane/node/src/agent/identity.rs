//! Who the node is: its number, its key and its certificate, as kept in the state directory.
//!
//! Owns: the files `node-id` (a UUID made once), `identity.pem` (key and certificate chain in one, so that they
//! cannot part) and `authority.pem`, and when a certificate is due for renewal. Does not own: asking for one
//! (`connect`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;
use x509_parser::pem::Pem;

use super::file;

/// Name of the agent's directory in the state directory.
pub const DIRECTORY: &str = "agent";

const NODE_ID: &str = "node-id";
const IDENTITY: &str = "identity.pem";
const AUTHORITY: &str = "authority.pem";

/// Where the agent's files are.
pub fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join(DIRECTORY)
}

/// The node's UUID: the one kept in `directory`, or a new one.
///
/// # Errors
/// When it can neither be read nor kept: a node that is another one after every restart must not join a fleet.
pub fn node_id(directory: &Path) -> io::Result<Uuid> {
    let path = directory.join(NODE_ID);
    if let Some(text) = file::read(&path)? {
        return text.trim().parse().map_err(|error| {
            io::Error::other(format!("{} holds no UUID ({error}); mend or remove it", path.display()))
        });
    }
    let id = Uuid::new_v4();
    file::write(&path, format!("{id}\n").as_bytes(), 0o644)?;
    Ok(id)
}

/// A certificate with its key.
#[derive(Clone)]
pub(super) struct Identity {
    /// PEM, the node's certificate first.
    pub(super) chain: String,
    /// PEM, PKCS #8.
    pub(super) key: String,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Identity").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Identity {
    /// From a key and a chain, both PEM.
    pub(super) fn new(key: String, chain: String) -> Result<Self, String> {
        let first = Pem::iter_from_buffer(chain.as_bytes())
            .next()
            .ok_or("no certificate in it")?
            .map_err(|error| error.to_string())?;
        let certificate = first.parse_x509().map_err(|error| error.to_string())?;
        let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let validity = certificate.validity();
        let not_before = time(validity.not_before.timestamp());
        let not_after = time(validity.not_after.timestamp());
        Ok(Self { chain, key, not_before, not_after })
    }

    /// When to ask for the next one: after two thirds of its life.
    pub(super) fn renew_at(&self) -> SystemTime {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.not_before + life * 2 / 3
    }

    pub(super) fn is_over(&self, now: SystemTime) -> bool {
        self.not_after <= now
    }
}

/// The identity kept in `directory`; `None` when there is none yet.
pub(super) fn load(directory: &Path) -> Result<Option<Identity>, String> {
    let path = directory.join(IDENTITY);
    let wrong = |error: String| format!("{}: {error}; remove it to enrol again", path.display());
    let Some(text) = file::read(&path).map_err(|error| wrong(error.to_string()))? else {
        return Ok(None);
    };
    let begins = text.find("-----BEGIN CERTIFICATE-----");
    let (key, chain) = text.split_at(begins.ok_or_else(|| wrong("no certificate in it".into()))?);
    Identity::new(key.to_owned(), chain.to_owned()).map(Some).map_err(wrong)
}

/// Keeps an identity, and the authority that came with it.
pub(super) fn save(directory: &Path, identity: &Identity, authority: &str) -> io::Result<()> {
    if !authority.trim().is_empty() {
        file::write(&directory.join(AUTHORITY), authority.as_bytes(), 0o644)?;
    }
    let both = format!("{}\n{}", identity.key.trim_end(), identity.chain);
    file::write(&directory.join(IDENTITY), both.as_bytes(), 0o600)
}

/// The authorities that an orchestrator's certificate may be of: the configured one and the one that came with the
/// node's own certificate. Both, so that an authority can be exchanged.
pub(super) fn authorities(directory: &Path, configured: Option<&Path>) -> Result<String, String> {
    let mut all = String::new();
    if let Some(path) = configured {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("[orchestrator] ca_path {}: {error}", path.display()))?;
        all.push_str(&text);
        all.push('\n');
    }
    let kept = directory.join(AUTHORITY);
    if let Some(text) = file::read(&kept).map_err(|error| format!("{}: {error}", kept.display()))? {
        all.push_str(&text);
    }
    if all.trim().is_empty() {
        return Err("no authority is known: set [orchestrator] ca_path to the file that \
                    `secbeat-orchestrator ca init` wrote"
            .to_owned());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_keeps_its_number_and_refuses_a_damaged_one() {
        let dir = tempfile::tempdir().unwrap();
        let first = node_id(dir.path()).unwrap();
        assert_eq!(node_id(dir.path()).unwrap(), first);
        fs::write(dir.path().join(NODE_ID), "not a number").unwrap();
        assert!(node_id(dir.path()).unwrap_err().to_string().contains("mend or remove it"));
    }

    #[test]
    fn certificate_is_due_after_two_thirds_of_its_life_and_survives_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["node".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2030, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 31);
        let chain = params.self_signed(&key).unwrap().pem();
        let identity = Identity::new(key.serialize_pem(), chain).unwrap();
        assert_eq!(identity.renew_at() - Duration::from_secs(20 * 86_400), identity.not_before);
        save(dir.path(), &identity, "authority\n").unwrap();
        let again = load(dir.path()).unwrap().unwrap();
        assert_eq!((again.chain.trim(), again.not_after), (identity.chain.trim(), identity.not_after));
        assert_eq!(authorities(dir.path(), None).unwrap(), "authority\n");
        fs::write(dir.path().join(IDENTITY), "nothing").unwrap();
        assert!(load(dir.path()).unwrap_err().contains("enrol again"));
    }
}
