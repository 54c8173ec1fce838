//! What a client did that HTTP/2 or our limits do not allow: one variant, one name, one counter.
//!
//! Owns: the list and the error code each entry is answered with (RFC 9113 §7). Does not own: the counters; the
//! caller adds one for each [`Event::Violation`](super::Event), which also says whether a stream or the connection
//! ended. docs/http2.md has a line for each; a test compares.

/// Error codes of RST_STREAM and GOAWAY (RFC 9113 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Reason {
    /// NO_ERROR: graceful end.
    NoError = 0x0,
    /// PROTOCOL_ERROR.
    ProtocolError = 0x1,
    /// INTERNAL_ERROR: we failed, or the origin did.
    InternalError = 0x2,
    /// FLOW_CONTROL_ERROR.
    FlowControlError = 0x3,
    /// SETTINGS_TIMEOUT.
    SettingsTimeout = 0x4,
    /// STREAM_CLOSED.
    StreamClosed = 0x5,
    /// FRAME_SIZE_ERROR.
    FrameSizeError = 0x6,
    /// REFUSED_STREAM: nothing was done, the client may try again.
    RefusedStream = 0x7,
    /// CANCEL.
    Cancel = 0x8,
    /// COMPRESSION_ERROR.
    CompressionError = 0x9,
    /// CONNECT_ERROR.
    ConnectError = 0xa,
    /// ENHANCE_YOUR_CALM: the client costs more than it is worth.
    EnhanceYourCalm = 0xb,
    /// INADEQUATE_SECURITY.
    InadequateSecurity = 0xc,
    /// HTTP_1_1_REQUIRED.
    Http11Required = 0xd,
}

impl Reason {
    /// The reason a code stands for; unknown codes count as INTERNAL_ERROR (RFC 9113 §7).
    pub const fn from_code(code: u32) -> Self {
        match code {
            0x0 => Self::NoError,
            0x1 => Self::ProtocolError,
            0x3 => Self::FlowControlError,
            0x4 => Self::SettingsTimeout,
            0x5 => Self::StreamClosed,
            0x6 => Self::FrameSizeError,
            0x7 => Self::RefusedStream,
            0x8 => Self::Cancel,
            0x9 => Self::CompressionError,
            0xa => Self::ConnectError,
            0xb => Self::EnhanceYourCalm,
            0xc => Self::InadequateSecurity,
            0xd => Self::Http11Required,
            _ => Self::InternalError,
        }
    }

    /// The number on the wire.
    pub const fn code(self) -> u32 {
        self as u32
    }
}

macro_rules! violations {
    ($($(#[$doc:meta])* $variant:ident, $name:literal, $reason:ident;)*) => {
        /// Why a stream or a connection was ended by us.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Violation {
            $($(#[$doc])* $variant,)*
        }

        impl Violation {
            /// Every violation, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The label of its counter.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The error code the client is told.
            pub const fn reason(self) -> Reason {
                match self {
                    $(Self::$variant => Reason::$reason,)*
                }
            }

            /// The status such a request is answered with, where an answer says more than a reset.
            pub const fn status(self) -> Option<u16> {
                match self {
                    Self::TraceBody => Some(400),
                    Self::TargetBytes => Some(414),
                    Self::Expectation => Some(417),
                    Self::HeaderListSize => Some(431),
                    Self::Connect => Some(501),
                    _ => None,
                }
            }

            /// Its place in [`Self::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

violations! {
    /// The connection did not open with the client preface (RFC 9113 §3.4).
    Preface, "preface", ProtocolError;
    /// A frame of impossible length for its type, or longer than SETTINGS_MAX_FRAME_SIZE (RFC 9113 §4.2).
    FrameSize, "frame_size", FrameSizeError;
    /// A frame on a stream where it cannot be, or out of order (RFC 9113 §5.1, §6).
    FrameOrder, "frame_order", ProtocolError;
    /// A frame on a stream that the client itself had ended (RFC 9113 §5.1).
    StreamClosed, "stream_closed", StreamClosed;
    /// A setting with a value out of its range (RFC 9113 §6.5.2).
    SettingValue, "setting_value", ProtocolError;
    /// A header block that cannot be decoded (RFC 7541), or that ends within a field.
    Compression, "compression", CompressionError;
    /// More DATA than a window allows, or a window above 2^31-1 (RFC 9113 §6.9.1).
    FlowControl, "flow_control", FlowControlError;
    /// A window update by zero (RFC 9113 §6.9).
    WindowIncrement, "window_increment", ProtocolError;
    /// Our SETTINGS were not acknowledged in time.
    SettingsTimeout, "settings_timeout", SettingsTimeout;
    /// PING frames above their rate (CVE-2019-9512).
    PingFlood, "ping_flood", EnhanceYourCalm;
    /// SETTINGS frames above their rate, or too many settings in one (CVE-2019-9515).
    SettingsFlood, "settings_flood", EnhanceYourCalm;
    /// Streams reset by the client, or by us through its fault, above their rate (CVE-2023-44487, CVE-2025-8671).
    RapidReset, "rapid_reset", EnhanceYourCalm;
    /// A header block in too many frames (CVE-2024-27316).
    ContinuationFlood, "continuation_flood", EnhanceYourCalm;
    /// DATA frames with no or very few bytes above their rate (CVE-2019-9518).
    EmptyDataFlood, "empty_data_flood", EnhanceYourCalm;
    /// WINDOW_UPDATE frames above what our DATA asks for (CVE-2019-9511).
    WindowUpdateFlood, "window_update_flood", EnhanceYourCalm;
    /// PRIORITY and PRIORITY_UPDATE frames above their rate (CVE-2019-9513).
    PriorityFlood, "priority_flood", EnhanceYourCalm;
    /// Frames of unknown types, or on streams that are gone, above their rate.
    StrayFrameFlood, "stray_frame_flood", EnhanceYourCalm;
    /// A header list so far above its limit that decoding it to the end is not worth it (HPACK bomb).
    HeaderBomb, "header_bomb", EnhanceYourCalm;
    /// A header list above SETTINGS_MAX_HEADER_LIST_SIZE, or with too many fields; answered with 431.
    HeaderListSize, "header_list_size", EnhanceYourCalm;
    /// More streams at once than SETTINGS_MAX_CONCURRENT_STREAMS.
    ConcurrentStreams, "concurrent_streams", RefusedStream;
    /// A malformed request: pseudo-header fields missing, doubled, unknown or after others (RFC 9113 §8.3).
    PseudoHeader, "pseudo_header", ProtocolError;
    /// A field name with upper case or bytes that are no token, a value with CR, LF, NUL (RFC 9113 §8.2.1); a name
    /// that is one we act on but for `_` in place of `-`, which some origins take for the same.
    FieldBytes, "field_bytes", ProtocolError;
    /// Connection, Transfer-Encoding, Upgrade and their like, or TE with more than `trailers` (RFC 9113 §8.2.2).
    ConnectionField, "connection_field", ProtocolError;
    /// Content-Length doubled, unreadable, or not what the DATA frames add up to (RFC 9113 §8.1.1).
    ContentLength, "content_length", ProtocolError;
    /// :authority and Host say different things, or one of them is no authority.
    Authority, "authority", ProtocolError;
    /// Trailers without END_STREAM, or with pseudo-header fields (RFC 9113 §8.1).
    Trailers, "trailers", ProtocolError;
    /// A path above its limit; answered with 414.
    TargetBytes, "target_bytes", EnhanceYourCalm;
    /// An expectation other than 100-continue (RFC 9110 §10.1.1); answered with 417.
    Expectation, "expectation", RefusedStream;
    /// TRACE with a body (RFC 9110 §9.3.8); answered with 400.
    TraceBody, "trace_body", RefusedStream;
    /// CONNECT: this is no tunnel to elsewhere; answered with 501.
    Connect, "connect", RefusedStream;
    /// A preface, frame or header block that stays unfinished for too long.
    SlowHead, "slow_head", EnhanceYourCalm;
    /// A request body of which nothing arrives for too long, although there is room for it.
    SlowBody, "slow_body", Cancel;
    /// A stream window kept shut while we have something to send (CVE-2019-9517).
    StalledStream, "stalled_stream", Cancel;
    /// The connection window, or the transport, kept shut while we have something to send.
    StalledConnection, "stalled_connection", EnhanceYourCalm;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_violation_has_a_name_of_its_own_and_knows_its_place() {
        for (index, violation) in Violation::ALL.iter().enumerate() {
            assert_eq!(violation.index(), index);
            let same = Violation::ALL.iter().filter(|other| other.name() == violation.name()).count();
            assert_eq!(same, 1, "{}", violation.name());
        }
    }

    #[test]
    fn codes_survive_the_way_there_and_back() {
        for code in 0..=0xd {
            assert_eq!(Reason::from_code(code).code(), code);
        }
        assert_eq!(Reason::from_code(0xdead), Reason::InternalError);
    }
}
