// Tiny programs that show the machine's ceiling: drop all, pass all, send all back, all to the socket of the queue.
//
// Each counts, so that a receiver knows what arrived; the counter is one inlined per-CPU access.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

// Queues of one interface that can be bound.
#define QUEUES_MAX 64

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

static __always_inline void count(void)
{
	__u32 key = 0;
	__u64 *packet_count = bpf_map_lookup_elem(&packets, &key);

	if (packet_count)
		*packet_count += 1;
}

SEC("xdp")
int bare_drop(struct xdp_md *ctx)
{
	count();
	return XDP_DROP;
}

SEC("xdp")
int bare_pass(struct xdp_md *ctx)
{
	count();
	return XDP_PASS;
}

SEC("xdp")
int bare_tx(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	__u8 addr[ETH_ALEN];

	if ((void *)(ethernet + 1) > data_end)
		return XDP_DROP;
	count();
	__builtin_memcpy(addr, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, addr, ETH_ALEN);
	return XDP_TX;
}

SEC("xdp")
int bare_xsk(struct xdp_md *ctx)
{
	count();
	return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
