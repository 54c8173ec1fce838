//! Values with a unit or a shape of their own: durations, port ranges, prefixes.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;
use core::time::Duration;
use std::path::PathBuf;

use ipnet::IpNet;

mod web;

pub use web::{HeaderName, HostPattern, LogTarget, UrlPath};

/// A value written as a string (or a number, where its text is one).
pub(crate) trait Value: Sized {
    /// What it looks like, for messages: "an address and a port, e.g. 0.0.0.0:443".
    const EXPECTED: &'static str;

    /// The value, or why not.
    fn parse(text: &str) -> Result<Self, String>;
}

impl Value for String {
    const EXPECTED: &'static str = "a string";

    fn parse(text: &str) -> Result<Self, String> {
        if text.chars().any(char::is_control) {
            return Err("contains control characters".into());
        }
        Ok(text.into())
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("is empty; must be a path".into()),
            text if text.contains('\0') => Err("contains a NUL".into()),
            text => Ok(text.into()),
        }
    }
}

macro_rules! from_str_value {
    ($($type:ty = $expected:literal),+ $(,)?) => {
        $(impl Value for $type {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| concat!("is not ", $expected).into())
            }
        })+
    };
}

from_str_value! {
    u16 = "a number from 0 to 65535",
    u32 = "a number from 0 to 4294967295",
    SocketAddr = "an address and a port, e.g. 192.0.2.1:443 or [2001:db8::1]:443",
    IpAddr = "an IP address, e.g. 192.0.2.1 or 2001:db8::1",
}

/// Where a backend is: an address, or a DNS name that is resolved while the node runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A fixed address.
    Address(SocketAddr),
    /// A DNS name and a port.
    Name {
        /// Host name, labels of letters, digits and hyphens.
        host: String,
        /// Port, host byte order; never 0.
        port: u16,
    },
}

impl Target {
    /// The fixed address, if it is one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(addr) => Some(*addr),
            Self::Name { .. } => None,
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Address(addr) => addr.port(),
            Self::Name { port, .. } => *port,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => write!(f, "{addr}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl Value for Target {
    const EXPECTED: &'static str =
        "an address or a host name with a port, e.g. 192.0.2.1:80 or web.internal:80";

    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(addr) = text.parse() {
            return Ok(Self::Address(addr));
        }
        let wrong = || format!("is not {}", Self::EXPECTED);
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        // Digits and dots alone are an address with a mistake in it, not a name.
        if !is_host_name(host) || host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(wrong());
        }
        match port.parse() {
            Ok(port) if port > 0 => Ok(Self::Name { host: host.into(), port }),
            _ => Err(wrong()),
        }
    }
}

/// RFC 1123 §2.1: labels of up to 63 letters, digits and hyphens, 253 bytes in all. The underscore is let in
/// because service names in containers use it.
pub(crate) fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    host.len() <= 253 && host.split('.').all(label)
}

impl Value for IpNet {
    const EXPECTED: &'static str = "a prefix, e.g. 192.0.2.0/24 or 2001:db8::/32";

    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(addr) = IpAddr::from_str(text) {
            return Ok(Self::from(addr));
        }
        let net = Self::from_str(text).map_err(|_| format!("is not {}", Self::EXPECTED))?;
        if net != net.trunc() {
            return Err(format!("has bits beyond its length; did you mean {}?", net.trunc()));
        }
        Ok(net)
    }
}

/// Ports from `low` to `high`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// First port.
    pub low: u16,
    /// Last port; never below `low`.
    pub high: u16,
}

impl PortRange {
    /// Number of ports, 1 to 65,536.
    pub fn count(self) -> u32 {
        u32::from(self.high) - u32::from(self.low) + 1
    }

    /// Whether `port` is one of them.
    pub fn contains(self, port: u16) -> bool {
        (self.low..=self.high).contains(&port)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high {
            write!(f, "{}", self.low)
        } else {
            write!(f, "{}-{}", self.low, self.high)
        }
    }
}

impl Value for PortRange {
    const EXPECTED: &'static str = "a port or a range of ports, e.g. 443 or 10000-32767";

    fn parse(text: &str) -> Result<Self, String> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        match (low.trim().parse(), high.trim().parse()) {
            (Ok(low), Ok(high)) if low <= high => Ok(Self { low, high }),
            (Ok(_), Ok(_)) => Err("starts above its end".into()),
            _ => Err(format!("is not {}", Self::EXPECTED)),
        }
    }
}

/// The unit of a duration that is written as a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
}

impl Unit {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
        }
    }

    /// `count` of it.
    pub(crate) fn times(self, count: u64) -> Duration {
        match self {
            Self::Seconds => Duration::from_secs(count),
            Self::Milliseconds => Duration::from_millis(count),
            Self::Microseconds => Duration::from_micros(count),
        }
    }
}

/// A duration written as `"5s"`, `"1h 30m"`, `"250ms"`, or as a bare number of `unit`.
pub(crate) fn parse_duration(text: &str, unit: Unit) -> Result<Duration, String> {
    if let Ok(count) = text.parse::<u64>() {
        return Ok(unit.times(count));
    }
    humantime::parse_duration(text).map_err(|_| {
        format!("is not a duration: a number of {}, or e.g. \"250ms\", \"5s\", \"1h 30m\"", unit.name())
    })
}

/// A duration as the reference and messages show it.
pub fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
