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

static __always_inline int is_blocked_v4(__be32 addr)
{
	struct list_key_v4 key = { .prefix_len = 32, .addr = addr };
	struct list_index *index = list_index();
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
	    bpf_jiffies64() - seen->since_ticks < CACHE_TICKS)
		return 1;
	if (!is_blocking(bpf_map_lookup_elem(&list_v4, &key)))
		return 0;
	seen->addr = addr;
	seen->generation = index->generation;
	seen->since_ticks = bpf_jiffies64();
	return 1;
}

static __always_inline int is_blocked_v6(const __be32 *addr)
{
	struct list_key_v6 key = { .prefix_len = 128 };
	struct list_index *index = list_index();
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
	if (seen->generation == index->generation && seen->addr[0] == addr[0] && seen->addr[1] == addr[1] &&
	    seen->addr[2] == addr[2] && seen->addr[3] == addr[3] &&
	    bpf_jiffies64() - seen->since_ticks < CACHE_TICKS)
		return 1;
	if (!is_blocking(bpf_map_lookup_elem(&list_v6, &key)))
		return 0;
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
