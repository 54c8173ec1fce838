//! Numbers for backends that outlive a policy.
//!
//! Owns: which number an address (with or without PROXY header) has. Flows keep the number of their backend, so
//! an address keeps its number over reloads and DNS changes as long as there is room. Does not own: which
//! backend a connection gets (`upstream`), the links (`net::neighbor`). Control path only.

use core::net::SocketAddr;
use std::collections::HashMap;

use secbeat_net::splice::BackendId;

/// What a number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetKey {
    /// Where the backend is.
    pub address: SocketAddr,
    /// Whether it gets a PROXY header. One backend behind two listeners may be both.
    pub proxy_protocol: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: BackendId,
    used_at: u64,
}

/// The numbers given out so far.
#[derive(Debug)]
pub struct TargetIds {
    entries: HashMap<TargetKey, Entry>,
    ids_max: u16,
}

impl TargetIds {
    /// Numbers below `ids_max`: as many as the workers took memory for.
    pub fn new(ids_max: u16) -> Self {
        Self { entries: HashMap::new(), ids_max }
    }

    /// The number of `key` for the policy of this generation. When all numbers are taken, the one that no policy
    /// has used for longest is given anew; `None` when this generation uses them all.
    pub fn assign(&mut self, key: TargetKey, generation: u64) -> Option<BackendId> {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.used_at = generation;
            return Some(entry.id);
        }
        let id = match u16::try_from(self.entries.len()).ok().filter(|&next| next < self.ids_max) {
            Some(next) => BackendId(next),
            None => {
                let oldest = self.entries.iter().filter(|(_, entry)| entry.used_at < generation);
                let key = *oldest.min_by_key(|(_, entry)| (entry.used_at, entry.id))?.0;
                self.entries.remove(&key)?.id
            }
        };
        self.entries.insert(key, Entry { id, used_at: generation });
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16) -> TargetKey {
        TargetKey { address: SocketAddr::from(([10, 0, 0, 1], port)), proxy_protocol: false }
    }

    #[test]
    fn address_keeps_its_number_and_the_longest_unused_is_given_anew() {
        let mut ids = TargetIds::new(2);
        assert_eq!(ids.assign(key(1), 1), Some(BackendId(0)));
        assert_eq!(ids.assign(TargetKey { proxy_protocol: true, ..key(1) }, 1), Some(BackendId(1)));
        assert_eq!(ids.assign(key(3), 1), None, "this generation uses both");
        assert_eq!(ids.assign(key(1), 2), Some(BackendId(0)));
        assert_eq!(ids.assign(key(3), 2), Some(BackendId(1)));
        assert_eq!(ids.assign(key(1), 3), Some(BackendId(0)));
    }
}
