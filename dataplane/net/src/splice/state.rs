//! The states of a spliced flow and every transition between them.
//!
//! Owns: [`State`], [`Signal`], the transition table. Does not own: what a transition does (`opening`, `forward`,
//! `close`). Names are those of RFC 9293 §3.3.2, seen from between the two ends, as connection trackers use them.
//!
//! ```text
//!   open
//!    |             BackendFailed                retry
//!    v          +---------------> EXPECT-BACKEND ------+
//!  SYN-SENT ----+<-------------------------------------+
//!    | SYN-ACK            | SYN-ACK passed on
//!    | (proxied)          v
//!    |               SYN-RECEIVED
//!    |                    | ACK of the client
//!    v                    v
//!  ESTABLISHED <----------+
//!    | FIN of one side
//!    v            FIN of the other
//!  FIN-WAIT ---------------------> CLOSING
//!    | its FIN acknowledged          | one FIN acknowledged
//!    v            FIN of the other   v
//!  CLOSE-WAIT -------------------> LAST-ACK
//!                                    | the other FIN acknowledged
//!                                    v
//!  CLOSED  <--- RST, in any       TIME-WAIT
//! ```

use core::fmt;

pub(crate) use crate::flow_table::{Class, Side};

/// Where a flow is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Our SYN is on its way to the backend.
    SynSent,
    /// The backend failed; the owner decides between another backend and giving up.
    ExpectBackend,
    /// Pass-through: the backend's SYN-ACK went to the client, whose ACK is awaited.
    SynReceived,
    /// Both directions are open.
    Established,
    /// This side sent its FIN.
    FinWait(Side),
    /// This side's FIN is acknowledged; the other side may go on sending.
    CloseWait(Side),
    /// Both FINs were sent, neither is acknowledged.
    Closing,
    /// This side's FIN is acknowledged, the other side's is sent but not acknowledged.
    LastAck(Side),
    /// Both FINs are acknowledged; late segments are still passed on.
    TimeWait,
    /// Reset; late segments are answered with RST.
    Closed,
}

/// What happened to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The backend answered our SYN and we its SYN-ACK.
    Opened,
    /// The backend answered and its SYN-ACK was passed on to the client.
    SynAckPassed,
    /// The client acknowledged the SYN-ACK.
    HandshakeAck,
    /// The backend cannot be opened.
    BackendFailed,
    /// The owner named another backend.
    Retry,
    /// This side's FIN was passed on.
    Fin(Side),
    /// This side's FIN was acknowledged by the other.
    FinAcked(Side),
    /// A valid RST, or we end the flow with one.
    Reset,
}

impl State {
    /// The state after `signal`; a signal that means nothing here changes nothing.
    pub(crate) const fn next(self, signal: Signal) -> Self {
        use Side::{Backend, Client};
        match (self, signal) {
            (Self::TimeWait, _) => Self::TimeWait,
            (_, Signal::Reset) => Self::Closed,
            (Self::SynSent, Signal::Opened) => Self::Established,
            (Self::SynSent, Signal::SynAckPassed) => Self::SynReceived,
            (Self::SynSent, Signal::BackendFailed) => Self::ExpectBackend,
            (Self::ExpectBackend, Signal::Retry) => Self::SynSent,
            (Self::SynReceived, Signal::HandshakeAck) => Self::Established,
            (Self::Established, Signal::Fin(side)) => Self::FinWait(side),
            (Self::FinWait(Client), Signal::FinAcked(Client)) => Self::CloseWait(Client),
            (Self::FinWait(Backend), Signal::FinAcked(Backend)) => Self::CloseWait(Backend),
            (Self::FinWait(Client), Signal::Fin(Backend)) => Self::Closing,
            (Self::FinWait(Backend), Signal::Fin(Client)) => Self::Closing,
            (Self::CloseWait(Client), Signal::Fin(Backend)) => Self::LastAck(Client),
            (Self::CloseWait(Backend), Signal::Fin(Client)) => Self::LastAck(Backend),
            (Self::Closing, Signal::FinAcked(side)) => Self::LastAck(side),
            (Self::LastAck(Client), Signal::FinAcked(Backend)) => Self::TimeWait,
            (Self::LastAck(Backend), Signal::FinAcked(Client)) => Self::TimeWait,
            (state, _) => state,
        }
    }

    /// What the state means for the table.
    pub(crate) const fn class(self) -> Class {
        match self {
            Self::SynSent | Self::ExpectBackend | Self::SynReceived => Class::HalfOpen,
            Self::TimeWait | Self::Closed => Class::Lingering,
            _ => Class::Established,
        }
    }

    /// Whether this side's FIN was passed on.
    pub(crate) const fn has_fin(self, side: Side) -> bool {
        match self {
            Self::FinWait(by) | Self::CloseWait(by) => {
                matches!((by, side), (Side::Client, Side::Client) | (Side::Backend, Side::Backend))
            }
            Self::Closing | Self::LastAck(_) | Self::TimeWait => true,
            _ => false,
        }
    }
}

impl fmt::Display for State {
    /// The spelling of RFC 9293.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SynSent => "SYN-SENT",
            Self::ExpectBackend => "EXPECT-BACKEND",
            Self::SynReceived => "SYN-RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::FinWait(Side::Client) => "FIN-WAIT(client)",
            Self::FinWait(Side::Backend) => "FIN-WAIT(backend)",
            Self::CloseWait(Side::Client) => "CLOSE-WAIT(client)",
            Self::CloseWait(Side::Backend) => "CLOSE-WAIT(backend)",
            Self::Closing => "CLOSING",
            Self::LastAck(Side::Client) => "LAST-ACK(client)",
            Self::LastAck(Side::Backend) => "LAST-ACK(backend)",
            Self::TimeWait => "TIME-WAIT",
            Self::Closed => "CLOSED",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 13] = [
        State::SynSent,
        State::ExpectBackend,
        State::SynReceived,
        State::Established,
        State::FinWait(Side::Client),
        State::FinWait(Side::Backend),
        State::CloseWait(Side::Client),
        State::CloseWait(Side::Backend),
        State::Closing,
        State::LastAck(Side::Client),
        State::LastAck(Side::Backend),
        State::TimeWait,
        State::Closed,
    ];
    const SIGNALS: [Signal; 10] = [
        Signal::Opened,
        Signal::SynAckPassed,
        Signal::HandshakeAck,
        Signal::BackendFailed,
        Signal::Retry,
        Signal::Fin(Side::Client),
        Signal::Fin(Side::Backend),
        Signal::FinAcked(Side::Client),
        Signal::FinAcked(Side::Backend),
        Signal::Reset,
    ];

    /// Every transition that changes the state; all others are "stays".
    const MATRIX: &str = "\
SYN-SENT: Opened ESTABLISHED, SynAckPassed SYN-RECEIVED, BackendFailed EXPECT-BACKEND, Reset CLOSED
EXPECT-BACKEND: Retry SYN-SENT, Reset CLOSED
SYN-RECEIVED: HandshakeAck ESTABLISHED, Reset CLOSED
ESTABLISHED: Fin(Client) FIN-WAIT(client), Fin(Backend) FIN-WAIT(backend), Reset CLOSED
FIN-WAIT(client): Fin(Backend) CLOSING, FinAcked(Client) CLOSE-WAIT(client), Reset CLOSED
FIN-WAIT(backend): Fin(Client) CLOSING, FinAcked(Backend) CLOSE-WAIT(backend), Reset CLOSED
CLOSE-WAIT(client): Fin(Backend) LAST-ACK(client), Reset CLOSED
CLOSE-WAIT(backend): Fin(Client) LAST-ACK(backend), Reset CLOSED
CLOSING: FinAcked(Client) LAST-ACK(client), FinAcked(Backend) LAST-ACK(backend), Reset CLOSED
LAST-ACK(client): FinAcked(Backend) TIME-WAIT, Reset CLOSED
LAST-ACK(backend): FinAcked(Client) TIME-WAIT, Reset CLOSED
TIME-WAIT: 
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
    fn lingering_states_are_final_for_everything_the_wire_can_say() {
        for state in STATES.into_iter().filter(|state| state.class() == Class::Lingering) {
            assert!(SIGNALS.into_iter().all(|signal| state.next(signal) == state), "{state}");
        }
    }

    #[test]
    fn fins_are_remembered_by_the_state() {
        for state in STATES {
            for side in [Side::Client, Side::Backend] {
                if state.class() == Class::Established && !state.has_fin(side) {
                    assert!(state.next(Signal::Fin(side)).has_fin(side), "{state} {side:?}");
                }
            }
        }
    }
}
