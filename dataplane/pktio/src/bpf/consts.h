// Limits and reasons, shared with Rust through the skeleton: nothing is typed twice.
#pragma once

#include <linux/types.h>

// A multiplicative hash (2^32 / golden ratio): the top bits are well mixed.
#define HASH_MULTIPLIER 0x9e3779b1u

// Sizes of the maps and bounds of the loops.
enum limit {
	// Interfaces of one node and receive queues of each: keys of the socket map are port * QUEUES_MAX + queue.
	INTERFACES_MAX = 16,
	QUEUES_MAX = 64,
	// Service addresses (address, port, protocol), each family. A configuration error beyond it.
	LISTENERS_MAX = 4096,
	// Local addresses, each family. A configuration error beyond it.
	LOCAL_ADDRESSES_MAX = 1024,
	// Allowed and blocked prefixes, each family: about 100 bytes of trie node each. Full: a block is refused.
	LIST_ENTRIES_MAX = 131072,
	// IPv4 sources by their first 16 bits: slots of the index in front of the IPv4 list.
	INDEX_SLOTS = 65536,
	// Blocked sources remembered per core, each family: the few that send most. A collision costs a list lookup.
	// The slot is the top bits of a multiplicative hash.
	CACHE_SLOTS = 1024,
	CACHE_SLOT_BITS = 10,
	// Listeners remembered per core, each family: those in use. A collision costs two hash lookups.
	LISTENER_SLOTS = 256,
	LISTENER_SLOT_BITS = 8,
	// Clock ticks that a remembered verdict holds: 10 to 100 ms, so a block may outlast its end by that.
	CACHE_TICKS = 10,
	// Fragmented datagrams remembered, 64 bytes each; the least recently used is forgotten, and its later
	// fragments then go where unknown fragments go.
	FRAGMENTS_MAX = 16384,
	// IPv6 extension headers walked. Real packets carry one or two; more goes to the kernel.
	EXTENSION_HEADERS_MAX = 6,
	// Listeners whose SYNs this program may answer with cookies. Those beyond are answered by workers.
	COOKIE_SLOTS_MAX = 256,
	// Cores that count cookies without meeting each other, 64 bytes per slot and core. On a machine with more, two
	// cores may share a line and lose counts.
	COOKIE_CPUS_MAX = 256,
	// Flows of one bucket of the flow table; with the word of those beyond, a cache line.
	FLOW_BUCKET_SLOTS = 15,
	// Buckets of the flow table, a power of two: from a page to 64 MiB, half full at 7.8 million flows. Fuller buckets
	// overflow: workers then see more segments, and nothing is lost.
	FLOW_BUCKETS_MIN = 64,
	FLOW_BUCKETS_MAX = 1048576,
	// Handshakes remembered until their worker has opened the flow, 8 bytes each. Two that meet in one slot: the earlier
	// one's client sends what followed its ACK again.
	FRESH_SLOTS = 4096,
	// How long, in units of 2^26 ns (67 ms): a worker takes milliseconds; it may also refuse to open it, and say so.
	FRESH_CLOCK_SHIFT = 26,
	FRESH_UNITS = 15,
	// Changes with every change of a map's layout: a restarted node reuses maps of its own version only.
	SCHEMA_VERSION = 3,
};

// What became of a packet. One counter each, in this order; names and help texts are in program/reason.rs. Every
// packet moves exactly one, but PASS_PROTECTED, which comes on top.
enum reason {
	PASS_NOT_OURS,
	PASS_NO_WORKER,
	PASS_MANAGEMENT,
	PASS_PROTECTED,
	WORKER,
	WORKER_FRAGMENT,
	WORKER_ICMP,
	DROP_BLOCKLIST,
	DROP_NO_WORKER,
	DROP_IPV4_HEADER,
	DROP_IPV4_LENGTH,
	DROP_IPV6_HEADER,
	DROP_IPV6_LENGTH,
	DROP_SOURCE,
	DROP_LAND,
	DROP_TCP_HEADER,
	DROP_TCP_FLAGS,
	DROP_UDP_LENGTH,
	DROP_PORT_ZERO,
	TX_COOKIE,
	DROP_COOKIE,
	DROP_NO_FLOW,
	DROP_TCP_OPTIONS,
	REASON_COUNT,
};

// A slot of the index. Any other value: all of its addresses are blocked until that second of CLOCK_MONOTONIC.
enum index_slot {
	// Nothing listed: no lookup.
	INDEX_NONE = 0,
	// Something is listed inside, or the end is no whole second: look it up.
	INDEX_LOOK = 1,
	INDEX_BLOCKED = 0xffffffff,
};

enum list_action {
	LIST_ALLOW = 1,
	LIST_BLOCK = 2,
};

// What is on for a cookie slot.
enum cookie_flag {
	// SYNs are answered here.
	COOKIE_ANSWER = 1,
	// Segments without a flow and without a valid cookie are dropped here.
	COOKIE_GATE = 2,
};

// What may be agreed on with clients of a slot, and where the numbers lie in its offer.
enum cookie_offer {
	OFFER_MSS_V6_SHIFT = 16,
	OFFER_WINDOW_SHIFT = 32,
	OFFER_WINDOW_SCALE_SHIFT = 48,
	OFFER_FEATURES_SHIFT = 56,
	OFFER_WINDOW_SCALE = 1,
	OFFER_TIMESTAMPS = 2,
	OFFER_SACK = 4,
	OFFER_ECN = 8,
};
