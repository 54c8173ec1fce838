//! Use cases of event.
