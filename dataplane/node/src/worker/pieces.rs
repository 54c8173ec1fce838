//! Sending or handing over a packet in pieces, because it is longer than its link's MTU or than a frame.
//!
//! Owns: the frames for the pieces. Does not own: how they are cut (`net::fragment`). The frame that caused it ends as
//! transmitted or handed over when all pieces left, else as dropped; transmitted pieces beyond the first count as
//! frames of our own making.

use secbeat_net::link::PortId;
use secbeat_net::packet::PacketBuf;
use secbeat_net::verdict::DropReason;
use secbeat_pktio::{Frame, PacketIo};

use super::Worker;
use crate::event::WorkerId;
use crate::telemetry::counters::Counter;

/// Pieces of one packet: 64 KiB over a link of 1,280 bytes are 54. More is cut off and the packet is lost.
const PIECES_MAX: usize = 64;

impl<I: PacketIo> Worker<I> {
    /// Sends a frame that is too long for `port`.
    pub(super) fn transmit_cut(&mut self, frame: Frame, port: PortId) {
        if self.pipeline.whole.copy_from(self.io.bytes(&frame)) {
            self.transmit_pieces(frame, port);
        } else {
            self.drop(frame, DropReason::TooBig);
        }
    }

    /// Hands the packet in the pipeline's buffer, which came in on `port`, to the worker that owns its flow.
    pub(super) fn hand_over_pieces(&mut self, frame: Frame, port: PortId, owner: WorkerId) {
        match self.parcels(port, owner) {
            Ok(()) => {
                self.page.count(Counter::FramesHandedOver);
                self.io.release(frame);
            }
            Err(reason) => self.drop(frame, reason),
        }
    }

    fn parcels(&mut self, port: PortId, owner: WorkerId) -> Result<(), DropReason> {
        let Self { io, pipeline, shared, .. } = self;
        let mut split = pipeline.split(port).ok_or(DropReason::TooBig)?;
        // One frame after the other: a parcel is a copy.
        let mut piece = io.allocate().ok_or(DropReason::NoFrame)?;
        let start = piece.start();
        let mut handed = Ok(());
        for _ in 0..PIECES_MAX {
            let mut packet = PacketBuf::new(io.chunk_mut(&mut piece), start, 0);
            if split.poll_piece(&mut packet).is_none() {
                break;
            }
            if !shared.handover.send(owner, port, packet.bytes()) {
                handed = Err(DropReason::HandoverFull);
                break;
            }
        }
        io.release(piece);
        handed
    }

    /// Sends the packet in the pipeline's buffer; `frame` is the one that caused it.
    pub(super) fn transmit_pieces(&mut self, frame: Frame, port: PortId) {
        match self.pieces(port) {
            Ok(()) => {
                self.page.count(Counter::FramesTransmitted);
                self.io.release(frame);
            }
            Err(reason) => self.drop(frame, reason),
        }
    }

    fn pieces(&mut self, port: PortId) -> Result<(), DropReason> {
        let Self { io, pipeline, page, .. } = self;
        let mut split = pipeline.split(port).ok_or(DropReason::TooBig)?;
        for index in 0..PIECES_MAX {
            let mut piece = io.allocate().ok_or(DropReason::NoFrame)?;
            let start = piece.start();
            let mut packet = PacketBuf::new(io.chunk_mut(&mut piece), start, 0);
            let written = split.poll_piece(&mut packet);
            let len = packet.len();
            piece.set_bounds(start, len);
            if written.is_none() {
                io.release(piece);
                return if index == 0 { Err(DropReason::TooBig) } else { Ok(()) };
            }
            if let Err(piece) = io.transmit(port.0, piece) {
                io.release(piece);
                return Err(DropReason::TxFull);
            }
            page.count(Counter::FramesOut);
            page.add(Counter::BytesOut, len as u64);
            page.add(Counter::FramesBuilt, u64::from(index > 0));
        }
        Err(DropReason::TooBig)
    }
}
