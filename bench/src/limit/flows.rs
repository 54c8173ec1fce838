//! Established connections made by hand, so that their segments can be sent again at full speed.
//!
//! A connection opened by the kernel cannot be continued by a generator: its numbers are hidden. Here the three
//! segments of the handshake are built and read directly (RFC 9293 §3.5), over AF_XDP on the attacker's side.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::net::if_::if_nametoindex;
use secbeat_pktio::program::{AttachMode, BareXsk};
use secbeat_pktio::xsk::{XskConfig, XskInterface, XskIo};
use secbeat_pktio::{Burst, PacketIo, Port};

use crate::flood::{Addresses, Segment, flag, tcp};
use crate::lab::{ATTACK, Lab, vip};
use crate::netns;

const PORT: Port = 0;
const ETHERNET_BYTES: usize = 14;
/// Source port of the first connection; each repetition takes others, since the old ones are still remembered.
const FIRST_SOURCE_PORT: u16 = 20_000;
/// A handshake takes microseconds here; a lost SYN is sent again.
const ATTEMPT: Duration = Duration::from_millis(200);
const ATTEMPTS_MAX: u32 = 10;
const CLIENT_ISN: u32 = 0x0101_0000;
/// MSS 1460, SACK permitted, no timestamps (whose clock would have to go on), window scale 7.
const OPTIONS: [u8; 12] = [2, 4, 0x05, 0xb4, 1, 1, 4, 2, 1, 3, 3, 7];

/// Established connections, as one bare ACK each that may be sent any number of times.
pub(crate) struct Flows {
    /// The ACKs.
    pub(crate) frames: Vec<Vec<u8>>,
    /// Holds what comes back away from the attacker's kernel, which would answer with RST.
    _program: BareXsk,
    _io: XskIo,
}

impl Flows {
    /// Opens `count` connections from the attacker to the VIP's port 80; `round` keeps their ports apart.
    pub(crate) fn open(lab: &Lab, count: u16, round: u32) -> Result<Self> {
        netns::inside(&lab.topology.attacker(), || {
            let interface = XskInterface { name: ATTACK.far_if.to_owned(), queue: 0 };
            let config = XskConfig { interfaces: vec![interface], ..XskConfig::default() };
            let (mut io, _) = XskIo::open(&config).context("AF_XDP socket of the attacker")?;
            let mut program = BareXsk::attach(if_nametoindex(ATTACK.far_if)?, AttachMode::Native)?;
            for (_, queue, socket) in io.sockets() {
                program.bind_queue(queue, socket)?;
            }
            let first = FIRST_SOURCE_PORT + (round % 1000) as u16 * count;
            let frames: Result<Vec<_>> = (first..first + count).map(|port| connect(&mut io, port)).collect();
            Ok(Self { frames: frames?, _program: program, _io: io })
        })
    }
}

fn connect(io: &mut XskIo, source_port: u16) -> Result<Vec<u8>> {
    let addresses = Addresses {
        mac_source: ATTACK.far_mac(),
        mac_destination: ATTACK.edge_mac(),
        source: IpAddr::V4(ATTACK.far4()),
        destination: vip(4),
        source_port,
        destination_port: 80,
    };
    let syn = Segment {
        flags: flag::SYN,
        sequence: CLIENT_ISN,
        window: 64240,
        options: &OPTIONS,
        ..Segment::default()
    };
    for _ in 0..ATTEMPTS_MAX {
        send(io, &tcp(&addresses, &syn))?;
        let Some(server_isn) = wait_for_syn_ack(io, source_port) else { continue };
        let ack = Segment {
            flags: flag::ACK,
            sequence: CLIENT_ISN.wrapping_add(1),
            acknowledgement: server_isn.wrapping_add(1),
            window: 502,
            ..Segment::default()
        };
        let frame = tcp(&addresses, &ack);
        send(io, &frame)?;
        return Ok(frame);
    }
    bail!("no SYN-ACK from the VIP")
}

fn send(io: &mut XskIo, bytes: &[u8]) -> Result<()> {
    let mut frame = io.allocate().context("no free frame")?;
    let start = frame.start();
    frame.set_bounds(start, bytes.len());
    io.chunk_mut(&mut frame)
        .get_mut(start..start + bytes.len())
        .context("frame too long")?
        .copy_from_slice(bytes);
    if let Err(frame) = io.transmit(PORT, frame) {
        io.release(frame);
        bail!("transmit ring full");
    }
    io.flush();
    Ok(())
}

fn wait_for_syn_ack(io: &mut XskIo, source_port: u16) -> Option<u32> {
    let end = Instant::now() + ATTEMPT;
    let mut burst = Burst::new();
    let mut found = None;
    while found.is_none() && Instant::now() < end {
        io.receive(PORT, &mut burst);
        for frame in burst.drain(..) {
            found = found.or(syn_ack_sequence(io.bytes(&frame), source_port));
            io.release(frame);
        }
        io.flush();
    }
    found
}

/// Sequence number of a SYN-ACK over IPv4 (without options) to `port`.
fn syn_ack_sequence(frame: &[u8], port: u16) -> Option<u32> {
    let (ethernet, ip) = frame.split_at_checked(ETHERNET_BYTES)?;
    let is_tcp = ethernet[12..] == [0x08, 0x00] && ip.first() == Some(&0x45) && ip.get(9) == Some(&6);
    let tcp = ip.get(20..40).filter(|_| is_tcp)?;
    let matches = tcp[2..4] == port.to_be_bytes() && tcp[13] & 0x3f == flag::SYN | flag::ACK;
    matches.then(|| u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_syn_ack_to_our_port_is_taken() {
        let addresses = Addresses {
            mac_source: [2; 6],
            mac_destination: [4; 6],
            source: vip(4),
            destination: IpAddr::V4(ATTACK.far4()),
            source_port: 80,
            destination_port: 20_000,
        };
        let answer = |flags| {
            let segment = Segment { flags, sequence: 77, acknowledgement: 1, ..Segment::default() };
            tcp(&addresses, &segment)
        };
        assert_eq!(syn_ack_sequence(&answer(flag::SYN | flag::ACK), 20_000), Some(77));
        assert_eq!(syn_ack_sequence(&answer(flag::SYN | flag::ACK), 20_001), None);
        assert_eq!(syn_ack_sequence(&answer(flag::RST | flag::ACK), 20_000), None);
        assert_eq!(syn_ack_sequence(&[0; 20], 20_000), None);
    }
}
