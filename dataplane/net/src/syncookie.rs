//! SYN cookies (RFC 4987 §3.6): answer a SYN without remembering it, know its ACK again without having asked.
//!
//! Owns: the format below, the secrets and which epoch they belong to, negotiation of options, the SYN-ACK written
//! into the received frame. Does not own: when to use cookies (`halfopen::CookieSwitch`), limits, what happens
//! after a valid ACK (`splice`), time (`now` and the epoch are passed in).
//!
//! ```text
//! sequence number of the SYN-ACK (the cookie)
//!  31  30 29      26 25                                  0
//! +------+----------+-------------------------------------+
//! | epoch|   MSS    |                 MAC                 |   epoch and MSS are XORed with a mix of the
//! |  2   |    4     |                 26                  |   client's ISN, so that the number looks random
//! +------+----------+-------------------------------------+   to whoever did not see the SYN (RFC 6528)
//!
//! TSval of the SYN-ACK, when the client offers timestamps and so do we
//!  31                                    6   5    4   3  0
//! +---------------------------------------+-----+----+------+
//! |   milliseconds + offset of the tuple  | ECN |SACK|wscale|   wscale 15 = not offered
//! +---------------------------------------+-----+----+------+
//!
//! hash = SipHash-2-4(key of the epoch; addresses, ports, client ISN | epoch, MSS, low 6 bits of TSval or "none")
//! MAC  = hash[0..26]      offset of the clock = hash[32..64], so that the clock tells nobody our uptime
//! ```
//!
//! Every field is under the MAC: an ACK with any bit of tuple, sequence number, MSS or option changed fails.
//! **Forging**: whoever has not seen the SYN-ACK, and knows how to choose a live epoch, passes with probability
//! 2^-26 per ACK; one that sends random numbers, with 3/4 of that. (Required: at most 2^-22.)
//! **Age**: the key of an epoch (64 s) is accepted from one epoch before it until one after it, so a cookie lives
//! at least 64 s and at most 128 s, and nodes of a fleet whose clocks differ by less than an epoch agree.
//! **Without timestamps** there is no room for options: window scale, SACK and ECN are then not offered, exactly as
//! a SYN without them would be answered.
//! **Not kept**: an MSS between two entries of the table (rounded down), Fast Open cookies (RFC 7413: ignored,
//! data on the SYN is not acknowledged, and the client sends it again).
//!
//! Cost: one keyed hash per SYN and per ACK (10 SipHash rounds for IPv4, 16 for IPv6), no memory, no allocation.
//! RFCs: 4987, 6528, 7323, 2018, 3168 §6.1.1, 9293 §3.10.7.

mod answer;
#[doc(hidden)]
pub mod fuzz;
pub mod keys;
pub mod mss;

use core::net::IpAddr;

pub use answer::answer_syn;
pub(crate) use answer::{SynAckFrame, write_syn_ack};
pub use keys::{EPOCH_SECS, KeySchedule, Keys, epoch_at};

use crate::flow::{FlowKey, addr_words};
use crate::siphash::hash24;
use crate::time::Instant;
use crate::wire::tcp::{MSS_DEFAULT_V4, MSS_DEFAULT_V6, Options, SynOptions, Timestamps};

/// Bits of the sequence number that are MAC.
const MAC_BITS: u32 = 26;
const MAC_MASK: u32 = (1 << MAC_BITS) - 1;

/// Low bits of TSval that carry options.
const TIMESTAMP_OPTION_BITS: u32 = 6;
const TIMESTAMP_OPTION_MASK: u32 = (1 << TIMESTAMP_OPTION_BITS) - 1;
const TIMESTAMP_SACK: u32 = 1 << 4;
const TIMESTAMP_ECN: u32 = 1 << 5;
const TIMESTAMP_WINDOW_SCALE_NONE: u32 = 15;

/// What the MAC covers in place of option bits when there are no timestamps; no option bits look like it.
const NO_TIMESTAMPS: u32 = 1 << TIMESTAMP_OPTION_BITS;

/// The window scale of our SYN-ACKs: 2^7 lets windows grow to 8 MiB, what Linux chooses with its default buffers.
pub const WINDOW_SCALE_OURS: u8 = 7;

/// The window of our SYN-ACKs, in bytes, never scaled (RFC 7323 §2.2): ten full segments, the initial window of
/// RFC 6928. What the client sends before the backend answers must be held, so more would cost memory.
pub const WINDOW_OURS_BYTES: u16 = 14_600;

/// Hop limit of our SYN-ACKs, as Linux.
pub const HOP_LIMIT_OURS: u8 = 64;

/// What we may promise to clients; no more than every backend of the listener supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// MSS to announce over IPv4, bytes.
    pub mss_v4: u16,
    /// MSS to announce over IPv6, bytes.
    pub mss_v6: u16,
    /// Window of the SYN-ACK, bytes.
    pub window: u16,
    /// Window scale to announce; `None` = do not scale.
    pub window_scale: Option<u8>,
    /// Whether timestamps may be used (RFC 7323). Without them a cookie carries no other option.
    pub timestamps: bool,
    /// Whether SACK may be used (RFC 2018).
    pub sack: bool,
    /// Whether ECN may be used (RFC 3168).
    pub ecn: bool,
}

impl Default for Offer {
    /// Everything, for an MTU of 1,500 bytes.
    fn default() -> Self {
        Self {
            mss_v4: 1460,
            mss_v6: 1440,
            window: WINDOW_OURS_BYTES,
            window_scale: Some(WINDOW_SCALE_OURS),
            timestamps: true,
            sack: true,
            ecn: true,
        }
    }
}

/// What client and node agreed on in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Largest segment the client takes, bytes: as announced, or rounded down by the cookie.
    pub mss: u16,
    /// The client's window scale; `None` = neither side scales.
    pub window_scale: Option<u8>,
    /// Whether both use SACK.
    pub sack_permitted: bool,
    /// Whether both use timestamps.
    pub timestamps: bool,
    /// Whether both use ECN.
    pub ecn: bool,
}

impl ClientOptions {
    /// What can be agreed on with a client whose SYN carried `options`, and ECE with CWR when `ecn`.
    #[inline]
    pub fn negotiate(flow: &FlowKey, options: &Options, ecn: bool, offer: &Offer) -> Self {
        let mss_default = match flow.source.addr {
            IpAddr::V4(_) => MSS_DEFAULT_V4,
            IpAddr::V6(_) => MSS_DEFAULT_V6,
        };
        Self {
            mss: options.mss.unwrap_or(mss_default),
            window_scale: options.window_scale.filter(|_| offer.window_scale.is_some()),
            sack_permitted: options.sack_permitted && offer.sack,
            timestamps: options.timestamps.is_some() && offer.timestamps,
            ecn: ecn && offer.ecn,
        }
    }

    /// Those that survive in a cookie: without timestamps only the MSS.
    #[inline]
    fn without_state(self) -> Self {
        if self.timestamps {
            return self;
        }
        Self { window_scale: None, sack_permitted: false, ecn: false, ..self }
    }

    #[inline]
    fn timestamp_bits(self) -> u32 {
        if !self.timestamps {
            return NO_TIMESTAMPS;
        }
        let scale = self.window_scale.map_or(TIMESTAMP_WINDOW_SCALE_NONE, |scale| u32::from(scale.min(14)));
        let sack = if self.sack_permitted { TIMESTAMP_SACK } else { 0 };
        let ecn = if self.ecn { TIMESTAMP_ECN } else { 0 };
        scale | sack | ecn
    }

    #[inline]
    fn from_timestamp_bits(mss: u16, bits: u32) -> Self {
        if bits == NO_TIMESTAMPS {
            return Self { mss, window_scale: None, sack_permitted: false, timestamps: false, ecn: false };
        }
        let scale = bits & 0x0f;
        Self {
            mss,
            window_scale: (scale != TIMESTAMP_WINDOW_SCALE_NONE).then_some(scale as u8),
            sack_permitted: bits & TIMESTAMP_SACK != 0,
            timestamps: true,
            ecn: bits & TIMESTAMP_ECN != 0,
        }
    }
}

/// A SYN-ACK to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynAck {
    /// Its sequence number: our ISN.
    pub isn: u32,
    /// Its acknowledgment number: the client's ISN plus one. Data on the SYN is not acknowledged.
    pub ack: u32,
    /// Its window, bytes.
    pub window: u16,
    /// Its options.
    pub options: SynOptions,
    /// Whether it carries ECE, taking up ECN (RFC 3168 §6.1.1).
    pub ecn: bool,
}

impl SynAck {
    /// The SYN-ACK with sequence number `isn` that confirms `agreed`; `timestamps` are ours and the client's clock.
    #[inline]
    pub(crate) fn new(
        flow: &FlowKey,
        client_isn: u32,
        isn: u32,
        agreed: &ClientOptions,
        timestamps: Timestamps,
        offer: &Offer,
    ) -> Self {
        let mss = match flow.source.addr {
            IpAddr::V4(_) => offer.mss_v4,
            IpAddr::V6(_) => offer.mss_v6,
        };
        Self {
            isn,
            ack: client_isn.wrapping_add(1),
            window: offer.window,
            options: SynOptions {
                mss: Some(mss),
                window_scale: offer.window_scale.filter(|_| agreed.window_scale.is_some()),
                sack_permitted: agreed.sack_permitted,
                timestamps: agreed.timestamps.then_some(timestamps),
            },
            ecn: agreed.ecn,
        }
    }
}

/// Makes the SYN-ACK with a cookie for a SYN from `flow.source`. `ecn`: the SYN carried ECE and CWR.
#[inline]
pub fn make(
    keys: &Keys,
    flow: &FlowKey,
    client_isn: u32,
    options: &Options,
    ecn: bool,
    offer: &Offer,
    now: Instant,
) -> SynAck {
    let agreed = ClientOptions::negotiate(flow, options, ecn, offer).without_state();
    let index = mss::index(flow.source.addr, agreed.mss);
    let bits = agreed.timestamp_bits();
    let epoch = keys.epoch();
    let hash = hash(keys.current(), flow, client_isn, epoch, index, bits);
    let top = ((epoch & 3) << 4 | u32::from(index)) ^ blind(client_isn);
    let clock = (now.as_millis() as u32).wrapping_add((hash >> 32) as u32);
    let timestamps = Timestamps {
        value: clock & !TIMESTAMP_OPTION_MASK | bits & TIMESTAMP_OPTION_MASK,
        echo: options.timestamps.map_or(0, |timestamps| timestamps.value),
    };
    let isn = top << MAC_BITS | hash as u32 & MAC_MASK;
    SynAck::new(flow, client_isn, isn, &agreed, timestamps, offer)
}

/// Checks the ACK of a handshake: `flow.source` acknowledges `cookie` (its acknowledgment number minus one), having
/// started from `client_isn` (its sequence number minus one); `echo` is its TSecr when it carries timestamps.
///
/// `None` when the cookie is not one of ours, or too old. Stateless, so the same ACK sent again passes again: look
/// for an open flow first.
#[inline]
pub fn check(
    keys: &Keys,
    flow: &FlowKey,
    client_isn: u32,
    cookie: u32,
    echo: Option<u32>,
) -> Option<ClientOptions> {
    let top = (cookie >> MAC_BITS) ^ blind(client_isn);
    let (epoch, key) = keys.find(top >> 4)?;
    let index = (top & 0x0f) as u8;
    let bits = echo.map_or(NO_TIMESTAMPS, |echo| echo & TIMESTAMP_OPTION_MASK);
    let hash = hash(key, flow, client_isn, epoch, index, bits);
    if (hash as u32 ^ cookie) & MAC_MASK != 0 {
        return None;
    }
    Some(ClientOptions::from_timestamp_bits(mss::value(flow.source.addr, index), bits))
}

/// Six bits of the client's ISN, mixed: hides epoch and MSS from whoever did not see the SYN. A mask, not a secret.
#[inline]
const fn blind(client_isn: u32) -> u32 {
    client_isn.wrapping_mul(0x9e37_79b1) >> MAC_BITS
}

#[inline]
fn hash(
    key: &crate::flow::HashKey,
    flow: &FlowKey,
    client_isn: u32,
    epoch: u32,
    mss_index: u8,
    timestamp_bits: u32,
) -> u64 {
    let ports = u64::from(flow.source.port) << 16 | u64::from(flow.destination.port);
    let numbers = ports << 32 | u64::from(client_isn);
    let tail = u64::from(timestamp_bits) << 40 | u64::from(mss_index) << 32 | u64::from(epoch);
    match (flow.source.addr, flow.destination.addr) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let addrs = u64::from(u32::from(source)) << 32 | u64::from(u32::from(destination));
            hash24(key, [addrs, numbers], tail, 6)
        }
        (source, destination) => {
            let ([a, b], [c, d]) = (addr_words(source), addr_words(destination));
            hash24(key, [a, b, c, d, numbers], tail, 6)
        }
    }
}
