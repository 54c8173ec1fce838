// Handshakes whose ACK was let through a moment ago: what the client sends right behind it must not be dropped before a
// worker has opened the flow and entered it into the table.
//
// One word per handshake, written whole: cores that meet in a slot overwrite, never mix. Only a valid cookie writes
// one, so nobody fills it with forged addresses.
#pragma once

#include "flow.h"

static __always_inline __u32 fresh_clock(void)
{
	return bpf_ktime_get_coarse_ns() >> FRESH_CLOCK_SHIFT;
}

static __always_inline __u64 *fresh_slot(__u64 hash)
{
	__u32 key = (__u32)hash & (FRESH_SLOTS - 1);

	return bpf_map_lookup_elem(&fresh_handshakes, &key);
}

static __always_inline void note_handshake(__u64 hash)
{
	__u64 *slot = fresh_slot(hash);

	if (slot)
		*(volatile __u64 *)slot = (hash & 0xffffffff00000000ULL) | fresh_clock();
}

static __always_inline int is_handshake_fresh(__u64 hash)
{
	__u64 *slot = fresh_slot(hash);
	__u64 word = slot ? READ_ONCE(*slot) : 0;

	// The clock is asked for a match only: a flood of anything else costs the look-up.
	return word >> 32 == hash >> 32 && fresh_clock() - (__u32)word <= FRESH_UNITS;
}
