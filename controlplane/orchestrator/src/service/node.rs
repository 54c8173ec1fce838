//! Use cases of node.
