//! Session tickets that every node of a fleet can open (RFC 8446 §4.6.1, RFC 5077).
//!
//! ```text
//! | key name, 8 | salt, 16 | AES-256-GCM of the session under HKDF(key of the epoch, salt) | tag, 16 |
//! ```
//! Owns: keys by epoch, all of them a function of the node's secret, the trust in clients' certificates and the wall
//! clock; so nodes that share a secret need not talk, and a restart forgets nobody. Does not own: the session inside.
//! A key makes tickets for one epoch and opens them in the epochs beside it, for clocks that differ.
//!
//! The salt makes a key of its own for every ticket: with one key and random nonces a large fleet would come near
//! the number of messages that AES-GCM bears. What this costs in secrecy: who learns the node's secret can open old
//! tickets; sessions made from them still exchange keys afresh (psk_dhe_ke) in TLS 1.3.
//! Cost: about 1.5 us each way, against 90 us of a handshake.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;

/// Bytes of a key's name.
const NAME_BYTES: usize = 8;
/// Bytes of the salt: 2^64 tickets of one epoch before two are likely to meet.
const SALT_BYTES: usize = 16;
/// Bytes of the tag.
const TAG_BYTES: usize = 16;
/// Longest ticket that is looked at. With a client's certificates inside, a few kilobytes.
const TICKET_BYTES_MAX: usize = 16 << 10;

/// Makes and opens tickets.
pub(super) struct Tickets {
    root: Prk,
    rotation_secs: u64,
    clock: fn() -> u64,
    keys: ArcSwap<Keys>,
}

/// The keys of an epoch and of those beside it.
struct Keys {
    epoch: u64,
    /// Of `epoch - 1`, `epoch`, `epoch + 1`.
    keys: [Key; 3],
}

struct Key {
    name: [u8; NAME_BYTES],
    prk: Prk,
}

impl Tickets {
    /// Tickets by keys that follow from `secret`. `trust` is what sessions depend on beside it: tickets made under
    /// another one are not opened.
    pub(super) fn new(secret: &[u8; 32], trust: &[u8], rotation: Duration) -> Arc<Self> {
        Self::with_clock(secret, trust, rotation, wall_clock)
    }

    fn with_clock(secret: &[u8; 32], trust: &[u8], rotation: Duration, clock: fn() -> u64) -> Arc<Self> {
        let secret = Prk::new_less_safe(HKDF_SHA256, secret);
        let root = expand(&secret, &[b"secbeat tickets", trust], HKDF_SHA256);
        let rotation_secs = rotation.as_secs().max(1);
        let keys = Keys::new(&root, clock() / rotation_secs);
        Arc::new(Self { root, rotation_secs, clock, keys: ArcSwap::from_pointee(keys) })
    }

    /// The keys of now.
    fn current(&self) -> Arc<Keys> {
        let epoch = (self.clock)() / self.rotation_secs;
        let keys = self.keys.load_full();
        if keys.epoch == epoch {
            return keys;
        }
        // Two workers may both come here; what they make is the same.
        let keys = Arc::new(Keys::new(&self.root, epoch));
        self.keys.store(Arc::clone(&keys));
        keys
    }
}

impl Keys {
    fn new(root: &Prk, epoch: u64) -> Self {
        let epochs = [epoch.saturating_sub(1), epoch, epoch.saturating_add(1)];
        Self { epoch, keys: epochs.map(|epoch| Key::new(root, epoch)) }
    }
}

impl Key {
    fn new(root: &Prk, epoch: u64) -> Self {
        let epoch = epoch.to_be_bytes();
        let mut name = [0; NAME_BYTES];
        // Less than one hash's worth cannot fail; and a name of zeros would only be a name.
        let info: [&[u8]; 2] = [b"name", &epoch];
        if let Ok(okm) = root.expand(&info, Bytes(NAME_BYTES)) {
            let _ = okm.fill(&mut name);
        }
        Self { name, prk: expand(root, &[b"key", &epoch], HKDF_SHA256) }
    }

    /// The key of one ticket.
    fn of_ticket(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let info: [&[u8]; 2] = [b"ticket", salt];
        let okm = self.prk.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(okm)))
    }
}

/// A length of key material.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(prk: &Prk, info: &[&[u8]], algorithm: aws_lc_rs::hkdf::Algorithm) -> Prk {
    prk.expand(info, algorithm).map(Prk::from).expect("one hash's worth is far below HKDF's limit of 255")
}

fn wall_clock() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// Each key is used once, so that one nonce is enough.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    /// The shortest time that a ticket made now can be opened.
    fn lifetime(&self) -> u32 {
        u32::try_from(self.rotation_secs).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.current();
        let key = &keys.keys[1];
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt).ok()?;
        let mut sealed = plain.to_vec();
        let tag = key
            .of_ticket(&salt)?
            .seal_in_place_separate_tag(nonce(), Aad::from(key.name), &mut sealed)
            .ok()?;
        let mut ticket = Vec::with_capacity(NAME_BYTES + SALT_BYTES + sealed.len() + TAG_BYTES);
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(&salt);
        ticket.extend_from_slice(&sealed);
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (salt, sealed) = rest.split_first_chunk::<SALT_BYTES>()?;
        let keys = self.current();
        let key = keys.keys.iter().find(|key| key.name == *name)?;
        let mut opened = sealed.to_vec();
        let len = key.of_ticket(salt)?.open_in_place(nonce(), Aad::from(key.name), &mut opened).ok()?.len();
        opened.truncate(len);
        Some(opened)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("rotation_secs", &self.rotation_secs).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn tickets(secret: u8, trust: &[u8], clock: fn() -> u64) -> Arc<Tickets> {
        Tickets::with_clock(&[secret; 32], trust, HOUR, clock)
    }

    #[test]
    fn node_with_the_same_secret_opens_the_ticket() {
        let one = tickets(1, b"", || 3_600_000);
        let other = tickets(1, b"", || 3_600_000);
        let ticket = one.encrypt(b"session").expect("ticket");
        assert_eq!(other.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_ne!(one.encrypt(b"session"), Some(ticket), "a salt of its own each time");
    }

    #[test]
    fn ticket_is_opened_in_its_epoch_and_the_ones_beside_it_only() {
        let ticket = tickets(1, b"", || 10 * 3_600).encrypt(b"session").expect("ticket");
        assert!(tickets(1, b"", || 11 * 3_600 + 3_599).decrypt(&ticket).is_some(), "next epoch");
        assert!(tickets(1, b"", || 9 * 3_600).decrypt(&ticket).is_some(), "a clock that is behind");
        assert!(tickets(1, b"", || 12 * 3_600).decrypt(&ticket).is_none(), "too old");
        assert!(tickets(1, b"", || 0).decrypt(&ticket).is_none(), "from the future");
    }

    #[test]
    fn other_secret_other_trust_and_any_changed_byte_are_refused() {
        let made = tickets(1, b"trust", || 0);
        let ticket = made.encrypt(b"session").expect("ticket");
        assert!(tickets(2, b"trust", || 0).decrypt(&ticket).is_none());
        assert!(tickets(1, b"other", || 0).decrypt(&ticket).is_none());
        for index in 0..ticket.len() {
            let mut wrong = ticket.clone();
            wrong[index] ^= 1;
            assert!(made.decrypt(&wrong).is_none(), "byte {index}");
            assert!(made.decrypt(&ticket[..index]).is_none(), "{index} bytes");
        }
        assert!(made.decrypt(&vec![0; TICKET_BYTES_MAX + 1]).is_none());
    }
}
