//! Where clients' connections come in, and what a session needs of the connection under it.
//!
//! Owns: [`Front`], the seam between `session` and whatever carries its bytes: [`socket`] (kernel sockets: any Linux,
//! no privilege) and [`packet`] (our own TCP on frames). Does not own: what the bytes mean (`session`).
//!
//! ```text
//!   client --bytes--> front --handle_data, handle_writable, handle_end, handle_closed--> session
//!   client <--bytes-- front <--send, finish, close, abort, resume----------------------- session
//! ```
//! Rules both sides hold to:
//! * The front calls the session, passing itself; the session calls back at once or later. A front never calls a
//!   session from inside one of these methods: what follows from them (`resume`, room that came back) is done after
//!   the session's call has returned.
//! * A session ends by exactly one of `close`, `abort` (the session forgets the client, the front calls it no more)
//!   and `Sessions::handle_closed` (the front has forgotten the client, the session calls it no more).

pub mod packet;
pub mod socket;

/// Names a connection within its front. Only the front knows what is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(pub u64);

/// What a session needs of the connections under it. Methods never block; an unknown client is ignored (`room` and
/// `send` answer 0).
pub trait Front {
    /// Bytes that [`Front::send`] would surely or probably take now. An estimate: the session uses it to encrypt
    /// no more than fits; a kernel socket that has not refused anything since its last wake-up may say any
    /// comfortable number.
    fn room(&self, client: ClientId) -> usize;

    /// Sends as many of `bytes` as fit and says how many. After a short answer the front calls
    /// `Sessions::handle_writable` once there is room again.
    fn send(&mut self, client: ClientId, bytes: &[u8]) -> usize;

    /// Ends our direction: FIN after the last byte taken. The client's direction stays open; its data and end are
    /// still reported.
    fn finish(&mut self, client: ClientId);

    /// The session is done with the client: FIN after the last byte taken if there was none yet, then the
    /// connection is released; what the client still sends is of no interest. The session is forgotten.
    fn close(&mut self, client: ClientId);

    /// RST; what was not delivered is lost. The session is forgotten.
    fn abort(&mut self, client: ClientId);

    /// The session can take input again after an answer of `Sessions::handle_data` that was shorter than its
    /// input: the front calls it again with what it kept, later in the same turn, and goes on reading.
    fn resume(&mut self, client: ClientId);
}
