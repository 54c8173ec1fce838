//! What a path would mean to an origin that decodes it: for checks and routing, never for what is forwarded.
