//! The node's secret and the keys made from it.
//!
//! Owns: where the secret comes from (configuration, else drawn once and kept in the state directory, mode 0600)
//! and the keys of tables and sequence numbers. Does not own: cookie keys by epoch (`net::syncookie::keys`), which
//! follow from the same secret.
//!
//! A restarted node must accept handshakes in flight, and the nodes of a fleet each other's cookies; so all keys
//! are a function of the secret alone (and, for cookies, of the wall clock).

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use secbeat_config::Secret;
use secbeat_net::flow::HashKey;
use secbeat_net::siphash::hash24;
use secbeat_net::syncookie::KeySchedule;

/// Name of the file in the state directory.
pub const FILE_NAME: &str = "secret";

/// Bytes of a drawn secret.
const SECRET_BYTES: usize = 32;

/// What a derived key is for. One purpose never sees another's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Initial sequence numbers towards backends, and of half-open connections.
    SequenceNumber = 2,
    /// Places in tables.
    Table = 3,
    /// Which backend a flow gets: the same on every node of a fleet.
    Balance = 4,
    /// Session tickets of TLS: the same on every node of a fleet.
    Ticket = 5,
}

/// The node's secret, ready to derive keys from.
#[derive(Clone, Copy, Debug)]
pub struct Master {
    key: HashKey,
    cookies: KeySchedule,
}

impl Master {
    /// Takes the configured secret, else the one kept in `state_dir`, else draws one and keeps it.
    ///
    /// # Errors
    /// When none is configured and the state directory cannot be used, or the kernel gives no random bytes.
    pub fn load(configured: Option<&Secret>, state_dir: &Path) -> io::Result<Self> {
        if let Some(secret) = configured {
            return Self::from_bytes(secret.expose()).ok_or_else(too_short);
        }
        let path = state_dir.join(FILE_NAME);
        match fs::read(&path) {
            Ok(bytes) if bytes.len() >= SECRET_BYTES => {
                return Self::from_bytes(&bytes).ok_or_else(too_short);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let drawn = random_bytes()?;
        keep(&path, &drawn)?;
        Self::from_bytes(&drawn).ok_or_else(too_short)
    }

    /// A secret of this process alone, when nothing can be kept.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub fn draw() -> io::Result<Self> {
        Self::from_bytes(&random_bytes()?).ok_or_else(too_short)
    }

    /// Keys from a secret; `None` when it is too short to be one.
    pub fn from_bytes(secret: &[u8]) -> Option<Self> {
        let cookies = KeySchedule::from_secret(secret)?;
        Some(Self { key: HashKey([condense(secret, 1), condense(secret, 2)]), cookies })
    }

    /// The keys of SYN cookies by epoch.
    pub fn cookies(&self) -> &KeySchedule {
        &self.cookies
    }

    /// The key for a purpose and a number (of a worker, for example).
    pub fn derive(&self, purpose: Purpose, number: u64) -> HashKey {
        let words = [purpose as u64, number];
        HashKey([hash24(&self.key, words, 0, 1), hash24(&self.key, words, 1, 1)])
    }
}

/// 64 bits of a secret of any length, by SipHash with fixed keys: it spreads the entropy that is there. Other
/// constants than the cookies', so that no table key is ever a cookie key.
fn condense(secret: &[u8], half: u64) -> u64 {
    let mut state = HashKey([0x7379_656b, half]);
    for chunk in secret.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let words = [u64::from_le_bytes(word), chunk.len() as u64];
        state = HashKey([hash24(&state, words, 0, 1), hash24(&state, words, 1, 1)]);
    }
    state.0[0]
}

fn too_short() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the cookie secret is shorter than 16 characters")
}

fn random_bytes() -> io::Result<[u8; SECRET_BYTES]> {
    let mut bytes = [0; SECRET_BYTES];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Writes beside the place and renames, so that a crash leaves the old file or the new one, never half of one.
fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn drawn_secret_is_kept_and_found_again() {
        let dir = tempfile::tempdir().expect("directory");
        let state = dir.path().join("state");
        let first = Master::load(None, &state).expect("first start");
        let second = Master::load(None, &state).expect("second start");
        assert_eq!(first.cookies(), second.cookies());
        let mode = fs::metadata(state.join(FILE_NAME)).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = Master::load(None, &dir.path().join("other")).expect("another node");
        assert_ne!(first.cookies(), other.cookies());
    }

    #[test]
    fn configured_secret_gives_the_same_keys_everywhere_and_leaves_no_file() {
        let dir = tempfile::tempdir().expect("directory");
        let secret = Secret::new("0f1e2d3c4b5a69788796a5b4c3d2e1f0");
        let one = Master::load(Some(&secret), dir.path()).expect("one");
        let two = Master::from_bytes(secret.expose()).expect("two");
        assert_eq!(one.cookies(), two.cookies());
        assert_eq!(one.derive(Purpose::Balance, 0), two.derive(Purpose::Balance, 0));
        assert!(!dir.path().join(FILE_NAME).exists());
        assert!(Master::from_bytes(b"short").is_none());
    }

    #[test]
    fn keys_differ_by_purpose_number_and_every_byte_of_the_secret() {
        let derive = |secret: &[u8], purpose, number| {
            Master::from_bytes(secret).expect("long enough").derive(purpose, number)
        };
        let keys = [
            derive(b"abcdefghijklmnop", Purpose::SequenceNumber, 0),
            derive(b"abcdefghijklmnop", Purpose::SequenceNumber, 1),
            derive(b"abcdefghijklmnop", Purpose::Table, 0),
            derive(b"abcdefghijklmnoq", Purpose::SequenceNumber, 0),
            derive(b"bbcdefghijklmnop", Purpose::SequenceNumber, 0),
            derive(b"abcdefghijklmnop\0", Purpose::SequenceNumber, 0),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "key {index}");
            assert_ne!(key.0[0], key.0[1]);
        }
    }
}
