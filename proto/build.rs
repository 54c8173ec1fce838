//! Compiles `proto/secbeat/v1/*.proto` without a protoc, and keeps the descriptor for reflection and the test of
//! compatibility.

use std::path::PathBuf;
use std::{env, fs};

use prost::Message as _;

const FILES: &[&str] = &[
    "secbeat/v1/access.proto",
    "secbeat/v1/ban.proto",
    "secbeat/v1/event.proto",
    "secbeat/v1/fleet.proto",
    "secbeat/v1/node.proto",
    "secbeat/v1/policy.proto",
    "secbeat/v1/types.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptor.bin"), descriptors.encode_to_vec())?;
    let rpc = env::var_os("CARGO_FEATURE_RPC").is_some();
    tonic_prost_build::configure()
        .build_client(rpc)
        .build_server(rpc)
        .build_transport(rpc)
        // Maps in the order of their keys: what is hashed or shown is the same on every machine.
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
