//! Working inside a network namespace, and reading what its interfaces count.
//!
//! A namespace belongs to a thread: [`inside`] starts one, enters, runs the work there and comes back with the
//! result. Sockets opened inside stay in the namespace wherever they are used afterwards.

use std::collections::BTreeMap;
use std::fs::{self, File};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

/// Where `ip netns` keeps its namespaces.
const NETNS_FOLDER: &str = "/run/netns";

/// Whether a named network namespace exists.
pub(crate) fn exists(netns: &str) -> bool {
    std::path::Path::new(NETNS_FOLDER).join(netns).exists()
}

/// Moves the calling thread into a namespace for good.
pub(crate) fn enter(netns: &str) -> Result<()> {
    let file = File::open(format!("{NETNS_FOLDER}/{netns}"))
        .with_context(|| format!("no network namespace `{netns}`: is the lab up?"))?;
    setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter `{netns}` (needs root)"))
}

/// Runs `work` on a thread of its own inside `netns` and returns its result.
pub(crate) fn inside<T: Send>(netns: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                enter(netns)?;
                work()
            })
            .join()
            .map_err(|_| anyhow!("the thread inside `{netns}` panicked"))?
    })
}

/// What an interface has counted since it exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Counters {
    /// Packets that came in.
    pub(crate) rx_packets: u64,
    /// Packets lost on the way in.
    pub(crate) rx_dropped: u64,
    /// Packets that went out.
    pub(crate) tx_packets: u64,
    /// Packets lost on the way out.
    pub(crate) tx_dropped: u64,
}

/// Counters of all interfaces of `netns`, by name.
pub(crate) fn counters(netns: &str) -> Result<BTreeMap<String, Counters>> {
    // `/proc/net` follows the process's first thread; only `thread-self` follows the thread's namespace.
    let text = inside(netns, || Ok(fs::read_to_string("/proc/thread-self/net/dev")?))?;
    Ok(parse_counters(&text))
}

fn parse_counters(text: &str) -> BTreeMap<String, Counters> {
    let mut interfaces = BTreeMap::new();
    for line in text.lines().skip(2) {
        let Some((name, numbers)) = line.split_once(':') else { continue };
        let fields: Vec<u64> = numbers.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if let [_, rx_packets, _, rx_dropped, _, _, _, _, _, tx_packets, _, tx_dropped, ..] = fields[..] {
            let counted = Counters { rx_packets, rx_dropped, tx_packets, tx_dropped };
            interfaces.insert(name.trim().to_owned(), counted);
        }
    }
    interfaces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_from_the_kernels_table() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n  \
            att0: 1000 10 0 1 0 0 0 0 2000 20 0 2 0 0 0 0\n";
        let all = parse_counters(text);
        let want = Counters { rx_packets: 10, rx_dropped: 1, tx_packets: 20, tx_dropped: 2 };
        assert_eq!(all["att0"], want);
    }
}
