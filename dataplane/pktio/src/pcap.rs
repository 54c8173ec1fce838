//! Replay and record: packet I/O over classic pcap files.
