//! Where a frame leaves: the port and the Ethernet header in front of the packet.
//!
//! Owns: [`PortId`] and [`Link`], a ready-made Ethernet header with up to two VLAN tags. Does not own: how a
//! destination resolves to a link (`node::neighbor` reads the kernel's tables).

/// One network interface of a worker, by its index in the node's `[io] interfaces`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u8);

/// Longest Ethernet header carried: two addresses, two VLAN tags, the type. Bytes.
pub const LINK_HEADER_BYTES_MAX: usize = 6 + 6 + 4 + 4 + 2;

/// A way out: a port and the link-layer header that a packet needs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The port to transmit on.
    pub port: PortId,
    /// Largest IP packet the link carries, in bytes.
    pub mtu: u16,
    header_len: u8,
    header: [u8; LINK_HEADER_BYTES_MAX],
}

impl Link {
    /// A link whose header is copied from the front of `header`, which must end with the EtherType. `None`
    /// when it is shorter than 14 bytes or longer than [`LINK_HEADER_BYTES_MAX`].
    pub fn new(port: PortId, mtu: u16, header: &[u8]) -> Option<Self> {
        if header.len() < 14 || header.len() > LINK_HEADER_BYTES_MAX {
            return None;
        }
        let mut stored = [0; LINK_HEADER_BYTES_MAX];
        stored[..header.len()].copy_from_slice(header);
        Some(Self { port, mtu, header_len: header.len() as u8, header: stored })
    }

    /// The way back to whoever sent a frame with this header: addresses swapped, VLAN tags kept.
    pub fn reply_to(port: PortId, mtu: u16, header: &[u8]) -> Option<Self> {
        let mut link = Self::new(port, mtu, header)?;
        link.header[..6].copy_from_slice(&header[6..12]);
        link.header[6..12].copy_from_slice(&header[..6]);
        Some(link)
    }

    /// The Ethernet header, VLAN tags and EtherType included.
    pub fn header(&self) -> &[u8] {
        &self.header[..usize::from(self.header_len)]
    }
}
