// IPv6 (RFC 8200): the list, the header, extension headers, fragments, ICMPv6 errors, transport.
#pragma once

#include "gate.h"

#define IPV6_FRAGMENT_OFFSET 0xfff8
#define IPV6_MORE_FRAGMENTS 0x0001
// ICMPv6 types (RFC 4443, RFC 4861): errors are below 128; neighbour discovery is 133 to 137.
#define ICMPV6_UNREACHABLE 1
#define ICMPV6_TOO_BIG 2
#define ICMPV6_ERRORS_END 128
#define ND_FIRST 133
#define ND_LAST 137

struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset_more;
	__be32 id;
};

// Where the walk over extension headers ended.
struct walk {
	// Of the upper layer, from the start of the IPv6 header.
	__u32 offset;
	__u8 next;
	__u8 is_fragment;
	__be16 offset_more;
	__u32 id;
};

static __always_inline int is_protected_v6(struct ipv6hdr *ip, void *data_end, enum reason *reason)
{
	struct icmp_header *icmp = (void *)(ip + 1);

	if (ip->nexthdr == IPPROTO_ICMPV6) {
		__u8 type;

		if ((void *)(icmp + 1) > data_end)
			return 0;
		type = icmp->type;
		*reason = PASS_PROTECTED;
		return type < ICMPV6_ERRORS_END || (type >= ND_FIRST && type <= ND_LAST);
	}
	if (ip->nexthdr == IPPROTO_TCP) {
		struct ports *ports = (void *)(ip + 1);

		*reason = PASS_MANAGEMENT;
		return (void *)(ports + 1) <= data_end && is_management_port(ports->destination);
	}
	return 0;
}

// Walks at most EXTENSION_HEADERS_MAX headers; 0 when the upper layer (or a later fragment) was reached.
static __always_inline int walk_headers(struct ipv6hdr *ip, void *data_end, struct walk *walk)
{
	__u32 i;

	for (i = 0; i < EXTENSION_HEADERS_MAX; i++) {
		__u8 *header = (void *)ip + walk->offset;

		switch (walk->next) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
			if (header + 2 > (__u8 *)data_end)
				return -1;
			walk->next = header[0];
			walk->offset += (header[1] + 1) * 8;
			break;
		case IPPROTO_AH:
			if (header + 2 > (__u8 *)data_end)
				return -1;
			walk->next = header[0];
			walk->offset += (header[1] + 2) * 4;
			break;
		case IPPROTO_FRAGMENT: {
			struct fragment_header *fragment = (void *)header;

			if ((void *)(fragment + 1) > data_end)
				return -1;
			walk->next = fragment->next;
			walk->offset += sizeof(*fragment);
			walk->offset_more = fragment->offset_more;
			walk->id = fragment->id;
			walk->is_fragment = (fragment->offset_more &
					     bpf_htons(IPV6_FRAGMENT_OFFSET | IPV6_MORE_FRAGMENTS)) != 0;
			if (fragment->offset_more & bpf_htons(IPV6_FRAGMENT_OFFSET))
				return 0;
			break;
		}
		default:
			return 0;
		}
	}
	return -1;
}

static __always_inline void fragment_key_v6(struct fragment_key *key, struct ipv6hdr *ip, struct walk *walk)
{
	__builtin_memcpy(key->source, &ip->saddr, sizeof(key->source));
	__builtin_memcpy(key->destination, &ip->daddr, sizeof(key->destination));
	key->id = walk->id;
	key->protocol = walk->next;
	key->version = 6;
}

static __always_inline int later_fragment_v6(struct xdp_md *ctx, struct ipv6hdr *ip, struct walk *walk)
{
	struct fragment_key key = {};
	struct local_value *local;

	fragment_key_v6(&key, ip, walk);
	if (bpf_map_lookup_elem(&fragments, &key))
		return to_worker(ctx, WORKER_FRAGMENT);
	local = bpf_map_lookup_elem(&locals_v6, &key.destination);
	if (local && local->has_listeners)
		return to_worker(ctx, WORKER_FRAGMENT);
	return pass(PASS_NOT_OURS);
}

static __always_inline int icmp_v6(struct xdp_md *ctx, struct icmp_header *icmp, void *data_end)
{
	struct ipv6hdr *inner = (void *)(icmp + 1);
	struct ports *ports = (void *)(inner + 1);
	__u32 slot = 0;
	__u8 protocol;

	if ((void *)(inner + 1) > data_end)
		return pass(PASS_NOT_OURS);
	if (icmp->type != ICMPV6_UNREACHABLE && icmp->type != ICMPV6_TOO_BIG)
		return pass(PASS_NOT_OURS);
	protocol = inner->nexthdr;
	if (protocol == IPPROTO_FRAGMENT) {
		struct fragment_header *fragment = (void *)(inner + 1);

		if ((void *)(fragment + 1) > data_end ||
		    (fragment->offset_more & bpf_htons(IPV6_FRAGMENT_OFFSET)))
			return pass(PASS_NOT_OURS);
		protocol = fragment->next;
		ports = (void *)(fragment + 1);
	}
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return pass(PASS_NOT_OURS);
	if ((void *)(ports + 1) > data_end ||
	    !is_ours_v6(inner->saddr.in6_u.u6_addr32, ports->source, protocol, &slot))
		return pass(PASS_NOT_OURS);
	return to_worker(ctx, WORKER_ICMP);
}

// Sources that no packet on a wire has: multicast, loopback.
static __always_inline int is_bad_source_v6(const struct in6_addr *addr)
{
	const __be32 *words = addr->in6_u.u6_addr32;

	if (addr->in6_u.u6_addr8[0] == 0xff)
		return 1;
	return !(words[0] | words[1] | words[2]) && words[3] == bpf_htonl(1);
}

static __always_inline int is_same_v6(const struct in6_addr *a, const struct in6_addr *b)
{
	const __be32 *x = a->in6_u.u6_addr32, *y = b->in6_u.u6_addr32;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]));
}

// SYN cookies, for a whole segment without extension headers to a listener with a slot.
static __always_inline int cookies_v6(struct xdp_md *ctx, struct ipv6hdr *ip, void *data_end, __u32 link_bytes,
				      __u32 listener)
{
	const __be32 *source = ip->saddr.in6_u.u6_addr32;
	const __u64 *addrs = (__u64 *)source;
	struct segment segment = {
		.tcp = (void *)(ip + 1),
		.tuple = { .addrs = { addrs[0], addrs[1], addrs[2], addrs[3] }, .is_v6 = 1 },
		.link_bytes = link_bytes,
		.listener = listener,
	};

	// As workers do: no answer to addresses that hold or are made of IPv4 ones.
	if (!(source[0] | source[1]) && (source[2] == 0 || source[2] == bpf_htonl(0xffff)))
		return drop(DROP_SOURCE);
	if ((void *)(segment.tcp + 1) > data_end)
		return UNDECIDED;
	segment.tuple.ports = *(__u32 *)segment.tcp;
	return judge_segment(ctx, data_end, &segment);
}

static __always_inline int transport_v6(struct xdp_md *ctx, struct ipv6hdr *ip, void *data_end, struct walk *walk,
					__u32 link_bytes)
{
	struct ports *ports = (void *)ip + walk->offset;
	__u32 packet_bytes = sizeof(*ip) + bpf_ntohs(ip->payload_len), slot = 0;
	int end;

	if ((void *)(ports + 1) > data_end || walk->offset > packet_bytes)
		return pass(PASS_NOT_OURS);
	if (walk->next == IPPROTO_TCP && is_management_port(ports->destination))
		return pass(PASS_MANAGEMENT);
	if (!is_ours_v6(ip->daddr.in6_u.u6_addr32, ports->destination, walk->next, &slot))
		return pass(PASS_NOT_OURS);
	end = check_transport(ports, data_end, packet_bytes - walk->offset, walk->next, !walk->is_fragment);
	if (end != UNDECIDED)
		return end;
	if (walk->is_fragment) {
		struct fragment_key key = {};
		__u32 seen = 1;

		fragment_key_v6(&key, ip, walk);
		bpf_map_update_elem(&fragments, &key, &seen, BPF_ANY);
		return to_worker(ctx, WORKER_FRAGMENT);
	}
	if (slot && walk->next == IPPROTO_TCP && walk->offset == sizeof(*ip)) {
		end = cookies_v6(ctx, ip, data_end, link_bytes, slot);
		if (end != UNDECIDED)
			return end;
	}
	return to_worker(ctx, WORKER);
}

static __always_inline int handle_ipv6(struct xdp_md *ctx, struct ipv6hdr *ip, void *data_end, __u32 link_bytes)
{
	struct walk walk = { .offset = sizeof(*ip) };

	if ((void *)(ip + 1) > data_end)
		return drop(DROP_IPV6_HEADER);
	if (is_blocked_v6(ip->saddr.in6_u.u6_addr32)) {
		enum reason reason = PASS_PROTECTED;

		if (!is_protected_v6(ip, data_end, &reason))
			return drop(DROP_BLOCKLIST);
		if (reason == PASS_MANAGEMENT)
			return pass(reason);
		count(PASS_PROTECTED);
	}
	if (ip->version != 6)
		return drop(DROP_IPV6_HEADER);
	if ((void *)(ip + 1) + bpf_ntohs(ip->payload_len) > data_end)
		return drop(DROP_IPV6_LENGTH);
	if (is_bad_source_v6(&ip->saddr))
		return drop(DROP_SOURCE);
	if (is_same_v6(&ip->saddr, &ip->daddr))
		return drop(DROP_LAND);
	walk.next = ip->nexthdr;
	if (walk_headers(ip, data_end, &walk))
		return pass(PASS_NOT_OURS);
	if (walk.offset_more & bpf_htons(IPV6_FRAGMENT_OFFSET))
		return later_fragment_v6(ctx, ip, &walk);
	if (walk.next == IPPROTO_ICMPV6)
		return icmp_v6(ctx, (void *)ip + walk.offset, data_end);
	if (walk.next != IPPROTO_TCP && walk.next != IPPROTO_UDP)
		return pass(PASS_NOT_OURS);
	return transport_v6(ctx, ip, data_end, &walk, link_bytes);
}
