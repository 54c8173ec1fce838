//! Which fields may stand in a trailer section (RFC 9110 §6.5.1).
//!
//! Owns: the names that are left out wherever a section is read or written. A recipient may merge trailers into the
//! head, so whatever would frame, route, authenticate, modify the request, control the response, describe the
//! content, or say who the client is, has no place there. What is not named here passes: checksums (`Digest`,
//! `Content-Digest` of RFC 9530, `ETag`), `Server-Timing`, `Grpc-Status`, fields of the operator's own.
//! Cost: a scan of about 60 names per trailer, on the few messages that have any.

use super::Known;

/// Beginnings of names: whole families.
const PREFIXES: [&[u8]; 14] = [
    b"accept",
    b"access-control-",
    b"authentication-",
    b"authorization",
    b"cf-",
    b"content-",
    b"cookie",
    b"if-",
    b"proxy",
    b"sec-",
    b"set-cookie",
    b"x-forwarded",
    b"x-http-method",
    b"x-original-",
];

/// Whole names, beside those of [`Known::is_forbidden_in_trailers`].
const NAMES: [&[u8]; 31] = [
    b"age",
    b"allow",
    b"alt-svc",
    b"clear-site-data",
    b"client-ip",
    b"date",
    b"early-data",
    b"expires",
    b"fastly-client-ip",
    b"from",
    b"last-modified",
    b"max-forwards",
    b"origin",
    b"pragma",
    b"range",
    b"referer",
    b"refresh",
    b"retry-after",
    b"server",
    b"strict-transport-security",
    b"true-client-ip",
    b"user-agent",
    b"vary",
    b"via",
    b"warning",
    b"www-authenticate",
    b"x-client-ip",
    b"x-powered-by",
    b"x-real-ip",
    b"x-request-id",
    b"x-rewrite-url",
];

/// The one member of the `content-` family that is made for trailers (RFC 9530 §2).
const DIGEST: &[u8] = b"content-digest";

/// Longest name that is compared, bytes: above every name in the lists. Of longer ones the beginning counts.
const COMPARED_BYTES_MAX: usize = 32;

/// Whether a field of this name is left out of trailers. Any case; `_` counts as `-`, as CGI and its successors have
/// it.
pub(crate) fn is_forbidden(name: &[u8], known: Known) -> bool {
    if known.is_forbidden_in_trailers() {
        return true;
    }
    let mut folded = [0; COMPARED_BYTES_MAX];
    for (to, from) in folded.iter_mut().zip(name) {
        *to = if *from == b'_' { b'-' } else { from.to_ascii_lowercase() };
    }
    let folded = folded.get(..name.len().min(COMPARED_BYTES_MAX)).unwrap_or_default();
    let is_alias = memchr::memchr(b'_', name).is_some() && Known::of(folded).is_forbidden_in_trailers();
    is_alias
        || (folded != DIGEST && PREFIXES.iter().any(|prefix| folded.starts_with(prefix)))
        || (name.len() <= COMPARED_BYTES_MAX && NAMES.contains(&folded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forbidden(name: &str) -> bool {
        is_forbidden(name.as_bytes(), Known::of(name.as_bytes()))
    }

    #[test]
    fn what_frames_routes_or_identifies_is_left_out_in_any_spelling() {
        for name in [
            "Content-Length",
            "content_length",
            "TRANSFER-ENCODING",
            "transfer_encoding",
            "Host",
            "Trailer",
            "TE",
            "Authorization",
            "Authentication-Info",
            "Proxy-Anything-At-All",
            "Content-Range",
            "Content-Security-Policy",
            "CONTENT_TYPE",
            "Content-Digest-Of-Mine",
            "If-None-Match",
            "Range",
            "Max-Forwards",
            "Cookie2",
            "X_Forwarded_For",
            "X-Forwarded-Client-Cert-And-A-Very-Long-Rest-Of-A-Name",
            "X-Real-IP",
            "x_real_ip",
            "X-Request-Id",
            "Sec-Fetch-Site",
            "Access-Control-Allow-Origin",
            "Retry-After",
        ] {
            assert!(forbidden(name), "{name}");
        }
    }

    #[test]
    fn what_sums_up_or_reports_passes() {
        for name in [
            "X-Sum",
            "Digest",
            "Content-Digest",
            "Repr-Digest",
            "ETag",
            "Server-Timing",
            "Grpc-Status",
            "grpc_message",
            "X",
            "a-name-that-is-longer-than-all-that-are-compared",
        ] {
            assert!(!forbidden(name), "{name}");
        }
    }

    #[test]
    fn every_name_in_the_lists_is_short_enough_to_be_compared() {
        for name in NAMES.iter().chain(&PREFIXES).chain([&DIGEST]) {
            assert!(name.len() <= COMPARED_BYTES_MAX && name.iter().all(|byte| !byte.is_ascii_uppercase()));
        }
    }
}
