// The ends of every way through the program: each counts once.
#pragma once

#include "maps.h"

// What other cores change while the program runs: one load, in its place.
#define READ_ONCE(place) (*(const volatile typeof(place) *)&(place))

// No end yet: the next stage decides.
#define UNDECIDED -1

static __always_inline void count(enum reason reason)
{
	__u32 key = 0;
	struct counters *counters = bpf_map_lookup_elem(&counts, &key);

	if (counters)
		counters->packets[reason] += 1;
}

static __always_inline int pass(enum reason reason)
{
	count(reason);
	return XDP_PASS;
}

static __always_inline int drop(enum reason reason)
{
	count(reason);
	return XDP_DROP;
}

static __always_inline int to_worker(struct xdp_md *ctx, enum reason reason)
{
	__u32 queue = ctx->rx_queue_index;
	int action = unbound_action;

	if (queue < QUEUES_MAX)
		action = bpf_redirect_map(&sockets, socket_base + queue, unbound_action);
	if (action == XDP_REDIRECT)
		count(reason);
	else if (action == XDP_PASS)
		count(PASS_NO_WORKER);
	else
		count(DROP_NO_WORKER);
	return action;
}
