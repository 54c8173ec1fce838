//! HTTP/2 server side (RFC 9113).
