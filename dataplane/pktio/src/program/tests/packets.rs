//! Packets for the tests, field by field, so that each test shows what is unusual about its packet.

/// A frame in the making: link header and what follows.
#[derive(Clone)]
pub(super) struct Packet {
    pub(super) vlan: Vec<(u16, u16)>,
    pub(super) ethertype: u16,
    pub(super) bytes: Vec<u8>,
}

impl Packet {
    pub(super) fn frame(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for (ethertype, tag) in &self.vlan {
            frame.extend(ethertype.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(self.ethertype.to_be_bytes());
        frame.extend(&self.bytes);
        frame
    }

    pub(super) fn vlan(mut self, tags: &[u16]) -> Self {
        self.vlan = tags.iter().map(|&ethertype| (ethertype, 5)).collect();
        self
    }

    /// Sets one byte of what follows the link header.
    pub(super) fn with(mut self, offset: usize, byte: u8) -> Self {
        self.bytes[offset] = byte;
        self
    }

    pub(super) fn padded(mut self, bytes: usize) -> Self {
        self.bytes.resize(self.bytes.len() + bytes, 0);
        self
    }

    pub(super) fn cut(mut self, len: usize) -> Self {
        self.bytes.truncate(len);
        self
    }
}

/// A TCP header with ACK set.
pub(super) fn tcp(source: u16, destination: u16, flags: u8) -> Vec<u8> {
    let mut header = vec![0; 20];
    header[..2].copy_from_slice(&source.to_be_bytes());
    header[2..4].copy_from_slice(&destination.to_be_bytes());
    header[12] = 0x50;
    header[13] = flags;
    header
}

pub(super) fn udp(source: u16, destination: u16, payload: usize) -> Vec<u8> {
    let mut header = vec![0; 8 + payload];
    header[..2].copy_from_slice(&source.to_be_bytes());
    header[2..4].copy_from_slice(&destination.to_be_bytes());
    header[4..6].copy_from_slice(&(8 + payload as u16).to_be_bytes());
    header
}

/// Fields of an IPv4 header.
#[derive(Clone)]
pub(super) struct Ipv4 {
    pub(super) source: [u8; 4],
    pub(super) destination: [u8; 4],
    pub(super) options: Vec<u8>,
    /// Offset in units of eight bytes, with the flag bits.
    pub(super) fragment: u16,
    pub(super) id: u16,
}

impl Default for Ipv4 {
    /// From a stranger to the listener's address.
    fn default() -> Self {
        let (source, destination) = ([203, 0, 113, 9], [198, 51, 100, 1]);
        Self { source, destination, options: Vec::new(), fragment: 0, id: 7 }
    }
}

impl Ipv4 {
    pub(super) fn carrying(&self, protocol: u8, payload: &[u8]) -> Packet {
        let header_len = 20 + self.options.len();
        let mut bytes = vec![0; 20];
        bytes[0] = 0x40 | (header_len / 4) as u8;
        bytes[2..4].copy_from_slice(&((header_len + payload.len()) as u16).to_be_bytes());
        bytes[4..6].copy_from_slice(&self.id.to_be_bytes());
        bytes[6..8].copy_from_slice(&self.fragment.to_be_bytes());
        bytes[8] = 64;
        bytes[9] = protocol;
        bytes[12..16].copy_from_slice(&self.source);
        bytes[16..20].copy_from_slice(&self.destination);
        bytes.extend(&self.options);
        bytes.extend(payload);
        Packet { vlan: Vec::new(), ethertype: 0x0800, bytes }
    }

    pub(super) fn tcp(&self, source: u16, destination: u16) -> Packet {
        self.carrying(6, &tcp(source, destination, 0x10))
    }

    pub(super) fn udp(&self, source: u16, destination: u16) -> Packet {
        self.carrying(17, &udp(source, destination, 4))
    }

    /// An ICMP message with an inner packet.
    pub(super) fn icmp(&self, message: u8, inner: &Packet) -> Packet {
        self.carrying(1, &[&[message, 4, 0, 0, 0, 0, 5, 0], inner.bytes.as_slice()].concat())
    }
}

/// Fields of an IPv6 header.
#[derive(Clone)]
pub(super) struct Ipv6 {
    pub(super) source: &'static str,
    pub(super) destination: &'static str,
    /// Extension headers: type and body behind the next-header byte.
    pub(super) extensions: Vec<(u8, Vec<u8>)>,
}

impl Default for Ipv6 {
    fn default() -> Self {
        Self { source: "2001:db8:ffff::9", destination: "2001:db8::1", extensions: Vec::new() }
    }
}

impl Ipv6 {
    pub(super) fn carrying(&self, protocol: u8, payload: &[u8]) -> Packet {
        let mut chain = Vec::new();
        let types: Vec<u8> = self.extensions.iter().map(|(kind, _)| *kind).chain([protocol]).collect();
        for (index, (_, body)) in self.extensions.iter().enumerate() {
            chain.push(types[index + 1]);
            chain.extend(body);
        }
        chain.extend(payload);
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend((chain.len() as u16).to_be_bytes());
        bytes.extend([types[0], 64]);
        for addr in [self.source, self.destination] {
            bytes.extend(addr.parse::<core::net::Ipv6Addr>().expect("an address").octets());
        }
        bytes.extend(chain);
        Packet { vlan: Vec::new(), ethertype: 0x86dd, bytes }
    }

    pub(super) fn with(mut self, kind: u8, body: &[u8]) -> Self {
        self.extensions.push((kind, body.to_vec()));
        self
    }

    /// A fragment header: offset in units of eight bytes.
    pub(super) fn fragment(self, offset: u16, more: bool, id: u32) -> Self {
        let mut body = vec![0];
        body.extend((offset << 3 | u16::from(more)).to_be_bytes());
        body.extend(id.to_be_bytes());
        self.with(44, &body)
    }

    pub(super) fn tcp(&self, source: u16, destination: u16) -> Packet {
        self.carrying(6, &tcp(source, destination, 0x10))
    }

    pub(super) fn udp(&self, source: u16, destination: u16) -> Packet {
        self.carrying(17, &udp(source, destination, 4))
    }

    pub(super) fn icmp(&self, message: u8, inner: &[u8]) -> Packet {
        self.carrying(58, &[&[message, 0, 0, 0, 0, 0, 5, 0], inner].concat())
    }
}
