//! An agent against an orchestrator that is played by hand: what is said, refused, kept and said again.

mod bans;
mod fake;
mod fate;
mod policy;
mod secure;
mod stream;
