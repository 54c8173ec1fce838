// Is a packet ours? A listener's address and port, or a source port that workers use towards backends.
//
//   listener remembered on this core -> yes; address not of ours -> no; port in its range -> yes; listener -> yes
//
// Of a listener, `slot` is set to its value: its cookie slot plus one, or 0.
#pragma once

#include <linux/in.h>

#include "verdict.h"

static __always_inline int in_snat_range(const struct local_value *local, __be16 port, __u8 protocol)
{
	__u16 number = bpf_ntohs(port);

	if (protocol == IPPROTO_TCP)
		return number >= local->tcp_first && number <= local->tcp_last;
	return number >= local->udp_first && number <= local->udp_last;
}

static __always_inline int is_ours_v4(__be32 addr, __be16 port, __u8 protocol, __u32 *slot)
{
	struct listener_key_v4 key = { .addr = addr, .port = port, .protocol = protocol };
	struct list_index *index = list_index();
	struct listener_seen_v4 *seen;
	struct local_value *local;
	__u32 *value;
	__u32 generation;
	__u32 place = (addr ^ (__u32)port << 16) * HASH_MULTIPLIER >> (32 - LISTENER_SLOT_BITS);

	seen = bpf_map_lookup_elem(&seen_v4, &place);
	if (!seen || !index)
		return 0;
	if (seen->key.addr == addr && seen->key.port == port && seen->key.protocol == protocol &&
	    seen->generation == index->listeners_generation) {
		*slot = seen->slot;
		return 1;
	}
	local = bpf_map_lookup_elem(&locals_v4, &addr);
	if (!local)
		return 0;
	if (in_snat_range(local, port, protocol))
		return 1;
	if (!local->has_listeners)
		return 0;
	// Before the lookup: what is remembered of an older state is then of an older generation.
	generation = READ_ONCE(index->listeners_generation);
	value = bpf_map_lookup_elem(&listeners_v4, &key);
	if (!value)
		return 0;
	*slot = *value;
	seen->key = key;
	seen->slot = *slot;
	seen->generation = generation;
	return 1;
}

static __always_inline int is_ours_v6(const __be32 *addr, __be16 port, __u8 protocol, __u32 *slot)
{
	struct listener_key_v6 key = { .port = port, .protocol = protocol };
	struct list_index *index = list_index();
	struct listener_seen_v6 *seen;
	struct local_value *local;
	__u32 *value;
	__u32 place, generation;

	__builtin_memcpy(key.addr, addr, sizeof(key.addr));
	place = (addr[1] ^ addr[3] ^ (__u32)port << 16) * HASH_MULTIPLIER >> (32 - LISTENER_SLOT_BITS);
	seen = bpf_map_lookup_elem(&seen_v6, &place);
	if (!seen || !index)
		return 0;
	if (seen->key.addr[0] == addr[0] && seen->key.addr[1] == addr[1] && seen->key.addr[2] == addr[2] &&
	    seen->key.addr[3] == addr[3] && seen->key.port == port && seen->key.protocol == protocol &&
	    seen->generation == index->listeners_generation) {
		*slot = seen->slot;
		return 1;
	}
	// The address leads the listener's key: the same bytes serve as the other map's key.
	local = bpf_map_lookup_elem(&locals_v6, &key);
	if (!local)
		return 0;
	if (in_snat_range(local, port, protocol))
		return 1;
	if (!local->has_listeners)
		return 0;
	// Before the lookup: what is remembered of an older state is then of an older generation.
	generation = READ_ONCE(index->listeners_generation);
	value = bpf_map_lookup_elem(&listeners_v6, &key);
	if (!value)
		return 0;
	*slot = *value;
	seen->key = key;
	seen->slot = *slot;
	seen->generation = generation;
	return 1;
}
