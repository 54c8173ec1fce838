//! Body parsers from outside: vectors of ModSecurity, independent encoders, corpora of the fuzz targets, allocations.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "body/allocations.rs"]
mod allocations;
#[path = "body/corpus.rs"]
mod corpus;
#[path = "body/properties.rs"]
mod properties;
#[path = "body/vectors.rs"]
mod vectors;
