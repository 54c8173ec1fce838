//! Where clients' connections come in when the node does not take them as packets.
//!
//! [`socket`] forwards TCP and UDP over ordinary kernel sockets: any Linux, no privilege.

pub mod socket;
