// The SYN cookie, as net::syncookie makes and checks it; docs/syn-cookies.md has the format.
//
// Owns: numbers only, no packet. Cost: ten rounds of SipHash for IPv4, sixteen for IPv6.
#pragma once

#include "flow.h"
#include "options.h"

#define COOKIE_MAC_BITS 26
#define COOKIE_MAC_MASK ((1u << COOKIE_MAC_BITS) - 1)
#define TIMESTAMP_OPTION_MASK 0x3fu
#define TIMESTAMP_SACK (1u << 4)
#define TIMESTAMP_ECN (1u << 5)
#define TIMESTAMP_WINDOW_SCALE_NONE 15u
#define WINDOW_SCALE_MAX 14u
// What the MAC covers in place of option bits when there are no timestamps.
#define NO_TIMESTAMPS (1u << 6)
#define NS_PER_MS 1000000ULL
// RFC 9293: what a client takes that names no size.
#define MSS_DEFAULT_V4 536
#define MSS_DEFAULT_V6 1220

// What client and node agree on, from SYN and offer.
struct agreed {
	__u32 mss;
	// Low six bits of TSval, or NO_TIMESTAMPS.
	__u32 bits;
};

// Sizes that a cookie can carry, ascending: TABLE_V4 and TABLE_V6 of net::syncookie::mss. Index of the largest that is
// not above `mss`; 0 when all are.
static __always_inline __u32 mss_index(__u32 mss, int is_v6)
{
	static const __u16 sizes[2][16] = {
		{ 256, 536, 1024, 1220, 1300, 1340, 1360, 1380, 1400, 1412, 1420, 1436, 1440, 1452, 1460, 8960 },
		{ 536, 1024, 1220, 1240, 1260, 1280, 1300, 1320, 1340, 1360, 1380, 1400, 1412, 1432, 1440, 8940 },
	};
	int i;

#pragma unroll
	for (i = 15; i > 0; i--) {
		if (mss >= sizes[is_v6][i])
			return i;
	}
	return 0;
}

// What is agreed on with a client; without timestamps nothing but the MSS survives in a cookie.
static __always_inline struct agreed agree(const struct options *options, int ecn, __u32 features, int is_v6)
{
	struct agreed agreed = { .mss = options->mss, .bits = NO_TIMESTAMPS };

	if (agreed.mss == 0)
		agreed.mss = is_v6 ? MSS_DEFAULT_V6 : MSS_DEFAULT_V4;
	if (!options->has_timestamps || !(features & OFFER_TIMESTAMPS))
		return agreed;
	agreed.bits = TIMESTAMP_WINDOW_SCALE_NONE;
	if (options->window_scale != WINDOW_SCALE_ABSENT && (features & OFFER_WINDOW_SCALE))
		agreed.bits = options->window_scale < WINDOW_SCALE_MAX ? options->window_scale : WINDOW_SCALE_MAX;
	if (options->is_sack_permitted && (features & OFFER_SACK))
		agreed.bits |= TIMESTAMP_SACK;
	if (ecn && (features & OFFER_ECN))
		agreed.bits |= TIMESTAMP_ECN;
	return agreed;
}

// Six bits of the client's ISN, mixed: a mask, not a secret.
static __always_inline __u32 blind(__u32 client_isn)
{
	return client_isn * HASH_MULTIPLIER >> COOKIE_MAC_BITS;
}

static __always_inline __u64 cookie_hash(const __u64 *key, const struct tuple *tuple, __u32 client_isn, __u32 epoch,
					 __u32 index, __u32 bits)
{
	__u64 numbers = (__u64)bpf_ntohl(tuple->ports) << 32 | client_isn;
	__u64 tail = (__u64)bits << 40 | (__u64)index << 32 | epoch;
	struct siphash state = sip_begin(key[0], key[1]);

	sip_absorb(&state, bpf_be64_to_cpu(tuple->addrs[0]), 2);
	if (tuple->is_v6) {
		sip_absorb(&state, bpf_be64_to_cpu(tuple->addrs[1]), 2);
		sip_absorb(&state, bpf_be64_to_cpu(tuple->addrs[2]), 2);
		sip_absorb(&state, bpf_be64_to_cpu(tuple->addrs[3]), 2);
	}
	sip_absorb(&state, numbers, 2);
	// The length in bytes leads the last word.
	sip_absorb(&state, (tuple->is_v6 ? 46ULL : 22ULL) << 56 | tail, 2);
	return sip_end(&state, 4);
}

// A cookie and the TSval that goes with it.
struct cookie {
	__u32 isn;
	__u32 ts_value;
};

static __always_inline struct cookie make_cookie(const struct cookie_state *state, const struct tuple *tuple,
						 __u32 client_isn, const struct agreed *agreed)
{
	__u32 epoch = READ_ONCE(state->epoch), index = mss_index(agreed->mss, tuple->is_v6);
	__u64 hash = cookie_hash(state->keys[epoch & 3], tuple, client_isn, epoch, index, agreed->bits);
	__u32 top = ((epoch & 3) << 4 | index) ^ blind(client_isn);
	__u32 clock = (bpf_ktime_get_coarse_ns() - clock_base_ns) / NS_PER_MS + (hash >> 32);

	return (struct cookie){
		.isn = top << COOKIE_MAC_BITS | ((__u32)hash & COOKIE_MAC_MASK),
		.ts_value = (clock & ~TIMESTAMP_OPTION_MASK) | (agreed->bits & TIMESTAMP_OPTION_MASK),
	};
}

// Whether `cookie` is one of ours of an accepted epoch. `bits`: the low six of TSecr, or NO_TIMESTAMPS.
static __always_inline int is_cookie_valid(const struct cookie_state *state, const struct tuple *tuple, __u32 client_isn,
					   __u32 cookie, __u32 bits)
{
	__u32 epoch = READ_ONCE(state->epoch), top = cookie >> COOKIE_MAC_BITS ^ blind(client_isn);
	// 0 = previous, 1 = current, 2 = next, 3 = neither.
	__u32 distance = ((top >> 4) - epoch + 1) & 3;
	__u64 hash;

	if (distance == 3)
		return 0;
	hash = cookie_hash(state->keys[top >> 4 & 3], tuple, client_isn, epoch + distance - 1, top & 15, bits);
	return (((__u32)hash ^ cookie) & COOKIE_MAC_MASK) == 0;
}
