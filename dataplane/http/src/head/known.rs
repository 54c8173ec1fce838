//! Field names that proxies act on, so that each is compared once, when it arrives.

macro_rules! known {
    ($($variant:ident = $name:literal;)+) => {
        /// A field name we act on, or `Other`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "each variant is the field it is named after")]
        pub enum Known {
            #[default]
            Other,
            $($variant,)+
        }

        impl Known {
            /// The name in lower case; empty for `Other`.
            pub const fn name(self) -> &'static str {
                match self { Self::Other => "", $(Self::$variant => $name,)+ }
            }

            /// Every known name.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
        }
    };
}

known! {
    Accept = "accept";
    AcceptEncoding = "accept-encoding";
    AltSvc = "alt-svc";
    Authorization = "authorization";
    CacheControl = "cache-control";
    Connection = "connection";
    ContentEncoding = "content-encoding";
    ContentLength = "content-length";
    ContentType = "content-type";
    Cookie = "cookie";
    Date = "date";
    Expect = "expect";
    Forwarded = "forwarded";
    Host = "host";
    Http2Settings = "http2-settings";
    KeepAlive = "keep-alive";
    Location = "location";
    Origin = "origin";
    Proxy = "proxy";
    ProxyAuthenticate = "proxy-authenticate";
    ProxyAuthorization = "proxy-authorization";
    ProxyConnection = "proxy-connection";
    Referer = "referer";
    SecWebSocketKey = "sec-websocket-key";
    SecWebSocketVersion = "sec-websocket-version";
    Server = "server";
    SetCookie = "set-cookie";
    Te = "te";
    Trailer = "trailer";
    TransferEncoding = "transfer-encoding";
    Upgrade = "upgrade";
    UserAgent = "user-agent";
    Via = "via";
    XForwardedFor = "x-forwarded-for";
    XForwardedHost = "x-forwarded-host";
    XForwardedPort = "x-forwarded-port";
    XForwardedProto = "x-forwarded-proto";
    XRealIp = "x-real-ip";
    XRequestId = "x-request-id";
}

/// Longest known name, bytes.
const NAME_LEN_MAX: usize = 21;

/// Names by length: few share one, so a lookup is one or two comparisons.
const BY_LENGTH: [&[Known]; NAME_LEN_MAX + 1] = {
    use Known::*;
    let mut table: [&[Known]; NAME_LEN_MAX + 1] = [&[]; NAME_LEN_MAX + 1];
    table[2] = &[Te];
    table[3] = &[Via];
    table[4] = &[Host, Date];
    table[5] = &[Proxy];
    table[6] = &[Accept, Cookie, Origin, Expect, Server];
    table[7] = &[Referer, Upgrade, Trailer, AltSvc];
    table[8] = &[Location];
    table[9] = &[Forwarded, XRealIp];
    table[10] = &[Connection, UserAgent, KeepAlive, SetCookie];
    table[12] = &[ContentType, XRequestId];
    table[13] = &[Authorization, CacheControl];
    table[14] = &[ContentLength, Http2Settings];
    table[15] = &[AcceptEncoding, XForwardedFor];
    table[16] = &[ContentEncoding, XForwardedHost, XForwardedPort, ProxyConnection];
    table[17] = &[TransferEncoding, XForwardedProto, SecWebSocketKey];
    table[18] = &[ProxyAuthenticate];
    table[19] = &[ProxyAuthorization];
    table[21] = &[SecWebSocketVersion];
    table
};

impl Known {
    /// Which name these bytes are, whatever their case.
    pub fn of(name: &[u8]) -> Self {
        let candidates = BY_LENGTH.get(name.len()).copied().unwrap_or_default();
        for known in candidates {
            if name.eq_ignore_ascii_case(known.name().as_bytes()) {
                return *known;
            }
        }
        Self::Other
    }

    /// Whether a name passes as a known one with servers that read `_` as `-` (CGI and what came after it):
    /// `Content_Length`, `X_Forwarded_For`.
    pub fn is_alias(name: &[u8]) -> bool {
        if name.len() > NAME_LEN_MAX || memchr::memchr(b'_', name).is_none() {
            return false;
        }
        let mut dashed = [0u8; NAME_LEN_MAX];
        for (to, from) in dashed.iter_mut().zip(name) {
            *to = if *from == b'_' { b'-' } else { *from };
        }
        Self::of(dashed.get(..name.len()).unwrap_or_default()) != Self::Other
    }

    /// Whether a field concerns one connection only and never passes a proxy (RFC 9110 §7.6.1), named by
    /// `Connection` or not.
    pub const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::ProxyAuthenticate
                | Self::ProxyAuthorization
                | Self::Te
                | Self::Trailer
                | Self::TransferEncoding
                | Self::Upgrade
                | Self::Http2Settings
        )
    }

    /// Whether a trailer of this name would change framing, routing or authentication (RFC 9110 §6.5.1). The whole
    /// list, names that nothing else here acts on among it, is behind [`super::Field::may_trail`].
    pub const fn is_forbidden_in_trailers(self) -> bool {
        self.is_hop_by_hop()
            || matches!(
                self,
                Self::Authorization
                    | Self::CacheControl
                    | Self::ContentEncoding
                    | Self::ContentLength
                    | Self::ContentType
                    | Self::Cookie
                    | Self::Expect
                    | Self::Forwarded
                    | Self::Host
                    | Self::Location
                    | Self::SetCookie
                    | Self::XForwardedFor
                    | Self::XForwardedHost
                    | Self::XForwardedPort
                    | Self::XForwardedProto
                    | Self::XRealIp
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for known in Known::ALL {
            assert_eq!(Known::of(known.name().as_bytes()), *known);
            assert_eq!(Known::of(known.name().to_ascii_uppercase().as_bytes()), *known);
        }
    }

    #[test]
    fn a_near_miss_is_another_name() {
        for name in [
            "",
            "hos",
            "hosts",
            "content_length",
            "transfer-encodin\u{212a}",
            "x",
            "proxy-connections-more-and-more",
        ] {
            assert_eq!(Known::of(name.as_bytes()), Known::Other, "{name}");
        }
    }
}
