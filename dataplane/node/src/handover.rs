//! Frames that landed on the wrong core, handed to the worker that owns their flow.
//!
//! Owns: one inbox per worker (`inbox`) and the hint table (`hint`), which says on a flow-table miss which worker
//! opened a flow. Does not own: flows, or the decision that a frame belongs elsewhere (`pipeline`). Both are run
//! through every interleaving by `dataplane/node/loom`.

mod hint;
mod inbox;

pub use hint::{HINT_SLOTS, HintTable};
pub use inbox::{Handover, INBOX_FRAMES_MAX, Parcel};
