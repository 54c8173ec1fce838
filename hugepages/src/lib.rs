//! Memory taken once at start: hugepage regions and fixed pools.
//!
//! Owns: [`Region`] (a mapping that says what pages it got) and [`Pool`] (a fixed slab with generation-checked
//! handles). Does not own: what is stored in them.

mod pool;
mod region;

pub use pool::{Handle, Pool};
pub use region::{
    HugepagePolicy, NodePreference, PageKind, Region, RegionError, RegionReport, kernel_page_bytes,
    prefer_node,
};
