//! Use cases of fleet.
