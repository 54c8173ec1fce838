//! Frames that wait until their flow's backend has answered.
//!
//! Owns: the held frames of one worker and their order per flow. Does not own: when they may go on (`net::splice`
//! says so by events). A held frame keeps its chunk of packet memory: no copy, but the number is bounded.
//! Cost: a push and a pop are a few stores; 16 bytes per slot and 24 per flow, taken at start.

use secbeat_net::link::PortId;
use secbeat_net::splice::FlowId;
use secbeat_pktio::Frame;

/// Frames that one flow may have waiting. A client may send ten segments at once (RFC 6928) before it hears more,
/// and an ACK and a FIN around them. More: dropped as `early_data_full`, the client sends it again.
pub const HELD_PER_FLOW_MAX: u16 = 12;

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Slot {
    frame: Option<Frame>,
    port: PortId,
    next: u32,
}

/// First and last frame of a flow; the flow's id tells a line of an earlier flow in the same slot apart.
#[derive(Clone, Copy, Debug)]
struct Line {
    flow: Option<FlowId>,
    first: u32,
    last: u32,
    count: u16,
}

const EMPTY: Line = Line { flow: None, first: NONE, last: NONE, count: 0 };

/// The held frames of one worker.
#[derive(Debug)]
pub struct Held {
    slots: Box<[Slot]>,
    free: u32,
    count: u32,
    lines: Box<[Line]>,
}

impl Held {
    /// Room for `frames_max` frames of flows with an index below `flows_max`.
    pub fn new(frames_max: u32, flows_max: u32) -> Self {
        let slots = (0..frames_max).map(|index| {
            let next = if index + 1 < frames_max { index + 1 } else { NONE };
            Slot { frame: None, port: PortId(0), next }
        });
        Self {
            slots: slots.collect(),
            free: if frames_max == 0 { NONE } else { 0 },
            count: 0,
            lines: vec![EMPTY; flows_max as usize].into_boxed_slice(),
        }
    }

    /// Frames held.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Keeps a frame behind the others of its flow. Gives it back when there is no room for it.
    ///
    /// # Errors
    /// The frame itself, to be dropped.
    pub fn push(&mut self, flow: FlowId, port: PortId, frame: Frame) -> Result<(), Frame> {
        let Some(line) = self.lines.get_mut(flow.index()) else {
            return Err(frame);
        };
        if line.flow.is_some_and(|held| held != flow) && line.count > 0 {
            // An earlier flow's frames were not fetched; its owner still may.
            return Err(frame);
        }
        let index = self.free;
        if line.count >= HELD_PER_FLOW_MAX || index == NONE {
            return Err(frame);
        }
        let slot = &mut self.slots[index as usize];
        self.free = slot.next;
        *slot = Slot { frame: Some(frame), port, next: NONE };
        if line.count == 0 {
            *line = Line { flow: Some(flow), first: index, last: index, count: 1 };
        } else {
            self.slots[line.last as usize].next = index;
            line.last = index;
            line.count += 1;
        }
        self.count += 1;
        Ok(())
    }

    /// Frames held for `flow`.
    pub fn waiting(&self, flow: FlowId) -> u16 {
        self.lines.get(flow.index()).filter(|line| line.flow == Some(flow)).map_or(0, |line| line.count)
    }

    /// The oldest frame of `flow` and the port it came in on.
    pub fn pop(&mut self, flow: FlowId) -> Option<(PortId, Frame)> {
        let line = self.lines.get_mut(flow.index())?;
        if line.flow != Some(flow) || line.count == 0 {
            return None;
        }
        let index = line.first;
        let slot = &mut self.slots[index as usize];
        let frame = slot.frame.take()?;
        line.first = slot.next;
        line.count -= 1;
        if line.count == 0 {
            *line = EMPTY;
        }
        let port = slot.port;
        slot.next = self.free;
        self.free = index;
        self.count -= 1;
        Some((port, frame))
    }
}

#[cfg(test)]
mod tests {
    use secbeat_net::flow::HashKey;
    use secbeat_net::splice::{Splice, SpliceKeys, SpliceLimits};
    use secbeat_pktio::PacketIo;
    use secbeat_pktio::memory::{MemoryConfig, MemoryIo};

    use super::*;

    /// Ids of flows in the first `count` slots.
    fn flows(count: u8) -> Vec<FlowId> {
        use core::net::IpAddr;
        use secbeat_net::flow::{Endpoint, FlowKey, Protocol};
        use secbeat_net::link::Link;
        use secbeat_net::splice::{
            BackendId, BackendTarget, Backends, Handshake, OpenRequest, Source, target::SOURCE_ADDRS_MAX,
        };
        use secbeat_net::time::Instant;

        let endpoint = |host: u8, port| Endpoint { addr: IpAddr::from([10, 0, 0, host]), port };
        let link = Link::new(PortId(0), 1_500, &[0; 14]).expect("a link");
        let mut sources = arrayvec::ArrayVec::<IpAddr, SOURCE_ADDRS_MAX>::new();
        sources.push(IpAddr::from([10, 0, 0, 250]));
        let mut backends = Backends::default();
        backends.set(
            BackendId(0),
            Some(BackendTarget {
                endpoint: endpoint(200, 80),
                link: Some(link),
                source: Source::Snat(sources),
                proxy_protocol: false,
            }),
        );
        let keys = SpliceKeys { table: HashKey([1, 2]), isn: HashKey([3, 4]) };
        let limits = SpliceLimits { flows_max: u32::from(count), ..SpliceLimits::default() };
        let mut splice = Splice::new(limits, keys);
        let request = |host| OpenRequest {
            key: FlowKey {
                protocol: Protocol::Tcp,
                source: endpoint(host, 1),
                destination: endpoint(100, 80),
            },
            client_link: link,
            backend: BackendId(0),
            client_isn: 1,
            client_window: 1_000,
            mss: 1_460,
            window_scale: None,
            sack_permitted: false,
            ecn: false,
            handshake: Handshake::Proxied { isn: 2, window: 1_000, window_scale: None, timestamps: None },
            tag: 0,
        };
        (1..=count)
            .map(|host| splice.open(&request(host), &backends, Instant::ZERO).expect("a flow"))
            .collect()
    }

    fn frames(count: usize) -> (MemoryIo, Vec<Frame>) {
        let (mut io, _peer) = MemoryIo::new(&MemoryConfig { frames: 64, ..MemoryConfig::default() });
        let frames = (0..count).map(|_| io.allocate().expect("a frame")).collect();
        (io, frames)
    }

    #[test]
    fn frames_come_back_in_order_per_flow() {
        let flows = flows(2);
        let (mut io, frames) = frames(6);
        let mut held = Held::new(8, 2);
        for (index, mut frame) in frames.into_iter().enumerate() {
            frame.set_bounds(256, index + 1);
            assert!(held.push(flows[index % 2], PortId(index as u8), frame).is_ok());
        }
        assert_eq!((held.len(), held.waiting(flows[0]), held.waiting(flows[1])), (6, 3, 3));
        let mut take = |flow| {
            let (port, frame) = held.pop(flow)?;
            let len = frame.len();
            io.release(frame);
            Some((port.0, len))
        };
        assert_eq!(
            [take(flows[1]), take(flows[0]), take(flows[1])],
            [Some((1, 2)), Some((0, 1)), Some((3, 4))]
        );
        assert_eq!([take(flows[0]), take(flows[0]), take(flows[0])], [Some((2, 3)), Some((4, 5)), None]);
        assert_eq!(take(flows[1]), Some((5, 6)));
        assert!(held.is_empty());
    }

    #[test]
    fn full_table_and_full_flow_give_the_frame_back() {
        let flows = flows(2);
        let (mut io, frames) = frames(20);
        let mut held = Held::new(16, 2);
        let mut refused = 0;
        for frame in frames {
            if let Err(frame) = held.push(flows[0], PortId(0), frame) {
                refused += 1;
                io.release(frame);
            }
        }
        assert_eq!((held.len(), refused), (u32::from(HELD_PER_FLOW_MAX), 8));
        for _ in 0..4 {
            let frame = io.allocate().expect("a frame");
            assert!(held.push(flows[1], PortId(0), frame).is_ok());
        }
        let frame = io.allocate().expect("a frame");
        let back = held.push(flows[1], PortId(0), frame);
        assert!(back.is_err(), "no slot is left");
        if let Err(frame) = back {
            io.release(frame);
        }
    }

    #[test]
    fn table_without_room_holds_nothing() {
        let flow = flows(1)[0];
        let (mut io, mut frames) = frames(1);
        let mut held = Held::new(0, 1);
        let frame = frames.pop().expect("a frame");
        let Err(frame) = held.push(flow, PortId(0), frame) else { panic!("held without room") };
        io.release(frame);
        assert!(held.pop(flow).is_none());
    }
}
