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
