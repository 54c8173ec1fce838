// The XDP program in front of the workers.
//
//   frame -> Ethernet, up to two VLAN tags -> not IP ------------------------------> kernel
//         -> source blocked? (one longest-prefix lookup) --------------------------> drop
//              (never: neighbour discovery, unreachables, management ports)
//         -> header that cannot be legitimate -------------------------------------> drop
//         -> later fragment: as its first one went; unknown: by address -----------> worker or kernel
//         -> unreachable or too big: by the packet inside it -----------------------> worker or kernel
//         -> management port ------------------------------------------------------> kernel
//         -> listener whose cookies are answered here (gate.h) ---------------------> SYN-ACK, drop or worker
//         -> listener, or source port of a backend connection ---------------------> worker
//              (no worker bound to the queue: kernel, or drop when fail-closed)
//         -> everything else ------------------------------------------------------> kernel
//
// Owns: nothing. All state is in maps (maps.h), written by user space. A chain of lookups, no loops but the bounded walks
// over IPv6 extension headers and TCP options.

#include <linux/if_ether.h>

#include "ipv4.h"
#include "ipv6.h"

#define VLAN_TAGS_MAX 2

struct vlan_tag {
	__be16 tci;
	__be16 type;
};

SEC("xdp")
int secbeat(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	void *next = ethernet + 1;
	__u32 link_bytes = sizeof(*ethernet);
	__be16 type;
	int i;

	if (next > data_end)
		return pass(PASS_NOT_OURS);
	type = ethernet->h_proto;
	for (i = 0; i < VLAN_TAGS_MAX; i++) {
		struct vlan_tag *tag = next;

		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 1) > data_end)
			return pass(PASS_NOT_OURS);
		type = tag->type;
		next = tag + 1;
		link_bytes += sizeof(*tag);
	}
	if (type == bpf_htons(ETH_P_IP))
		return handle_ipv4(ctx, next, data_end, link_bytes);
	if (type == bpf_htons(ETH_P_IPV6))
		return handle_ipv6(ctx, next, data_end, link_bytes);
	return pass(PASS_NOT_OURS);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
