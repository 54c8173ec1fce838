//! Grammar shared by HTTP/1.1 and HTTP/2: tokens, field values, targets, authorities (RFC 9110 §5, RFC 3986).
//!
//! Stricter than the RFCs in two places, because what two parsers read differently is how requests are smuggled:
//! an authority holds only what names and addresses hold (no user information, percent-encoding or sub-delimiters),
//! and a target holds no byte over 0x7e and no fragment.
//! Cost: one table lookup per byte.

const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const VALUE: u8 = 4;
const HOST: u8 = 8;

/// What each byte may be part of.
const CLASS: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        let mut class = 0;
        if byte.is_ascii_alphanumeric() || is_token_mark(byte) {
            class |= TOKEN;
        }
        if byte > 0x20 && byte < 0x7f && byte != b'#' {
            class |= TARGET;
        }
        if byte == b'\t' || (byte >= 0x20 && byte != 0x7f) {
            class |= VALUE;
        }
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            class |= HOST;
        }
        table[index] = class;
        index += 1;
    }
    table
};

const fn is_token_mark(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#'
            | b'$'
            | b'%'
            | b'&'
            | b'\''
            | b'*'
            | b'+'
            | b'-'
            | b'.'
            | b'^'
            | b'_'
            | b'`'
            | b'|'
            | b'~'
    )
}

fn all(bytes: &[u8], class: u8) -> bool {
    bytes.iter().all(|byte| CLASS[usize::from(*byte)] & class != 0)
}

/// One byte of a token.
pub fn is_token_byte(byte: u8) -> bool {
    CLASS[usize::from(byte)] & TOKEN != 0
}

/// A token: field names, methods (RFC 9110 §5.6.2).
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TOKEN)
}

/// A field value: visible bytes, space, tab, bytes over 0x7f; no other control byte (RFC 9110 §5.5).
pub fn is_field_value(bytes: &[u8]) -> bool {
    all(bytes, VALUE)
}

/// Bytes that a request target may hold: visible ASCII without `#`.
pub fn is_target(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TARGET)
}

/// `host[:port]`: a name, an IPv4 address, or an IPv6 address in brackets; a port of 1-65535, not empty.
pub fn is_authority(bytes: &[u8]) -> bool {
    let (host, port) = split_authority(bytes);
    let host_is_good = match host {
        [b'[', inner @ .., b']'] => {
            std::str::from_utf8(inner).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
        }
        [] => false,
        name => all(name, HOST),
    };
    host_is_good && port.is_none_or(is_port)
}

/// Host and what follows its colon.
pub fn split_authority(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    let host_end = match bytes {
        [b'[', ..] => memchr::memchr(b']', bytes).map_or(bytes.len(), |at| at + 1),
        _ => memchr::memchr(b':', bytes).unwrap_or(bytes.len()),
    };
    let (host, rest) = bytes.split_at(host_end);
    match rest {
        [] => (host, None),
        [b':', port @ ..] => (host, Some(port)),
        // Something between `]` and the port: no host at all.
        _ => (&[], None),
    }
}

fn is_port(digits: &[u8]) -> bool {
    let is_number = (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let number = digits.iter().take(5).fold(0u32, |sum, digit| sum * 10 + u32::from(digit & 0x0f));
    is_number && (1..=65_535).contains(&number)
}

/// The members of a comma-separated list, without whitespace around them and without empty ones.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// The usual reason phrase of a status (RFC 9110 §15); empty for those without.
pub const fn reason_of(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        511 => "Network Authentication Required",
        _ => "",
    }
}
