// Keys and values of the maps. Addresses and ports in network byte order, all else in host order.
#pragma once

#include "consts.h"

struct list_key_v4 {
	__u32 prefix_len;
	__be32 addr;
};

struct list_key_v6 {
	__u32 prefix_len;
	__be32 addr[4];
};

// One listed prefix. The program looks at `action` and `expires_ns`; the rest lets a restarted node rebuild its
// lists. A block inside an allowed prefix is stored with LIST_ALLOW, so that the one longest-prefix lookup never
// drops an allowed address.
struct list_value {
	// CLOCK_MONOTONIC; 0 never. Of a block: the latest end of all blocks that cover the prefix.
	__u64 expires_ns;
	// End of the block of exactly this prefix; 0 never.
	__u64 block_until_ns;
	// enum list_action in effect.
	__u8 action;
	// This very prefix is listed as allowed, as blocked.
	__u8 is_allowed;
	__u8 is_blocked;
	__u8 unused[5];
	// Packets that this entry blocked (those to management ports and of neighbour discovery, which pass, among them),
	// but for those that `packets` of the caches still holds. Not of entries that fill whole slots of the index: those
	// are blocked without looking here.
	__u64 packets;
};

// In front of the lists: what spares the longest-prefix lookup. Written by user space through shared memory.
struct list_index {
	// Incremented after each change of a list: remembered verdicts end.
	__u32 generation;
	// Entries of the IPv6 list; 0 spares the lookup.
	__u32 entries_v6;
	// Incremented after each change of the listeners.
	__u32 listeners_generation;
	// enum index_slot or a second, by the first 16 bits of an IPv4 source.
	__u32 v4[INDEX_SLOTS];
};

// A source that was found blocked on this core.
struct cache_v4 {
	__u64 since_ticks;
	__be32 addr;
	__u32 generation;
	// Blocked since the list was looked at; added to its entry the next time.
	__u32 packets;
	__u32 unused;
};

struct cache_v6 {
	__u64 since_ticks;
	__be32 addr[4];
	__u32 generation;
	// As for IPv4.
	__u32 packets;
};

struct listener_key_v4 {
	__be32 addr;
	__be16 port;
	__u8 protocol;
	__u8 unused;
};

struct listener_key_v6 {
	__be32 addr[4];
	__be16 port;
	__u8 protocol;
	__u8 unused;
};

// A listener that was found on this core.
struct listener_seen_v4 {
	struct listener_key_v4 key;
	__u32 generation;
	// The listener's value: its cookie slot plus one, or 0.
	__u32 slot;
};

struct listener_seen_v6 {
	struct listener_key_v6 key;
	__u32 generation;
	// As for IPv4.
	__u32 slot;
};

// A local address that listeners or backend connections use. A range with first > last is empty. Host order.
struct local_value {
	__u16 tcp_first;
	__u16 tcp_last;
	__u16 udp_first;
	__u16 udp_last;
	__u8 has_listeners;
	__u8 unused[3];
};

struct local_key_v6 {
	__be32 addr[4];
};

// A fragmented datagram whose first fragment went to a worker. IPv4 addresses take the first word.
struct fragment_key {
	__be32 source[4];
	__be32 destination[4];
	__u32 id;
	__u8 protocol;
	__u8 version;
	__u8 unused[2];
};

struct counters {
	__u64 packets[REASON_COUNT];
};

// TCP ports that always reach the kernel, one bit each, by port in host order.
struct management {
	__u8 ports[65536 / 8];
};

// The keys of SYN cookies, written by user space through shared memory. The key of an epoch is written before the
// epoch begins, into the place that no accepted epoch uses.
struct cookie_state {
	// By the low two bits of the epoch.
	__u64 keys[4][2];
	// The epoch that makes cookies; those before and after it are accepted.
	__u32 epoch;
	// Whether there are keys.
	__u32 is_ready;
};

// A listener whose SYNs are answered here. One word holds the whole offer, so that it changes at once.
struct cookie_slot {
	// enum cookie_flag; written by workers.
	__u32 flags;
	__u32 unused;
	// Features, window scale, window, MSS over IPv6, over IPv4 (enum cookie_offer), from the top.
	__u64 offer;
};

// Counts of one slot on one core, a cache line. Only that core writes it.
struct cookie_line {
	__u64 answered;
	__u64 valid;
	__u64 forged;
	__u64 no_flow;
	__u64 broken;
	__u64 unused[3];
};

// Open flows with one hash, a cache line. Written by workers, without locks.
struct flow_bucket {
	// 0 for an empty place.
	__u32 fingerprints[FLOW_BUCKET_SLOTS];
	// Flows that found no place. While there are any, everything of this bucket goes to a worker.
	__u32 overflow;
};
