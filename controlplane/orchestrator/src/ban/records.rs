//! The ban list in the store.
//!
//! Owns: keys and values of the table, loading at start. A row is one `BanEntry`; what the keeper remembers of
//! forgotten lifts is one setting, written in the same transaction as the rows that it replaces.

use core::future::Future;

use ipnet::IpNet;
use prost::Message;
use secbeat_config::ban::{Entry, Replica};
use secbeat_proto::v1;

use crate::store::{Error, Order, Store, Table};

/// Where [`Replica::forgotten_ms`] stands.
const FORGOTTEN_KEY: &[u8] = b"bans.forgotten_ms";

/// Rows to write: the entry of a prefix as it is now, or that there is none.
pub(super) type Rows = Vec<(IpNet, Option<Entry>)>;

/// What the store holds.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) entries: Vec<Entry>,
    pub(super) forgotten_ms: u64,
    /// Rows that cannot be read: left where they are, so that nothing is made worse, and without effect.
    pub(super) damaged: u64,
}

/// IPv4 before IPv6, then by address, then by length.
fn key(prefix: &IpNet) -> Vec<u8> {
    let mut key = Vec::with_capacity(18);
    match prefix {
        IpNet::V4(v4) => {
            key.push(4);
            key.extend(v4.addr().octets());
        }
        IpNet::V6(v6) => {
            key.push(6);
            key.extend(v6.addr().octets());
        }
    }
    key.push(prefix.prefix_len());
    key
}

/// Reads everything. Blocks.
pub(super) fn load(store: &Store) -> Result<Loaded, Error> {
    store.read(|reader| {
        let mut loaded = Loaded::default();
        if let Some(bytes) = reader.get(Table::Settings, FORGOTTEN_KEY)? {
            loaded.forgotten_ms = bytes.try_into().map(u64::from_be_bytes).unwrap_or_default();
        }
        for row in reader.range(Table::Bans, .., usize::MAX, Order::Up)? {
            let entry = match row {
                Ok((_, value)) => v1::BanEntry::decode(&*value).ok().and_then(|entry| entry.try_into().ok()),
                Err(Error::Corrupt { .. }) => None,
                Err(error) => return Err(error),
            };
            match entry {
                Some(entry) => loaded.entries.push(entry),
                None => loaded.damaged += 1,
            }
        }
        Ok(loaded)
    })
}

/// What is to be written after a change, as the replica is now. Called under the same lock as the change.
pub(super) fn rows(replica: &mut Replica, changed: &[Entry]) -> Rows {
    let dropped = replica.take_dropped();
    let mut prefixes: Vec<IpNet> = changed.iter().map(|entry| entry.prefix).chain(dropped).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes.into_iter().map(|prefix| (prefix, replica.get(&prefix))).collect()
}

/// Queues the rows at once, so that they are written in the order of the calls; the future says when they are on disk.
pub(super) fn write(
    store: &Store,
    rows: Rows,
    forgotten_ms: u64,
) -> impl Future<Output = Result<(), Error>> + Send + use<> {
    store.write_async(move |writer| {
        for (prefix, entry) in rows {
            match entry {
                Some(entry) => {
                    let value = v1::BanEntry::from(entry).encode_to_vec();
                    writer.put(Table::Bans, &key(&prefix), &value)?;
                }
                None => writer.remove(Table::Bans, &key(&prefix))?,
            }
        }
        if forgotten_ms > 0 {
            writer.put(Table::Settings, FORGOTTEN_KEY, &forgotten_ms.to_be_bytes())?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_prefixes() {
        let prefixes = ["10.0.0.0/8", "10.0.0.0/16", "192.0.2.0/24", "::/16", "2001:db8::/32"];
        let prefixes = prefixes.map(|prefix| prefix.parse::<IpNet>().unwrap());
        assert!(prefixes.is_sorted());
        assert!(prefixes.iter().map(key).is_sorted());
    }
}
