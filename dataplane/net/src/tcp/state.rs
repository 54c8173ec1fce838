//! The states of a connection (RFC 9293 §3.3.2), from ESTABLISHED on: no connection exists before.
//!
//! ```text
//!                    finish +-------------+ FIN arrives
//!               +-----------| ESTABLISHED |-----------+
//!               v           +-------------+           v
//!        +------------+                         +------------+
//!        | FIN-WAIT-1 |--FIN arrives--+         | CLOSE-WAIT |
//!        +------------+               v         +------------+
//!    FIN acked  |               +---------+           | finish
//!               v               | CLOSING |           v
//!        +------------+         +---------+     +------------+
//!        | FIN-WAIT-2 |               |         |  LAST-ACK  |
//!        +------------+               |         +------------+
//!  FIN arrives  |           FIN acked |               | FIN acked
//!               v                     v               v
//!        +------------+<--------------+         +------------+
//!        | TIME-WAIT  |  (a compact record,     |   CLOSED   |
//!        +------------+   see `time_wait`)      +------------+
//! ```
//! A RST, a timeout or the owner's `abort` leads from every state to CLOSED.
//!
//! Owns: the transitions. Does not own: what causes them. LISTEN, SYN-SENT and SYN-RECEIVED do not exist here: a SYN is
//! answered without a connection (`syncookie`, `halfopen`).

use core::fmt;

/// State of a connection, named as in RFC 9293.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Data flows both ways.
    Established,
    /// We have finished sending; our FIN is not acknowledged.
    FinWait1,
    /// Our FIN is acknowledged; the peer may still send.
    FinWait2,
    /// The peer has finished sending; we may still send.
    CloseWait,
    /// Both have finished; our FIN is not acknowledged.
    Closing,
    /// The peer finished first, then we; our FIN is not acknowledged.
    LastAck,
    /// Both FINs are acknowledged, and we finished first.
    TimeWait,
    /// Nothing is left but to tell the owner.
    Closed,
}

/// What changes a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// The owner has no more to send.
    Finish,
    /// The peer's FIN has arrived, and everything before it.
    FinArrived,
    /// Our FIN is acknowledged.
    FinAcked,
    /// RST, timeout or abort; or TIME-WAIT goes on as a record.
    Reset,
}

impl State {
    /// The state after `signal`.
    pub(super) const fn next(self, signal: Signal) -> Self {
        match (self, signal) {
            (_, Signal::Reset) => Self::Closed,
            (Self::Established, Signal::Finish) => Self::FinWait1,
            (Self::Established, Signal::FinArrived) => Self::CloseWait,
            (Self::FinWait1, Signal::FinArrived) => Self::Closing,
            (Self::FinWait1, Signal::FinAcked) => Self::FinWait2,
            (Self::FinWait2, Signal::FinArrived) | (Self::Closing, Signal::FinAcked) => Self::TimeWait,
            (Self::CloseWait, Signal::Finish) => Self::LastAck,
            (Self::LastAck, Signal::FinAcked) => Self::Closed,
            (state, _) => state,
        }
    }

    /// Whether the peer's data is still expected.
    pub(super) const fn may_receive(self) -> bool {
        matches!(self, Self::Established | Self::FinWait1 | Self::FinWait2)
    }

    /// Whether the owner may still add data.
    pub(super) const fn may_send(self) -> bool {
        matches!(self, Self::Established | Self::CloseWait)
    }
}

impl fmt::Display for State {
    /// The spelling of RFC 9293.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
            Self::Closed => "CLOSED",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 8] = [
        State::Established,
        State::FinWait1,
        State::FinWait2,
        State::CloseWait,
        State::Closing,
        State::LastAck,
        State::TimeWait,
        State::Closed,
    ];
    const SIGNALS: [Signal; 4] = [Signal::Finish, Signal::FinArrived, Signal::FinAcked, Signal::Reset];

    /// Every transition that changes the state; all others are "stays".
    const MATRIX: &str = "\
ESTABLISHED: Finish FIN-WAIT-1, FinArrived CLOSE-WAIT, Reset CLOSED
FIN-WAIT-1: FinArrived CLOSING, FinAcked FIN-WAIT-2, Reset CLOSED
FIN-WAIT-2: FinArrived TIME-WAIT, Reset CLOSED
CLOSE-WAIT: Finish LAST-ACK, Reset CLOSED
CLOSING: FinAcked TIME-WAIT, Reset CLOSED
LAST-ACK: FinAcked CLOSED, Reset CLOSED
TIME-WAIT: Reset CLOSED
CLOSED: 
";

    #[test]
    fn transitions_are_those_of_the_drawing() {
        let mut matrix = String::new();
        for state in STATES {
            let changes: Vec<String> = SIGNALS
                .into_iter()
                .filter(|signal| state.next(*signal) != state)
                .map(|signal| format!("{signal:?} {}", state.next(signal)))
                .collect();
            matrix += &format!("{state}: {}\n", changes.join(", "));
        }
        assert_eq!(matrix, MATRIX);
    }

    #[test]
    fn peer_that_has_finished_sends_nothing_more() {
        for state in STATES {
            assert!(!state.next(Signal::FinArrived).may_receive(), "{state}");
            assert!(!state.next(Signal::Finish).may_send(), "{state}");
        }
    }
}
