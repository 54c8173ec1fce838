//! Which upgrades are well formed (RFC 9110 §7.8, RFC 6455 §4).
