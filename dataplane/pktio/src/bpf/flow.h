// The table of open client flows, kept by workers (program/flow_gate.rs): what is in it is theirs.
#pragma once

#include "siphash.h"
#include "verdict.h"

// Addresses and ports of a segment, as they lie in the packet: source first.
struct tuple {
	// IPv4: both addresses in the first word.
	__u64 addrs[4];
	// Source port in the lower bytes in memory.
	__u32 ports;
	int is_v6;
};

// Keyed hash of a flow. Bytes in network order, words as this machine reads them: nobody else sees it.
static __always_inline __u64 flow_hash(const struct tuple *tuple)
{
	struct siphash state = sip_begin(flow_hash_key[0], flow_hash_key[1]);

	sip_absorb(&state, tuple->addrs[0], 1);
	if (tuple->is_v6) {
		sip_absorb(&state, tuple->addrs[1], 1);
		sip_absorb(&state, tuple->addrs[2], 1);
		sip_absorb(&state, tuple->addrs[3], 1);
	}
	// The length in bytes leads the last word.
	sip_absorb(&state, (tuple->is_v6 ? 36ULL : 12ULL) << 56 | tuple->ports, 1);
	return sip_end(&state, 3);
}

// Whether a flow may be open: its fingerprint is there, or the bucket once had no place for one.
static __always_inline int is_flow_open(__u64 hash)
{
	__u32 fingerprint = hash >> 32, key = (__u32)hash & flow_bucket_mask;
	struct flow_bucket *bucket = bpf_map_lookup_elem(&flow_buckets, &key);
	int i;

	if (!bucket)
		return 1;
	if (fingerprint == 0)
		fingerprint = 1;
#pragma unroll
	for (i = 0; i < FLOW_BUCKET_SLOTS; i++) {
		if (READ_ONCE(bucket->fingerprints[i]) == fingerprint)
			return 1;
	}
	// Last: an entry counted here may have been in a place a moment ago, never the other way round.
	return READ_ONCE(bucket->overflow) != 0;
}
