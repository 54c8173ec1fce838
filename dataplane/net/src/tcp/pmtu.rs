//! How large a segment the path carries (RFC 1191, RFC 8201), also where nobody says so (RFC 4821).
//!
//! Owns: the path MTU of one connection, the segment size that follows from it and from the peer's MSS option, the
//! suspicion of a black hole. Does not own: whether an ICMP message is believed (`send` asks for a sequence number in
//! flight, RFC 5927 §7), the segments.
//!
//! The size only goes down during a connection: probing upward again, as RFC 4821 §7 does, is not worth its state for
//! connections that live seconds to minutes.

/// Least path MTU believed over IPv4, bytes: Linux's `min_pmtu`. Anything smaller is an attempt to make us cut
/// answers into crumbs (RFC 5927 §7.3).
const MTU_MIN_V4: u16 = 552;

/// Least path MTU over IPv6 (RFC 8200 §5).
const MTU_MIN_V6: u16 = 1_280;

/// First size to fall back to when full segments vanish without a word: RFC 4821 §7.2 `eff_pmtu` of 1,024 bytes of
/// segment, which passes every tunnel in use.
const MTU_FALLBACK_V4: u16 = 1_064;

/// Timeouts in a row after which a black hole is suspected, of a segment longer than any that ever arrived.
const TIMEOUTS_UNPROVEN_MAX: u8 = 2;

/// The same of a segment no longer than one that did arrive: rather loss than a route that has just changed.
const TIMEOUTS_PROVEN_MAX: u8 = 5;

/// Least segment size of a peer that is honoured, bytes, as in the SYN cookie's table: below it nobody is served,
/// whatever it asks for (CVE-2019-11479).
const MSS_MIN: u16 = 256;

/// Bytes of a TCP header without options.
const TCP_HEADER_BYTES: u16 = 20;

/// Bytes of the timestamps option with its padding (RFC 7323 appendix A).
const TIMESTAMPS_BYTES: u16 = 12;

/// Least payload of a segment, whatever else it must carry: MSS_MIN less the longest options.
const PAYLOAD_MIN: u16 = MSS_MIN - 40;

/// What is known of one path.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathMtu {
    mtu: u16,
    peer_mss: u16,
    /// Longest payload that has arrived.
    proven: u16,
    ip_header_len: u8,
    timeouts: u8,
    has_timestamps: bool,
}

impl PathMtu {
    /// A path that carries what our link does, until it is known better.
    pub(super) fn new(mtu: u16, peer_mss: u16, ip_header_len: u8, has_timestamps: bool) -> Self {
        let mut path = Self {
            mtu,
            peer_mss: peer_mss.max(MSS_MIN),
            proven: 0,
            ip_header_len,
            timeouts: 0,
            has_timestamps,
        };
        path.mtu = mtu.max(path.mtu_min());
        path
    }

    fn is_v6(&self) -> bool {
        self.ip_header_len >= 40
    }

    fn mtu_min(&self) -> u16 {
        if self.is_v6() { MTU_MIN_V6 } else { MTU_MIN_V4 }
    }

    /// Largest TCP segment less its fixed header: options and payload.
    fn segment_max(&self) -> u16 {
        let headers = u16::from(self.ip_header_len) + TCP_HEADER_BYTES;
        self.mtu.saturating_sub(headers).min(self.peer_mss)
    }

    /// Payload of a segment with `options_len` bytes of options.
    #[inline]
    pub(super) fn payload_max(&self, options_len: usize) -> u16 {
        let options_len = u16::try_from(options_len).unwrap_or(40).min(40);
        self.segment_max().saturating_sub(options_len).max(PAYLOAD_MIN)
    }

    /// Payload of a full segment without SACK: the unit of congestion control (SMSS).
    #[inline]
    pub(super) fn mss(&self) -> u16 {
        self.payload_max(if self.has_timestamps { usize::from(TIMESTAMPS_BYTES) } else { 0 })
    }

    /// A router says that packets above `mtu` do not pass. Whether segments get smaller by that.
    pub(super) fn lower(&mut self, mtu: u16) -> bool {
        let (before, mtu) = (self.mss(), mtu.max(self.mtu_min()));
        if mtu >= self.mtu {
            return false;
        }
        self.mtu = mtu;
        self.timeouts = 0;
        self.mss() < before
    }

    /// The retransmission timer ran out for a segment with `len` bytes of payload. Whether segments get smaller by
    /// that.
    pub(super) fn on_timeout(&mut self, len: u16) -> bool {
        let fallback = if self.is_v6() { MTU_MIN_V6 } else { MTU_FALLBACK_V4 };
        let target = if self.mtu > fallback { fallback } else { self.mtu_min() };
        let smaller = Self { mtu: self.mtu.min(target), ..*self };
        if len <= smaller.mss() {
            return false;
        }
        self.timeouts = self.timeouts.saturating_add(1);
        let most = if len > self.proven { TIMEOUTS_UNPROVEN_MAX } else { TIMEOUTS_PROVEN_MAX };
        if self.timeouts < most {
            return false;
        }
        self.proven = 0;
        self.lower(target)
    }

    /// SND.UNA has moved: whatever the last timeouts were about, it passed.
    #[inline]
    pub(super) fn on_progress(&mut self) {
        self.timeouts = 0;
    }

    /// A segment of `len` bytes has arrived, acknowledged or sacked.
    #[inline]
    pub(super) fn on_arrived(&mut self, len: u16) {
        self.proven = self.proven.max(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_size_is_the_least_of_peer_and_path_less_options() {
        assert_eq!(PathMtu::new(1_500, 1_460, 20, true).mss(), 1_448);
        assert_eq!(PathMtu::new(1_500, 1_460, 20, false).mss(), 1_460);
        assert_eq!(PathMtu::new(1_500, 8_960, 20, false).mss(), 1_460);
        assert_eq!(PathMtu::new(9_000, 1_400, 40, false).mss(), 1_400);
        assert_eq!(PathMtu::new(1_500, 1_460, 20, true).payload_max(36), 1_424);
    }

    #[test]
    fn tiny_segments_are_not_served() {
        let path = PathMtu::new(1_500, 8, 20, true);
        assert_eq!(path.mss(), 244);
        assert_eq!(path.payload_max(9_999), 216);
        assert_eq!(PathMtu::new(68, 1_460, 20, false).mss(), 512);
    }

    #[test]
    fn path_gets_smaller_but_not_below_the_floor_and_never_larger() {
        let mut path = PathMtu::new(1_500, 1_460, 20, false);
        assert!(path.lower(1_400));
        assert_eq!(path.mss(), 1_360);
        assert!(!path.lower(1_450));
        assert!(path.lower(68));
        assert_eq!(path.mss(), 512);
        assert!(!path.lower(0));
        let mut path = PathMtu::new(1_500, 1_440, 40, false);
        assert!(path.lower(0));
        assert_eq!(path.mss(), 1_220);
    }

    #[test]
    fn full_segments_that_time_out_twice_get_smaller_in_two_steps() {
        let mut path = PathMtu::new(1_500, 1_460, 20, false);
        assert!(!path.on_timeout(1_460));
        assert!(path.on_timeout(1_460));
        assert_eq!(path.mss(), 1_024);
        assert!(!path.on_timeout(1_024));
        path.on_progress();
        assert!(!path.on_timeout(1_024));
        assert!(path.on_timeout(1_024));
        assert_eq!(path.mss(), 512);
        assert!(!path.on_timeout(512));
    }

    #[test]
    fn path_that_carried_full_segments_is_suspected_later() {
        let mut path = PathMtu::new(1_500, 1_460, 20, false);
        path.on_arrived(1_460);
        assert!((0..4).all(|_| !path.on_timeout(1_460)));
        assert!(path.on_timeout(1_460));
        assert_eq!(path.mss(), 1_024);
    }

    #[test]
    fn small_segments_that_time_out_say_nothing_about_the_path() {
        let mut path = PathMtu::new(1_500, 1_460, 20, false);
        assert!((0..20).all(|_| !path.on_timeout(900)));
        assert_eq!(path.mss(), 1_460);
    }
}
