//! What rules mean when they run: small rule texts, requests, and what must come of them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "engine/bounds.rs"]
mod bounds;
#[path = "engine/chains.rs"]
mod chains;
#[path = "engine/changes.rs"]
mod changes;
#[path = "engine/collections.rs"]
mod collections;
#[path = "engine/controls.rs"]
mod controls;
#[path = "engine/corpus.rs"]
mod corpus;
#[path = "engine/crs.rs"]
mod crs;
#[path = "seclang/disk.rs"]
mod disk;
#[path = "engine/masks.rs"]
mod masks;
#[path = "engine/order.rs"]
mod order;
#[path = "engine/targets.rs"]
mod targets;
#[path = "engine/watching.rs"]
mod watching;
#[path = "engine/world.rs"]
mod world;
