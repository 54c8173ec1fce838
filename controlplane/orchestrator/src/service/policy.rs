//! Use cases of policy.
