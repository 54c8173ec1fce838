// IPv4 (RFC 791): the list, the header, fragments, ICMP errors, transport.
#pragma once

#include "gate.h"

#define IPV4_FRAGMENT_OFFSET 0x1fff
#define IPV4_MORE_FRAGMENTS 0x2000
// RFC 792: destination unreachable, "fragmentation needed" among its codes.
#define ICMP_UNREACHABLE 3

// From a blocked source, but never dropped: unreachables (path MTU discovery), management ports.
static __always_inline int is_protected_v4(struct iphdr *ip, void *data_end, enum reason *reason)
{
	void *l4 = (void *)ip + ip->ihl * 4;

	if (ip->protocol == IPPROTO_ICMP) {
		struct icmp_header *icmp = l4;

		*reason = PASS_PROTECTED;
		return (void *)(icmp + 1) <= data_end && icmp->type == ICMP_UNREACHABLE;
	}
	if (ip->protocol == IPPROTO_TCP && !(ip->frag_off & bpf_htons(IPV4_FRAGMENT_OFFSET))) {
		struct ports *ports = l4;

		*reason = PASS_MANAGEMENT;
		return (void *)(ports + 1) <= data_end && is_management_port(ports->destination);
	}
	return 0;
}

// The first fragment decides for the datagram; unknown later ones follow the address.
static __always_inline int fragment_v4(struct xdp_md *ctx, struct iphdr *ip, void *data_end)
{
	struct fragment_key key = {
		.source = { ip->saddr },
		.destination = { ip->daddr },
		.id = ip->id,
		.protocol = ip->protocol,
		.version = 4,
	};
	__u32 header_bytes = ip->ihl * 4, seen = 1;
	struct ports *ports = (void *)ip + header_bytes;
	struct local_value *local;
	__u32 slot = 0;
	int end;

	if (ip->frag_off & bpf_htons(IPV4_FRAGMENT_OFFSET)) {
		if (bpf_map_lookup_elem(&fragments, &key))
			return to_worker(ctx, WORKER_FRAGMENT);
		local = bpf_map_lookup_elem(&locals_v4, &ip->daddr);
		if (local && local->has_listeners)
			return to_worker(ctx, WORKER_FRAGMENT);
		return pass(PASS_NOT_OURS);
	}
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return pass(PASS_NOT_OURS);
	if ((void *)(ports + 1) > data_end || !is_ours_v4(ip->daddr, ports->destination, ip->protocol, &slot))
		return pass(PASS_NOT_OURS);
	end = check_transport(ports, data_end, bpf_ntohs(ip->tot_len) - header_bytes, ip->protocol, 0);
	if (end != UNDECIDED)
		return end;
	bpf_map_update_elem(&fragments, &key, &seen, BPF_ANY);
	return to_worker(ctx, WORKER_FRAGMENT);
}

// An unreachable belongs to whoever sent the packet inside it.
static __always_inline int icmp_v4(struct xdp_md *ctx, struct icmp_header *icmp, void *data_end)
{
	struct iphdr *inner = (void *)(icmp + 1);
	struct ports *ports;
	__u32 slot = 0;

	if ((void *)(inner + 1) > data_end || icmp->type != ICMP_UNREACHABLE)
		return pass(PASS_NOT_OURS);
	if (inner->version != 4 || inner->ihl < 5 || (inner->frag_off & bpf_htons(IPV4_FRAGMENT_OFFSET)))
		return pass(PASS_NOT_OURS);
	if (inner->protocol != IPPROTO_TCP && inner->protocol != IPPROTO_UDP)
		return pass(PASS_NOT_OURS);
	ports = (void *)inner + inner->ihl * 4;
	if ((void *)(ports + 1) > data_end || !is_ours_v4(inner->saddr, ports->source, inner->protocol, &slot))
		return pass(PASS_NOT_OURS);
	return to_worker(ctx, WORKER_ICMP);
}

// Sources that no packet on a wire has: loopback, multicast, broadcast. 0.0.0.0 is DHCP's.
static __always_inline int is_bad_source_v4(__be32 addr)
{
	__u32 number = bpf_ntohl(addr);

	return (number >> 24) == 127 || (number >> 28) == 14 || number == 0xffffffff;
}

// SYN cookies, for a whole segment to a listener with a slot.
static __always_inline int cookies_v4(struct xdp_md *ctx, struct iphdr *ip, void *data_end, __u32 link_bytes,
				      __u32 listener)
{
	__u32 first = bpf_ntohl(ip->saddr) >> 24;
	struct segment segment = {
		.tcp = (void *)ip + ip->ihl * 4,
		.tuple = { .addrs = { *(__u64 *)&ip->saddr } },
		.link_bytes = link_bytes,
		.listener = listener,
	};

	// As workers do: no answer to "this network" and reserved addresses.
	if (first == 0 || first >= 224)
		return drop(DROP_SOURCE);
	if ((void *)(segment.tcp + 1) > data_end)
		return UNDECIDED;
	segment.tuple.ports = *(__u32 *)segment.tcp;
	return judge_segment(ctx, data_end, &segment);
}

static __always_inline int handle_ipv4(struct xdp_md *ctx, struct iphdr *ip, void *data_end, __u32 link_bytes)
{
	__u32 header_bytes, total_bytes, slot = 0;
	struct ports *ports;
	int end;

	if ((void *)(ip + 1) > data_end)
		return drop(DROP_IPV4_HEADER);
	if (is_blocked_v4(ip->saddr)) {
		enum reason reason = PASS_PROTECTED;

		if (!is_protected_v4(ip, data_end, &reason))
			return drop(DROP_BLOCKLIST);
		if (reason == PASS_MANAGEMENT)
			return pass(reason);
		count(PASS_PROTECTED);
	}
	header_bytes = ip->ihl * 4;
	total_bytes = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header_bytes < sizeof(*ip) || (void *)ip + header_bytes > data_end)
		return drop(DROP_IPV4_HEADER);
	if (total_bytes < header_bytes || (void *)ip + total_bytes > data_end)
		return drop(DROP_IPV4_LENGTH);
	if (is_bad_source_v4(ip->saddr))
		return drop(DROP_SOURCE);
	if (ip->saddr == ip->daddr)
		return drop(DROP_LAND);
	if (ip->frag_off & bpf_htons(IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET))
		return fragment_v4(ctx, ip, data_end);
	ports = (void *)ip + header_bytes;
	if (ip->protocol == IPPROTO_ICMP)
		return icmp_v4(ctx, (void *)ports, data_end);
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return pass(PASS_NOT_OURS);
	if ((void *)(ports + 1) > data_end)
		return pass(PASS_NOT_OURS);
	if (ip->protocol == IPPROTO_TCP && is_management_port(ports->destination))
		return pass(PASS_MANAGEMENT);
	if (!is_ours_v4(ip->daddr, ports->destination, ip->protocol, &slot))
		return pass(PASS_NOT_OURS);
	end = check_transport(ports, data_end, total_bytes - header_bytes, ip->protocol, 1);
	if (end == UNDECIDED && slot && ip->protocol == IPPROTO_TCP)
		end = cookies_v4(ctx, ip, data_end, link_bytes, slot);
	return end == UNDECIDED ? to_worker(ctx, WORKER) : end;
}
