// SipHash (Aumasson, Bernstein 2012) over words in registers, as net::siphash: 1-3 for tables, 2-4 for what goes on the
// wire. All inlined: a round is four additions, six rotations, four exclusive ors.
#pragma once

#include <linux/types.h>

struct siphash {
	__u64 a, b, c, d;
};

static __always_inline __u64 rotate(__u64 word, int bits)
{
	return word << bits | word >> (64 - bits);
}

static __always_inline void sip_round(struct siphash *state)
{
	state->a += state->b;
	state->b = rotate(state->b, 13) ^ state->a;
	state->a = rotate(state->a, 32);
	state->c += state->d;
	state->d = rotate(state->d, 16) ^ state->c;
	state->a += state->d;
	state->d = rotate(state->d, 21) ^ state->a;
	state->c += state->b;
	state->b = rotate(state->b, 17) ^ state->c;
	state->c = rotate(state->c, 32);
}

static __always_inline struct siphash sip_begin(__u64 k0, __u64 k1)
{
	// "somepseudorandomlygeneratedbytes"
	return (struct siphash){
		.a = k0 ^ 0x736f6d6570736575ULL,
		.b = k1 ^ 0x646f72616e646f6dULL,
		.c = k0 ^ 0x6c7967656e657261ULL,
		.d = k1 ^ 0x7465646279746573ULL,
	};
}

static __always_inline void sip_absorb(struct siphash *state, __u64 word, int rounds)
{
	state->d ^= word;
	sip_round(state);
	if (rounds == 2)
		sip_round(state);
	state->a ^= word;
}

static __always_inline __u64 sip_end(struct siphash *state, int rounds)
{
	state->c ^= 0xff;
	sip_round(state);
	sip_round(state);
	sip_round(state);
	if (rounds == 4)
		sip_round(state);
	return state->a ^ state->b ^ state->c ^ state->d;
}
