//! Whole workers over packet I/O in memory: what clients and backends see, and that every frame ends once.

mod attack;
mod handover;
mod handshake;
mod l7;
mod limits;
mod packet;
mod talk;
mod world;
