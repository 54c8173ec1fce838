//! Body of the fuzz target `net_tcp`.
