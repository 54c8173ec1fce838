//! Source ports towards backends: this worker's slice, used in turn.
//!
//! Owns: which port of the slice is taken, per backend and source address. Does not own: the flows that hold them.
//! Ports are handed out in rising order and start over at the end, so a port rests as long as the slice allows
//! before it is used again: the backend's TIME-WAIT on the old connection has usually passed.
//! Cost: 1 bit per port, backend and address; taking one looks at 64 ports at a time.

use crate::splice::target::SOURCE_ADDRS_MAX;
use crate::splice::{BackendId, PortRange};

/// The port maps of all backends.
#[derive(Debug)]
pub(crate) struct Ports {
    range: PortRange,
    words_per_map: usize,
    /// One bit per port, set while taken; `words_per_map` words per backend and address.
    taken: Box<[u64]>,
    /// Per map: the offset at which the next search starts.
    cursors: Box<[u16]>,
}

/// A taken port; give it back with [`Ports::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortLease {
    pub(crate) port: u16,
    /// Index of the source address of the backend.
    pub(crate) addr: u8,
}

impl Ports {
    pub(crate) fn new(range: PortRange, backends_max: u16) -> Self {
        let maps = usize::from(backends_max) * SOURCE_ADDRS_MAX;
        let words_per_map = range.count().div_ceil(64);
        Self {
            range,
            words_per_map,
            taken: vec![0; maps * words_per_map].into_boxed_slice(),
            cursors: vec![0; maps].into_boxed_slice(),
        }
    }

    fn map(backend: BackendId, addr: u8) -> usize {
        usize::from(backend.0) * SOURCE_ADDRS_MAX + usize::from(addr)
    }

    /// Takes the next free port; `None` when all are taken or the backend has no map.
    pub(crate) fn take(&mut self, backend: BackendId, addr: u8) -> Option<PortLease> {
        let map = Self::map(backend, addr);
        let start = usize::from(*self.cursors.get(map)?);
        let words = self.taken.get_mut(map * self.words_per_map..(map + 1) * self.words_per_map)?;
        let count = self.range.count();
        let offset = free_from(words, start, count).or_else(|| free_from(words, 0, start))?;
        words[offset / 64] |= 1 << (offset % 64);
        self.cursors[map] = ((offset + 1) % count) as u16;
        Some(PortLease { port: self.range.first + offset as u16, addr })
    }

    /// Gives a port back.
    pub(crate) fn release(&mut self, backend: BackendId, lease: PortLease) {
        let base = Self::map(backend, lease.addr) * self.words_per_map;
        let offset = usize::from(lease.port.wrapping_sub(self.range.first));
        if offset < self.range.count()
            && let Some(word) = self.taken.get_mut(base + offset / 64)
        {
            *word &= !(1 << (offset % 64));
        }
    }

    /// The port at which the next search for this backend and address starts: the one that rested longest.
    pub(crate) fn oldest(&self, backend: BackendId, addr: u8) -> Option<u16> {
        self.cursors.get(Self::map(backend, addr)).map(|cursor| self.range.first + cursor)
    }

    /// The port after `port`, starting over at the end of the slice.
    pub(crate) fn after(&self, port: u16) -> u16 {
        if port >= self.range.last { self.range.first } else { port + 1 }
    }

    /// Ports taken, over all backends. For tests and fuzzing.
    pub(crate) fn taken_count(&self) -> usize {
        self.taken.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// The first clear bit in `from..to`.
fn free_from(words: &[u64], from: usize, to: usize) -> Option<usize> {
    let mut at = from;
    while at < to {
        let clear = !words[at / 64] >> (at % 64);
        if clear != 0 {
            let free = at + clear.trailing_zeros() as usize;
            return (free < to).then_some(free);
        }
        at = (at / 64 + 1) * 64;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(first: u16, last: u16) -> Ports {
        Ports::new(PortRange { first, last }, 2)
    }

    fn take(ports: &mut Ports) -> Option<u16> {
        ports.take(BackendId(0), 0).map(|lease| lease.port)
    }

    #[test]
    fn port_rests_until_the_slice_was_used_once() {
        let mut ports = ports(1000, 1199);
        for expected in 1000..1200 {
            assert_eq!(take(&mut ports), Some(expected));
            ports.release(BackendId(0), PortLease { port: expected, addr: 0 });
        }
        assert_eq!(take(&mut ports), Some(1000));
    }

    #[test]
    fn every_port_is_found_when_it_is_the_last_free_one() {
        let mut ports = ports(1000, 1199);
        while take(&mut ports).is_some() {}
        assert_eq!(ports.taken_count(), 200);
        for port in [1000, 1063, 1064, 1127, 1128, 1199] {
            ports.release(BackendId(0), PortLease { port, addr: 0 });
            assert_eq!(take(&mut ports), Some(port));
            assert_eq!(take(&mut ports), None);
        }
    }

    #[test]
    fn backends_and_addresses_have_their_own_ports() {
        let mut ports = ports(65_535, 65_535);
        assert_eq!(take(&mut ports), Some(65_535));
        assert_eq!(take(&mut ports), None);
        assert!(ports.take(BackendId(0), 1).is_some());
        assert!(ports.take(BackendId(1), 0).is_some());
        assert_eq!(ports.take(BackendId(2), 0), None, "no such backend");
        assert_eq!(ports.after(65_535), 65_535);
    }
}
