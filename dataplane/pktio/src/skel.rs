//! The skeletons that the build generates from the C programs: maps, constants and types.
//!
//! Owns: nothing by hand. The unsafe code in them is libbpf-cargo's.
#![allow(
    dead_code,
    missing_docs,
    non_camel_case_types,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    reason = "generated"
)]

pub(crate) mod bare {
    include!(concat!(env!("OUT_DIR"), "/bare.skel.rs"));
}

pub(crate) mod generator {
    include!(concat!(env!("OUT_DIR"), "/generator.skel.rs"));
}

pub(crate) mod xdp {
    include!(concat!(env!("OUT_DIR"), "/xdp.skel.rs"));
}
