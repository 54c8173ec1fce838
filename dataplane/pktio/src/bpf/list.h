// The blocklist: one longest-prefix lookup on the source address.
#pragma once

#include "verdict.h"

// Whether a looked-up entry blocks now. The clock is read only for entries that end.
static __always_inline int is_blocking(const struct list_value *entry)
{
	if (!entry || entry->action != LIST_BLOCK)
		return 0;
	return entry->expires_ns == 0 || bpf_ktime_get_coarse_ns() < entry->expires_ns;
}

static __always_inline int is_management_port(__be16 port)
{
	__u32 key = 0;
	__u16 number = bpf_ntohs(port);
	struct management *management = bpf_map_lookup_elem(&management_ports, &key);

	return management && (management->ports[number >> 3] & (1 << (number & 7)));
}
