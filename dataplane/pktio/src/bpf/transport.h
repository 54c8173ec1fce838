// Transport headers: ports, and what cannot be legitimate once a packet is known to be ours.
#pragma once

#include <linux/tcp.h>
#include <linux/udp.h>

#include "list.h"
#include "ours.h"

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

// Source and destination port, where TCP and UDP agree.
struct ports {
	__be16 source;
	__be16 destination;
};

// ICMP (RFC 792) and ICMPv6 (RFC 4443) errors: the offending packet follows. <linux/icmp.h> needs a C library.
struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;
};

// Flags that no TCP sends: none at all, SYN with FIN or RST, FIN with RST, FIN without ACK (RFC 9293 §3.10.7).
static __always_inline int has_bad_flags(__u8 flags)
{
	flags &= TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK;
	if (flags == 0)
		return 1;
	if ((flags & TCP_SYN) && (flags & (TCP_FIN | TCP_RST)))
		return 1;
	if ((flags & TCP_FIN) && (!(flags & TCP_ACK) || (flags & TCP_RST)))
		return 1;
	return 0;
}

// Checks a transport header that is ours. `payload_bytes` is what IP says lies behind its header; `is_whole` is
// false for a first fragment, whose lengths cover more than is here.
static __always_inline int check_transport(void *l4, void *data_end, __u32 payload_bytes, __u8 protocol,
					   int is_whole)
{
	if (protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = l4;
		__u32 header_bytes;

		if ((void *)(tcp + 1) > data_end || payload_bytes < sizeof(*tcp))
			return drop(DROP_TCP_HEADER);
		header_bytes = tcp->doff * 4;
		if (header_bytes < sizeof(*tcp) || header_bytes > payload_bytes)
			return drop(DROP_TCP_HEADER);
		if (has_bad_flags(((__u8 *)l4)[13]))
			return drop(DROP_TCP_FLAGS);
		if (tcp->source == 0)
			return drop(DROP_PORT_ZERO);
	} else {
		struct udphdr *udp = l4;
		__u32 length;

		if ((void *)(udp + 1) > data_end || payload_bytes < sizeof(*udp))
			return drop(DROP_UDP_LENGTH);
		length = bpf_ntohs(udp->len);
		if (length < sizeof(*udp) || (is_whole && length > payload_bytes))
			return drop(DROP_UDP_LENGTH);
	}
	return UNDECIDED;
}
