//! `Forwarded` (RFC 7239) and `X-Forwarded-*`: values for the origin about the client's side.
