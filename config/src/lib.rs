//! Node and policy configuration: strict parsing, defaults, limits.
#![forbid(unsafe_code)]
