// The SYN-ACK, written over the SYN it answers and sent back by the interface it came in by: byte for byte what
// net::syncookie::answer_syn writes.
//
// Owns: the frame. Link addresses are exchanged and VLAN tags kept; IP options, data and padding are removed. The
// checksum is summed from the words written, never derived from the received one, which may be partial.
#pragma once

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "cookie.h"

#define IPV4_DONT_FRAGMENT 0x4000
#define HOP_LIMIT_OURS 64
#define TCP_HEADER_WORDS 5
// MSS; with timestamps those, too; then the window scale.
#define OPTION_WORDS_MSS 1
#define OPTION_WORDS_TIMESTAMPS 4
#define OPTION_WORDS_ALL 5

// A SYN-ACK to write; words as they go into the packet.
struct syn_ack {
	__u32 link_bytes;
	__u32 option_words;
	__be32 seq;
	__be32 ack;
	__be32 flags_window;
	__be32 options[OPTION_WORDS_ALL];
};

// The sum of words in memory order, as the 16-bit checksum of them.
static __always_inline __u16 checksum(__u64 sum)
{
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return ~(sum + (sum >> 16));
}

static __always_inline __u64 both_halves(__u64 word)
{
	return (word >> 32) + (word & 0xffffffff);
}

static __always_inline void swap_link_addresses(void *data)
{
	__u16 *words = data;
	__u32 destination = *(__u32 *)words, source = *(__u32 *)(words + 3);
	__u16 destination_end = words[2], source_end = words[5];

	*(__u32 *)words = source;
	words[2] = source_end;
	*(__u32 *)(words + 3) = destination;
	words[5] = destination_end;
}

// The options in the order and padding of Linux.
static __always_inline void syn_ack_options(struct syn_ack *out, const struct agreed *agreed, __u64 offer, __be32 echo,
					    __u32 ts_value, int is_v6)
{
	__u32 mss = is_v6 ? offer >> OFFER_MSS_V6_SHIFT & 0xffff : offer & 0xffff;

	out->options[0] = WORD(OPTION_MSS, 4, mss >> 8, mss & 0xff);
	out->option_words = OPTION_WORDS_MSS;
	if (agreed->bits == NO_TIMESTAMPS)
		return;
	out->options[1] = agreed->bits & TIMESTAMP_SACK ? WORD(OPTION_SACK_PERMITTED, 2, OPTION_TIMESTAMPS, 10)
							 : WORD(OPTION_NOP, OPTION_NOP, OPTION_TIMESTAMPS, 10);
	out->options[2] = bpf_htonl(ts_value);
	out->options[3] = echo;
	out->option_words = OPTION_WORDS_TIMESTAMPS;
	if ((agreed->bits & 15) == TIMESTAMP_WINDOW_SCALE_NONE)
		return;
	out->options[4] = WORD(OPTION_NOP, OPTION_WINDOW_SCALE, 3, offer >> OFFER_WINDOW_SCALE_SHIFT & 0xff);
	out->option_words = OPTION_WORDS_ALL;
}

// Writes the TCP header; `sum` is that of the pseudo header. -1 when it does not fit, which cannot be.
static __always_inline int write_tcp(__be32 *tcp, void *data_end, const struct syn_ack *out, const struct tuple *tuple,
				     __u64 sum)
{
	// Ports exchanged: the halves of the word.
	__be32 ports = tuple->ports << 16 | tuple->ports >> 16;

	if ((void *)(tcp + TCP_HEADER_WORDS + OPTION_WORDS_MSS) > data_end)
		return -1;
	sum += (__u64)ports + out->seq + out->ack + out->flags_window + out->options[0];
	tcp[0] = ports;
	tcp[1] = out->seq;
	tcp[2] = out->ack;
	tcp[3] = out->flags_window;
	tcp[5] = out->options[0];
	if (out->option_words >= OPTION_WORDS_TIMESTAMPS) {
		if ((void *)(tcp + TCP_HEADER_WORDS + OPTION_WORDS_TIMESTAMPS) > data_end)
			return -1;
		sum += (__u64)out->options[1] + out->options[2] + out->options[3];
		tcp[6] = out->options[1];
		tcp[7] = out->options[2];
		tcp[8] = out->options[3];
	}
	if (out->option_words == OPTION_WORDS_ALL) {
		if ((void *)(tcp + TCP_HEADER_WORDS + OPTION_WORDS_ALL) > data_end)
			return -1;
		sum += out->options[4];
		tcp[9] = out->options[4];
	}
	// With the urgent pointer, which is zero. Half of a word in memory, whatever the byte order.
	*(__u16 *)(tcp + 4) = checksum(sum);
	*((__u16 *)(tcp + 4) + 1) = 0;
	return 0;
}

static __always_inline int write_ipv4(struct iphdr *ip, void *data_end, const struct syn_ack *out,
				      const struct tuple *tuple)
{
	__u32 tcp_bytes = (TCP_HEADER_WORDS + out->option_words) * 4, *words = (void *)ip;
	__be32 first = bpf_htonl(0x45000000 | (sizeof(*ip) + tcp_bytes)), second = bpf_htonl(IPV4_DONT_FRAGMENT);
	__be32 third = bpf_htonl(HOP_LIMIT_OURS << 24 | IPPROTO_TCP << 16);
	__u64 addrs = both_halves(tuple->addrs[0]);

	if ((void *)(ip + 1) > data_end)
		return -1;
	words[0] = first;
	words[1] = second;
	words[2] = third;
	*(__u64 *)(words + 3) = rotate(tuple->addrs[0], 32);
	ip->check = checksum((__u64)first + second + third + addrs);
	return write_tcp((void *)(ip + 1), data_end, out, tuple, addrs + bpf_htons(IPPROTO_TCP) + bpf_htons(tcp_bytes));
}

static __always_inline int write_ipv6(struct ipv6hdr *ip, void *data_end, const struct syn_ack *out,
				      const struct tuple *tuple)
{
	__u32 tcp_bytes = (TCP_HEADER_WORDS + out->option_words) * 4, *words = (void *)ip;
	__u64 *addrs = (__u64 *)(words + 2);
	__u64 sum = both_halves(tuple->addrs[0]) + both_halves(tuple->addrs[1]) + both_halves(tuple->addrs[2]) +
		    both_halves(tuple->addrs[3]);

	if ((void *)(ip + 1) > data_end)
		return -1;
	words[0] = bpf_htonl(6u << 28);
	words[1] = bpf_htonl(tcp_bytes << 16 | IPPROTO_TCP << 8 | HOP_LIMIT_OURS);
	addrs[0] = tuple->addrs[2];
	addrs[1] = tuple->addrs[3];
	addrs[2] = tuple->addrs[0];
	addrs[3] = tuple->addrs[1];
	return write_tcp((void *)(ip + 1), data_end, out, tuple, sum + bpf_htons(IPPROTO_TCP) + bpf_htons(tcp_bytes));
}

// Turns the SYN in `ctx` into the SYN-ACK; 0, or -1 when the driver has no room for a longer frame: nothing is changed
// then.
static __always_inline int write_syn_ack(struct xdp_md *ctx, const struct syn_ack *out, const struct tuple *tuple)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u32 ip_bytes = tuple->is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	int length = out->link_bytes + ip_bytes + (TCP_HEADER_WORDS + out->option_words) * 4, change;
	long received = data_end - data;

	// The verifier takes a difference of pointers only in 64 bits; this keeps the compiler from using fewer.
	asm volatile("" : "+r"(received));
	change = length - (int)received;
	if (change) {
		if (bpf_xdp_adjust_tail(ctx, change))
			return -1;
		data = (void *)(long)ctx->data;
		data_end = (void *)(long)ctx->data_end;
	}
	if (data + sizeof(struct ethhdr) > data_end)
		return -1;
	swap_link_addresses(data);
	if (tuple->is_v6)
		return write_ipv6(data + out->link_bytes, data_end, out, tuple);
	return write_ipv4(data + out->link_bytes, data_end, out, tuple);
}
