//! Tests of the receiving side and of states.
