//! The wire between SecBeat's planes: messages and services of `secbeat.v1`, generated from `proto/secbeat/v1`.
//!
//! Owns: the `.proto` files, the code made of them, the descriptor. Does not own: what a value means or whether it
//! is allowed (`secbeat-config`), transport, authentication. Feature `rpc` adds tonic's clients and servers; without
//! it there are only messages. How files may change stands at the head of `types.proto`; `descriptor.bin` in this
//! folder is what is promised, and a test holds the code against it.
#![forbid(unsafe_code)]

/// Messages and services, first version.
#[expect(missing_docs, reason = "generated; the .proto files are the documentation")]
#[allow(clippy::all, clippy::use_self, clippy::semicolon_if_nothing_returned, unreachable_pub)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/secbeat.v1.rs"));
}

/// The compiled `.proto` files as a `FileDescriptorSet`: what gRPC reflection serves.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

/// The version of the stream between node and orchestrator that this code speaks.
pub const PROTOCOL: u32 = 1;
