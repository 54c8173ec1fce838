//! SQL injection and script injection told by the shape of their tokens.
