//! The replicated ban list: what a node and an orchestrator hold alike.
//!
//! Owns: entries, their order in time, merging, forgetting, the digest. Does not own: the allowlist (callers pass
//! nothing that must not be enforced), enforcement (the node), transport and storage.
//!
//! # What converges, and when
//! A state-based CRDT: per prefix the entry with the newest [`Stamp`] holds; two entries of one stamp are ordered
//! by their content. Merging is commutative, associative and idempotent, so that order, repetition and partitions
//! do not matter. Whether an entry is in force depends on its end and the holder's clock only.
//!
//! # Forgetting
//! When an entry is forgotten follows from the entry alone ([`Entry::forget_at_ms`]): replicas need not agree on it.
//! * Lifts, and bans of people that have ended, stay [`RETENTION_MS`]: for that time they win over what a replica
//!   that was away still holds.
//! * Bans that nodes set by themselves stay [`GRACE_MS`] after their end: nobody lifted them, so nothing can be
//!   undone by what returns.
//! * An entry that is past this is not taken from others either.
//!
//! A replica that was away longer than the retention may still hold a ban whose lift is forgotten. Replicas made
//! by [`Replica::keeper`] (orchestrators) remember one number, the newest stamp among such forgotten lifts. A ban
//! that they do not hold and that is older than this number comes too late: they lift it anew and pass the lift on,
//! which by its stamp wins wherever the ban is. A replica that never forgot a lift takes everything.
//! Price: a ban without end that was set on a node cut off for more than the retention may be lifted, too
//! ([`Losses::late`] counts, the entry's reason says so).
//!
//! # Clocks
//! [`Clock`] is a hybrid logical clock: what is decided after seeing an entry wins over it, whatever the wall clocks
//! say. Entries more than [`SKEW_MS_MAX`] ahead of the own clock are refused and counted; the replica that
//! wrote them writes them anew once its clock is right.
//!
//! # Cost
//! About 150 bytes per entry with an end plus its texts, each distinct text once; 1,000,000 entries with a
//! handful of reasons are 150 MB. A change costs a look-up and two SHA-256, 1-2 µs; [`Replica::covering`] a look-up
//! per prefix length in use.

mod clock;
mod entry;
mod pool;
mod replica;
mod table;
pub mod wire;

pub use clock::{Clock, Stamp};
pub use entry::{Entry, Origin, canonical};
pub use replica::{Losses, Page, Refusal, Replica};

/// How far a remote stamp may be ahead of the own clock, in milliseconds: a day. Nodes without a battery behind
/// their clock are hours off, not days. Further ahead: refused, counted in [`Losses::ahead`].
pub const SKEW_MS_MAX: u64 = 24 * 3_600_000;

/// How long lifts and ended bans of people are kept, in milliseconds: seven days, longer than a partition that
/// nobody repairs.
pub const RETENTION_MS: u64 = 7 * 24 * 3_600_000;

/// How long bans that nodes set themselves are kept after their end, in milliseconds: an hour, so that they are
/// shown for a while and clocks that differ do not send them to and fro.
pub const GRACE_MS: u64 = 3_600_000;

/// Most entries of a replica that names no other limit: 150 MB. Full: see [`Replica`].
pub const ENTRIES_MAX: usize = 1_000_000;

/// Longest reason in bytes, a sentence or two; longer ones are cut at a character.
pub const REASON_BYTES_MAX: usize = 256;

/// Longest name of an actor in bytes; longer ones are cut at a character.
pub const ACTOR_BYTES_MAX: usize = 128;

/// Widest IPv4 prefix that can be banned: 1/256 of the Internet. Wider is a typing mistake that would cut everybody
/// off, and is refused.
pub const PREFIX_BITS_MIN_V4: u8 = 8;

/// Widest IPv6 prefix that can be banned; whole registries are narrower.
pub const PREFIX_BITS_MIN_V6: u8 = 16;
