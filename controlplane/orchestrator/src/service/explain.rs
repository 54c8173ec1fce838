//! Use cases of explain.
