//! Headers on the wire: one parse of a frame, and views that read and write fields in place.
