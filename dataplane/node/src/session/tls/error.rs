//! How handshakes end, and why connections fail.

use core::fmt;

use rustls::{AlertDescription, Error};

/// How a handshake ended: the `result` of `secbeat_tls_handshakes_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// Complete, with a certificate.
    Full,
    /// Complete, by a ticket.
    Resumed,
    /// Its source began too many.
    SourceLimit,
    /// The worker had too many.
    WorkerLimit,
    /// The client did not speak TLS.
    NotTls,
    /// A message was malformed, too large or out of order.
    Malformed,
    /// Nothing in common: version, cipher, group, application protocol.
    Incompatible,
    /// The client's certificate was missing or wrong.
    ClientCertificate,
    /// The client gave up with an alert, because of our certificate for example.
    ClientAlert,
    /// The client closed before the end.
    Abandoned,
    /// It took too long.
    Timeout,
    /// Our own fault.
    Internal,
}

impl Outcome {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::Full,
        Self::Resumed,
        Self::SourceLimit,
        Self::WorkerLimit,
        Self::NotTls,
        Self::Malformed,
        Self::Incompatible,
        Self::ClientCertificate,
        Self::ClientAlert,
        Self::Abandoned,
        Self::Timeout,
        Self::Internal,
    ];
    /// Number of them.
    pub const COUNT: usize = Self::ALL.len();

    /// Its name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::SourceLimit => "source_limit",
            Self::WorkerLimit => "worker_limit",
            Self::NotTls => "not_tls",
            Self::Malformed => "malformed",
            Self::Incompatible => "incompatible",
            Self::ClientCertificate => "client_certificate",
            Self::ClientAlert => "client_alert",
            Self::Abandoned => "abandoned",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
        }
    }

    /// Whether the handshake was completed.
    pub const fn is_complete(self) -> bool {
        matches!(self, Self::Full | Self::Resumed)
    }
}

/// A connection that cannot go on. What must still be sent (an alert) is in the output.
#[derive(Clone, Debug, PartialEq)]
pub enum TlsError {
    /// Its source began too many handshakes. To be reset: nothing was computed for it.
    SourceLimit,
    /// The worker has too many handshakes. To be reset.
    WorkerLimit,
    /// The first bytes are not TLS: HTTP on the wrong port, mostly.
    NotTls,
    /// More bytes of a handshake than one may have.
    HandshakeTooLarge,
    /// The connection failed before, or was closed.
    Closed,
    /// Sending before the handshake is complete.
    NotEstablished,
    /// rustls' finding.
    Protocol(Error),
}

impl TlsError {
    /// Under which result a failed handshake is counted.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::SourceLimit => Outcome::SourceLimit,
            Self::WorkerLimit => Outcome::WorkerLimit,
            Self::NotTls => Outcome::NotTls,
            Self::HandshakeTooLarge => Outcome::Malformed,
            Self::Closed | Self::NotEstablished => Outcome::Internal,
            Self::Protocol(error) => match error {
                Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Outcome::Incompatible,
                Error::InvalidCertificate(_)
                | Error::InvalidCertRevocationList(_)
                | Error::NoCertificatesPresented
                | Error::UnsupportedNameType => Outcome::ClientCertificate,
                Error::AlertReceived(AlertDescription::CloseNotify | AlertDescription::UserCanceled) => {
                    Outcome::Abandoned
                }
                Error::AlertReceived(_) => Outcome::ClientAlert,
                Error::InvalidMessage(_)
                | Error::InappropriateMessage { .. }
                | Error::InappropriateHandshakeMessage { .. }
                | Error::PeerMisbehaved(_)
                | Error::PeerSentOversizedRecord
                | Error::DecryptError => Outcome::Malformed,
                _ => Outcome::Internal,
            },
        }
    }
}

impl From<Error> for TlsError {
    fn from(error: Error) -> Self {
        Self::Protocol(error)
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SourceLimit => f.write_str("too many handshakes of this source"),
            Self::WorkerLimit => f.write_str("too many handshakes of this worker"),
            Self::NotTls => f.write_str("the client does not speak TLS"),
            Self::HandshakeTooLarge => f.write_str("handshake messages are too large"),
            Self::Closed => f.write_str("the connection is closed"),
            Self::NotEstablished => f.write_str("the handshake is not complete"),
            Self::Protocol(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TlsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_slot_and_name() {
        for (index, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
            let same = Outcome::ALL.iter().filter(|other| other.name() == outcome.name());
            assert_eq!(same.count(), 1, "{}", outcome.name());
        }
    }
}
