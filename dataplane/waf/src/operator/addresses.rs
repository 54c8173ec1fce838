//! `@ipMatch` and `@ipMatchFromFile`: the value is an address of the list.
//!
//! A list holds IPv4 and IPv6 addresses and prefixes; bits behind a prefix count for nothing. It is kept as ranges,
//! sorted and joined, so that asking costs reading the address and a binary search. An IPv4 address written in IPv6
//! (`::ffff:192.0.2.1`) is that IPv4 address, in lists and in values: another spelling gets past no list.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::{Call, OperatorError};
use crate::limits;

/// Longest address as text, bytes: `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`.
const ADDRESS_BYTES_MAX: usize = 45;

/// The compiled words: first and last address of each range, by number, apart and ascending.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Addresses {
    /// A list with commas or white space.
    pub(super) fn compile(call: &Call<'_>) -> Result<Self, OperatorError> {
        let mut list = Self::default();
        list.add(call, call.text()?)?;
        if list.v4.is_empty() && list.v6.is_empty() {
            return Err(call.wrong("no address is given"));
        }
        list.sort();
        Ok(list)
    }

    /// A file with such lists; what follows `#` is a comment.
    pub(super) fn compile_file(call: &Call<'_>) -> Result<Self, OperatorError> {
        let bytes = call.file()?;
        let mut list = Self::default();
        for line in String::from_utf8_lossy(&bytes).lines() {
            list.add(call, line.split('#').next().unwrap_or_default())?;
        }
        list.sort();
        Ok(list)
    }

    fn add(&mut self, call: &Call<'_>, text: &str) -> Result<(), OperatorError> {
        for entry in text.split([',', ' ', '\t', '\r']).filter(|entry| !entry.is_empty()) {
            let network = entry.parse::<IpNet>().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from));
            let network =
                network.map_err(|_| call.wrong(format!("{entry:?} is neither an address nor a prefix")))?;
            match canonical(network) {
                IpNet::V4(net) => self.v4.push((net.network().into(), net.broadcast().into())),
                IpNet::V6(net) => self.v6.push((net.network().into(), net.broadcast().into())),
            }
            if self.v4.len() + self.v6.len() > limits::PHRASES_MAX {
                return Err(call.wrong(format!("more than {} addresses", limits::PHRASES_MAX)));
            }
        }
        Ok(())
    }

    fn sort(&mut self) {
        join(&mut self.v4);
        join(&mut self.v6);
    }

    pub(super) fn matches(&self, value: &[u8]) -> bool {
        if value.len() > ADDRESS_BYTES_MAX {
            return false;
        }
        match std::str::from_utf8(value)
            .map(|text| text.trim_ascii().parse().map(|address: IpAddr| address.to_canonical()))
        {
            Ok(Ok(IpAddr::V4(address))) => holds(&self.v4, u32::from(address)),
            Ok(Ok(IpAddr::V6(address))) => holds(&self.v6, u128::from(address)),
            _ => false,
        }
    }
}

/// A prefix of IPv4 addresses written in IPv6, as that of IPv4.
fn canonical(network: IpNet) -> IpNet {
    /// Bits of `::ffff:0:0`.
    const MAPPED_BITS: u8 = 96;
    let IpNet::V6(net) = network else { return network };
    let mapped = net.network().to_ipv4_mapped().filter(|_| net.prefix_len() >= MAPPED_BITS);
    let net4 = mapped.and_then(|address| Ipv4Net::new(address, net.prefix_len() - MAPPED_BITS).ok());
    net4.map_or(network, IpNet::V4)
}

/// Sorts ranges and joins those that overlap.
fn join<T: Ord + Copy>(ranges: &mut Vec<(T, T)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let overlaps = next.0 <= last.1;
        if overlaps {
            last.1 = last.1.max(next.1);
        }
        overlaps
    });
}

fn holds<T: Ord + Copy>(ranges: &[(T, T)], number: T) -> bool {
    let after = ranges.partition_point(|range| range.0 <= number);
    after.checked_sub(1).and_then(|index| ranges.get(index)).is_some_and(|range| number <= range.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{
        Word,
        tests_support::{OneFile, call},
    };

    #[test]
    fn vectors() {
        let vectors = [
            ("127.0.0.1,::1", "127.0.0.1", true),
            ("127.0.0.1, ::1", "0:0::1", true),
            ("127.0.0.1,::1", "127.0.0.2", false),
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.1.2.3/8", "10.0.0.0", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("10.0.0.0/9,10.128.0.0/9,10.64.0.0/10", "10.200.0.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.0/120", "192.0.2.7", true),
            ("::/80", "::ffff:192.0.2.1", false),
            ("192.0.2.1", "192.0.2.1:80", false),
            ("192.0.2.1", "", false),
            ("192.0.2.1", "192.0.2.01", false),
        ];
        for (argument, value, expected) in vectors {
            let list = Addresses::compile(&call(Word::IpMatch, argument)).unwrap();
            assert_eq!(list.matches(value.as_bytes()), expected, "{argument} {value}");
        }
        for argument in ["", "10.0.0.0/33", "10.0.0", "name.example", "::/129", "10.0.0.1-10.0.0.9"] {
            assert!(Addresses::compile(&call(Word::IpMatch, argument)).is_err(), "{argument}");
        }
    }

    #[test]
    fn a_file_holds_lists_with_comments() {
        let files = OneFile(b"# ours\n192.0.2.0/24 # office\n\n2001:db8::1,198.51.100.7\r\n");
        let of =
            Call { word: Word::IpMatchFromFile, argument: Some("list"), directory: "rules", files: &files };
        let list = Addresses::compile_file(&of).unwrap();
        assert!(
            list.matches(b"192.0.2.9") && list.matches(b"2001:DB8::1") && list.matches(b" 198.51.100.7 ")
        );
        assert!(!list.matches(b"192.0.3.9") && !list.matches(b"\xff"));
    }

    #[test]
    fn ranges_hold_what_their_prefixes_hold() {
        let prefixes: Vec<IpNet> = (0..200_u32)
            .map(|n| format!("10.{}.{}.0/{}", n % 7, n * 37 % 256, 17 + n % 14).parse().unwrap())
            .collect();
        let text: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
        let list = Addresses::compile(&call(Word::IpMatch, &text.join(","))).unwrap();
        for n in 0..40_000_u32 {
            let address = IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + n * 17));
            let expected = prefixes.iter().any(|prefix| prefix.contains(&address));
            assert_eq!(list.matches(address.to_string().as_bytes()), expected, "{address}");
        }
    }
}
