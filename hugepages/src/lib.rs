//! Memory taken once at start: hugepage regions and fixed pools.
