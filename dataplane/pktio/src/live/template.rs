//! Where in a template frame the fields lie that the generator rewrites.
//!
//! Owns: parsing of well-meant frames, made by ourselves. Does not own: hostile input (`net::wire`).

use core::net::IpAddr;
use core::ops::RangeInclusive;

use ipnet::IpNet;

use super::Randomize;
use crate::skel::generator as skel;

/// Offsets and ranges of one template; see `struct plan` in `generator.bpf.c`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    source: u16,
    source_mask: Vec<u8>,
    ip_checksum: u16,
    l4_checksum: u16,
    is_udp: bool,
    source_port: Option<(u16, RangeInclusive<u16>)>,
    destination_port: Option<(u16, RangeInclusive<u16>)>,
    sequence: u16,
    identification: Option<(u16, u16)>,
}

/// Offsets found in a frame. 0: not there.
#[derive(Clone, Copy, Debug, Default)]
struct Layout {
    source: usize,
    ip_checksum: usize,
    identification: (usize, usize),
    protocol: u8,
    /// 0 in a later fragment.
    l4: usize,
    /// Only a first or last part: the transport checksum covers more than the frame but still changes with it.
    is_v6: bool,
}

impl Plan {
    /// Plans the rewriting of `frame` and sets the drawn source's network bits in it.
    pub(super) fn of(frame: &mut [u8], randomize: &Randomize) -> Result<Self, &'static str> {
        let mut plan = Self::default();
        let Some(layout) = layout(frame)? else {
            return Ok(plan); // not IP: sent as it is
        };
        plan.ip_checksum = layout.ip_checksum as u16;
        let is_tcp = layout.protocol == 6;
        if layout.l4 != 0 && (is_tcp || layout.protocol == 17) {
            let checksum = layout.l4 + if is_tcp { 16 } else { 6 };
            if word(frame, checksum)? != 0 || is_tcp {
                plan.l4_checksum = checksum as u16;
            }
            plan.is_udp = !is_tcp;
            plan.source_port = randomize.source_port.clone().map(|range| (layout.l4 as u16, range));
            plan.destination_port =
                randomize.destination_port.clone().map(|range| (layout.l4 as u16 + 2, range));
            if is_tcp && randomize.sequence {
                plan.sequence = layout.l4 as u16 + 4;
                word(frame, layout.l4 + 18)?;
            }
        }
        if randomize.identification && layout.identification.0 != 0 {
            plan.identification = Some((layout.identification.0 as u16, layout.identification.1 as u16));
        }
        if let Some(prefix) = randomize.source {
            plan.set_source(frame, &layout, prefix)?;
        }
        Ok(plan)
    }

    fn set_source(&mut self, frame: &mut [u8], layout: &Layout, prefix: IpNet) -> Result<(), &'static str> {
        let (network, mask) = match (prefix.network(), prefix.hostmask()) {
            (IpAddr::V4(network), IpAddr::V4(mask)) if !layout.is_v6 => {
                (network.octets().to_vec(), mask.octets().to_vec())
            }
            (IpAddr::V6(network), IpAddr::V6(mask)) if layout.is_v6 => {
                (network.octets().to_vec(), mask.octets().to_vec())
            }
            _ => return Err("the source prefix and a template are of different families"),
        };
        let mut difference = 0u32;
        for (i, pair) in network.chunks(2).enumerate() {
            let offset = layout.source + 2 * i;
            let old = word(frame, offset)?;
            frame[offset..offset + 2].copy_from_slice(pair);
            difference += u32::from(!old) + u32::from(u16::from_be_bytes([pair[0], pair[1]]));
        }
        for checksum in [self.ip_checksum, self.l4_checksum].map(usize::from) {
            if checksum != 0 {
                let updated = !fold(u32::from(!word(frame, checksum)?) + u32::from(fold(difference)));
                frame[checksum..checksum + 2].copy_from_slice(&updated.to_be_bytes());
            }
        }
        self.source = layout.source as u16;
        self.source_mask = mask;
        Ok(())
    }

    /// The plan for `frame` as the program reads it.
    pub(super) fn to_kernel(&self, ifindex: u32, frame: &[u8]) -> skel::types::plan {
        let mut plan = skel::types::plan { ifindex, ..Default::default() };
        keep(&mut plan, frame);
        plan.source = self.source;
        plan.source_bytes = self.source_mask.len() as u16;
        plan.source_mask[..self.source_mask.len()].copy_from_slice(&self.source_mask);
        plan.ip_checksum = self.ip_checksum;
        plan.l4_checksum = self.l4_checksum;
        plan.is_udp = u16::from(self.is_udp);
        if let Some((offset, range)) = &self.source_port {
            plan.source_port = *offset;
            plan.source_port_first = *range.start();
            plan.source_port_count = range.len() as u32;
        }
        if let Some((offset, range)) = &self.destination_port {
            plan.destination_port = *offset;
            plan.destination_port_first = *range.start();
            plan.destination_port_count = range.len() as u32;
        }
        plan.sequence = self.sequence;
        if let Some((offset, bytes)) = self.identification {
            plan.identification = offset;
            plan.identification_bytes = bytes;
        }
        plan
    }
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn word(frame: &[u8], offset: usize) -> Result<u16, &'static str> {
    let bytes = frame.get(offset..offset + 2).ok_or("a template ends inside its headers")?;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn byte(frame: &[u8], offset: usize) -> Result<u8, &'static str> {
    frame.get(offset).copied().ok_or("a template ends inside its headers")
}

/// Puts the headers of a template into a plan: a frame that was sent back is made of them again.
fn keep(plan: &mut skel::types::plan, frame: &[u8]) {
    let kept = &frame[..frame.len().min(size_of_val(&plan.kept))];
    let (words, _) = kept.as_chunks::<8>();
    for (place, word) in plan.kept.iter_mut().zip(words) {
        *place = u64::from_ne_bytes(*word);
    }
    plan.kept_words = words.len() as u32;
    if let Some(end) = kept.last_chunk::<8>() {
        plan.kept_end = u64::from_ne_bytes(*end);
        plan.kept_end_offset = (kept.len() - 8) as u32;
    }
}

/// Walks Ethernet, up to two VLAN tags, IPv4 or IPv6 with a fragment header. `None` when it is not IP.
fn layout(frame: &[u8]) -> Result<Option<Layout>, &'static str> {
    let mut offset = 12;
    let mut ethertype = word(frame, offset)?;
    for _ in 0..2 {
        if ethertype == 0x8100 || ethertype == 0x88a8 {
            offset += 4;
            ethertype = word(frame, offset)?;
        }
    }
    let ip = offset + 2;
    match ethertype {
        0x0800 => {
            let first = word(frame, ip + 6)? & 0x1fff == 0;
            let l4 = ip + usize::from(byte(frame, ip)? & 0x0f) * 4;
            word(frame, ip + 18)?;
            Ok(Some(Layout {
                source: ip + 12,
                ip_checksum: ip + 10,
                identification: (ip + 4, 2),
                protocol: byte(frame, ip + 9)?,
                l4: if first { l4 } else { 0 },
                is_v6: false,
            }))
        }
        0x86dd => {
            word(frame, ip + 38)?;
            let mut layout = Layout {
                source: ip + 8,
                is_v6: true,
                protocol: byte(frame, ip + 6)?,
                l4: ip + 40,
                ..Layout::default()
            };
            if layout.protocol == 44 {
                layout.identification = (ip + 44, 4);
                layout.protocol = byte(frame, ip + 40)?;
                let first = word(frame, ip + 42)? & 0xfff8 == 0;
                layout.l4 = if first { ip + 48 } else { 0 };
                word(frame, ip + 46)?;
            }
            Ok(Some(layout))
        }
        _ => Ok(None),
    }
}
