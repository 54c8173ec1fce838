// The blocklist: is the source blocked?
//
//   IPv4 index slot (one load) -> nothing listed ------------------> no
//                              -> all of the /16 blocked ----------> yes
//   remembered on this core as blocked ----------------------------> yes
//   longest-prefix lookup: the truth, and about ten times as dear
#pragma once

#include "verdict.h"

// Whether a looked-up entry blocks now. The clock is read only for entries that end.
static __always_inline int is_blocking(const struct list_value *entry)
{
	if (!entry || entry->action != LIST_BLOCK)
		return 0;
	return entry->expires_ns == 0 || bpf_ktime_get_coarse_ns() < entry->expires_ns;
}

#define NS_PER_SECOND 1000000000ULL

// Counts the packet at its entry, and what was remembered of its source. What was remembered of another source in the
// same slot costs it one more lookup; a source seen once leaves nothing to look up.
static __always_inline void count_blocked_v4(struct list_value *entry, struct cache_v4 *seen, __be32 addr)
{
	__u64 packets = 1;

	if (seen->packets && seen->addr == addr) {
		packets += seen->packets;
	} else if (seen->packets) {
		struct list_key_v4 key = { .prefix_len = 32, .addr = seen->addr };
		struct list_value *other = bpf_map_lookup_elem(&list_v4, &key);

		if (other)
			__sync_fetch_and_add(&other->packets, seen->packets);
	}
	seen->packets = 0;
	__sync_fetch_and_add(&entry->packets, packets);
}

static __always_inline int is_seen_v6(const __be32 *one, const __be32 *other)
{
	return one[0] == other[0] && one[1] == other[1] && one[2] == other[2] && one[3] == other[3];
}

static __always_inline void count_blocked_v6(struct list_value *entry, struct cache_v6 *seen, const __be32 *addr)
{
	__u64 packets = 1;

	if (seen->packets && is_seen_v6(seen->addr, addr)) {
		packets += seen->packets;
	} else if (seen->packets) {
		struct list_key_v6 key = { .prefix_len = 128 };
		struct list_value *other;

		__builtin_memcpy(key.addr, seen->addr, sizeof(key.addr));
		other = bpf_map_lookup_elem(&list_v6, &key);
		if (other)
			__sync_fetch_and_add(&other->packets, seen->packets);
	}
	seen->packets = 0;
	__sync_fetch_and_add(&entry->packets, packets);
}

static __always_inline int is_blocked_v4(__be32 addr)
{
	struct list_key_v4 key = { .prefix_len = 32, .addr = addr };
	struct list_index *index = list_index();
	struct list_value *entry;
	struct cache_v4 *seen;
	__u32 slot;

	if (!index)
		return 0;
	slot = index->v4[bpf_ntohl(addr) >> 16];
	if (slot == INDEX_NONE)
		return 0;
	if (slot == INDEX_BLOCKED)
		return 1;
	if (slot != INDEX_LOOK && bpf_ktime_get_coarse_ns() < slot * NS_PER_SECOND)
		return 1;
	slot = addr * HASH_MULTIPLIER >> (32 - CACHE_SLOT_BITS);
	seen = bpf_map_lookup_elem(&blocked_v4, &slot);
	if (!seen)
		return 0;
	if (seen->addr == addr && seen->generation == index->generation &&
	    bpf_jiffies64() - seen->since_ticks < CACHE_TICKS) {
		seen->packets++;
		return 1;
	}
	entry = bpf_map_lookup_elem(&list_v4, &key);
	if (!is_blocking(entry))
		return 0;
	count_blocked_v4(entry, seen, addr);
	seen->addr = addr;
	seen->generation = index->generation;
	seen->since_ticks = bpf_jiffies64();
	return 1;
}

static __always_inline int is_blocked_v6(const __be32 *addr)
{
	struct list_key_v6 key = { .prefix_len = 128 };
	struct list_index *index = list_index();
	struct list_value *entry;
	struct cache_v6 *seen;
	__u32 slot;

	if (!index || index->entries_v6 == 0)
		return 0;
	__builtin_memcpy(key.addr, addr, sizeof(key.addr));
	slot = ((addr[0] ^ addr[2]) * HASH_MULTIPLIER ^ addr[1] ^ addr[3]) * HASH_MULTIPLIER;
	slot >>= 32 - CACHE_SLOT_BITS;
	seen = bpf_map_lookup_elem(&blocked_v6, &slot);
	if (!seen)
		return 0;
	if (seen->generation == index->generation && is_seen_v6(seen->addr, addr) &&
	    bpf_jiffies64() - seen->since_ticks < CACHE_TICKS) {
		seen->packets++;
		return 1;
	}
	entry = bpf_map_lookup_elem(&list_v6, &key);
	if (!is_blocking(entry))
		return 0;
	count_blocked_v6(entry, seen, addr);
	__builtin_memcpy(seen->addr, addr, sizeof(seen->addr));
	seen->generation = index->generation;
	seen->since_ticks = bpf_jiffies64();
	return 1;
}

static __always_inline int is_management_port(__be16 port)
{
	__u32 key = 0;
	__u16 number = bpf_ntohs(port);
	struct management *management = bpf_map_lookup_elem(&management_ports, &key);

	return management && (management->ports[number >> 3] & (1 << (number & 7)));
}
