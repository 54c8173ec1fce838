// Is a packet ours? A listener's address and port, or a source port that workers use towards backends.
#pragma once

#include <linux/in.h>

#include "maps.h"

static __always_inline int in_snat_range(const struct local_value *local, __be16 port, __u8 protocol)
{
	__u16 number = bpf_ntohs(port);

	if (protocol == IPPROTO_TCP)
		return number >= local->tcp_first && number <= local->tcp_last;
	return number >= local->udp_first && number <= local->udp_last;
}

static __always_inline int is_ours_v4(__be32 addr, __be16 port, __u8 protocol)
{
	struct listener_key_v4 key = { .addr = addr, .port = port, .protocol = protocol };
	struct local_value *local;

	if (bpf_map_lookup_elem(&listeners_v4, &key))
		return 1;
	local = bpf_map_lookup_elem(&locals_v4, &addr);
	return local && in_snat_range(local, port, protocol);
}

static __always_inline int is_ours_v6(const __be32 *addr, __be16 port, __u8 protocol)
{
	struct listener_key_v6 key = { .port = port, .protocol = protocol };
	struct local_value *local;

	__builtin_memcpy(key.addr, addr, sizeof(key.addr));
	if (bpf_map_lookup_elem(&listeners_v6, &key))
		return 1;
	// The address leads the listener's key: the same bytes serve as the other map's key.
	local = bpf_map_lookup_elem(&locals_v6, &key);
	return local && in_snat_range(local, port, protocol);
}
