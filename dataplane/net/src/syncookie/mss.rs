//! The maximum segment sizes that a cookie can carry: 16 per family, 4 bits.
//!
//! Chosen from what links on the way to servers have: Ethernet (1460/1440), PPPoE (1452/1432), tunnels (1436,
//! 1420, 1412), IPv6 minimum (1220), VPN and mobile (1300-1400), data centre jumbo frames (8960/8940), old defaults
//! (536, 1024). A size between two entries is rounded down, which costs the client at most a few percent of
//! its segment; one below the first entry counts as the first, so that nobody can make a server cut its answers
//! into crumbs.

use core::net::IpAddr;

/// Number of sizes per family: 4 bits of the cookie.
pub const COUNT: usize = 16;

/// Sizes for IPv4, bytes, ascending.
pub const TABLE_V4: [u16; COUNT] =
    [256, 536, 1024, 1220, 1300, 1340, 1360, 1380, 1400, 1412, 1420, 1436, 1440, 1452, 1460, 8960];

/// Sizes for IPv6, bytes, ascending.
pub const TABLE_V6: [u16; COUNT] =
    [536, 1024, 1220, 1240, 1260, 1280, 1300, 1320, 1340, 1360, 1380, 1400, 1412, 1432, 1440, 8940];

const fn table(addr: IpAddr) -> &'static [u16; COUNT] {
    match addr {
        IpAddr::V4(_) => &TABLE_V4,
        IpAddr::V6(_) => &TABLE_V6,
    }
}

/// Index of the largest size that is not above `mss`; 0 when all are.
#[inline]
pub(super) fn index(addr: IpAddr, mss: u16) -> u8 {
    // From above: nearly every client has one of the last sizes, and the loop ends after two or three steps.
    let table = table(addr);
    let mut index = COUNT - 1;
    while index > 0 && table[index] > mss {
        index -= 1;
    }
    index as u8
}

/// The size with this index.
#[inline]
pub(super) fn value(addr: IpAddr, index: u8) -> u16 {
    table(addr)[usize::from(index) % COUNT]
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn every_size_is_rounded_down_to_its_entry() {
        for addr in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            assert!(table(addr).is_sorted_by(|a, b| a < b));
            for mss in 0..=u16::MAX {
                let rounded = value(addr, index(addr, mss));
                let expected = table(addr).iter().rev().find(|size| **size <= mss);
                assert_eq!(rounded, *expected.unwrap_or(&table(addr)[0]), "mss {mss}");
            }
        }
    }
}
