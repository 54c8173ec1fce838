// SYN cookies at the listeners of a slot: SYNs answered here, and what belongs to no flow and proves nothing, dropped.
//
//   nothing on, no keys, no worker bound -------------------> worker (as without this)
//   flow open, or its bucket overflowed --------------------> worker
//   SYN          answering: broken options -----------------> drop      not answering -> worker
//                           answered ------------------------> sent back
//   anything else, gate shut:  right after a handshake ------> worker    gate open -> worker
//                RST, SYN with ACK, no ACK ------------------> drop
//                ACK with a cookie of ours ------------------> worker (it looks again, and opens the flow)
//                any other ACK ------------------------------> drop
//
// A SYN's checksums are not verified: nothing in it is believed. Cost: `examples/xdp_cost.rs`.
#pragma once

#include "fresh.h"
#include "syn_ack.h"
#include "transport.h"

// Above every length of a link header: Ethernet and two tags, 22 bytes.
#define LINK_BYTES_MASK 31
#define TCP_ECE 0x40
#define TCP_CWR 0x80

// A TCP segment to a listener with a slot.
struct segment {
	struct tcphdr *tcp;
	struct tuple tuple;
	__u32 link_bytes;
	// Of the TCP options, from the start of the frame.
	__u32 options_offset;
	// The listener's value: its slot plus one.
	__u32 listener;
};

static __always_inline struct cookie_line *cookie_line(__u32 slot)
{
	__u32 core = bpf_get_smp_processor_id() & (COOKIE_CPUS_MAX - 1);
	__u32 key = slot * COOKIE_CPUS_MAX + core;

	return bpf_map_lookup_elem(&cookie_counts, &key);
}

static __always_inline int is_worker_bound(struct xdp_md *ctx)
{
	__u32 key = socket_base + ctx->rx_queue_index;

	return ctx->rx_queue_index < QUEUES_MAX && bpf_map_lookup_elem(&sockets, &key) != NULL;
}

static __always_inline int drop_broken(struct cookie_line *line)
{
	line->broken++;
	return drop(DROP_TCP_OPTIONS);
}

static __always_inline int answer_syn(struct xdp_md *ctx, const struct segment *segment,
				      const struct cookie_state *state, __u64 offer, struct cookie_line *line)
{
	struct tcphdr *tcp = segment->tcp;
	__u8 flags = ((__u8 *)tcp)[13];
	__u32 features = offer >> OFFER_FEATURES_SHIFT, client_isn = bpf_ntohl(tcp->seq);
	__u32 syn = (flags & (TCP_ECE | TCP_CWR)) == (TCP_ECE | TCP_CWR) ? SYN_ECN : 0;
	struct syn_ack out = { .link_bytes = segment->link_bytes };
	struct options options = {};
	struct agreed agreed = {};
	struct cookie cookie;
	__u32 out_flags;

	if (segment->tuple.is_v6)
		syn |= SYN_V6;
	if (read_options(ctx, segment->options_offset, tcp->doff - TCP_HEADER_WORDS, &options))
		return drop_broken(line);
	if (agree(&options, features, syn, &agreed))
		return drop_broken(line);
	cookie = make_cookie(state, &segment->tuple, client_isn, &agreed);
	syn_ack_options(&out, &agreed, offer, options.ts_value, cookie.ts_value, segment->tuple.is_v6);
	out_flags = TCP_SYN | TCP_ACK | (agreed.bits & TIMESTAMP_ECN ? TCP_ECE : 0);
	out.seq = bpf_htonl(cookie.isn);
	out.ack = bpf_htonl(client_isn + 1);
	out.flags_window = bpf_htonl((TCP_HEADER_WORDS + out.option_words) << 28 | out_flags << 16 |
				     (offer >> OFFER_WINDOW_SHIFT & 0xffff));
	if (write_syn_ack(ctx, &out, &segment->tuple))
		return to_worker(ctx, WORKER);
	line->answered++;
	count(TX_COOKIE);
	return XDP_TX;
}

// A segment of no open flow that is no SYN.
static __always_inline int check_segment(struct xdp_md *ctx, const struct segment *segment,
					 const struct cookie_state *state, struct cookie_line *line, __u64 hash)
{
	struct tcphdr *tcp = segment->tcp;
	__u32 client_isn = bpf_ntohl(tcp->seq) - 1, cookie = bpf_ntohl(tcp->ack_seq) - 1, bits;
	__u8 flags = ((__u8 *)tcp)[13];
	struct options options = {};

	if (is_handshake_fresh(hash))
		return UNDECIDED;
	if ((flags & (TCP_SYN | TCP_RST | TCP_ACK)) != TCP_ACK) {
		line->no_flow++;
		return drop(DROP_NO_FLOW);
	}
	if (read_options(ctx, segment->options_offset, tcp->doff - TCP_HEADER_WORDS, &options))
		return drop_broken(line);
	bits = options.has_timestamps ? bpf_ntohl(options.ts_echo) & TIMESTAMP_OPTION_MASK : NO_TIMESTAMPS;
	if (!is_cookie_valid(state, &segment->tuple, client_isn, cookie, bits)) {
		line->forged++;
		return drop(DROP_COOKIE);
	}
	line->valid++;
	note_handshake(hash);
	return UNDECIDED;
}

// Whether cookies say what happens to a segment; UNDECIDED: it goes to its worker.
static __always_inline int judge_segment(struct xdp_md *ctx, void *data_end, const struct segment *segment)
{
	__u32 key = 0, slot_key = (segment->listener - 1) & (COOKIE_SLOTS_MAX - 1), wanted = COOKIE_GATE;
	struct cookie_slot *slot = bpf_map_lookup_elem(&cookie_slots, &slot_key);
	struct cookie_state *state = bpf_map_lookup_elem(&cookie_state, &key);
	struct tcphdr *tcp = segment->tcp;
	struct cookie_line *line;
	__u64 hash;
	int is_syn;

	if (!slot || !state || (void *)(tcp + 1) > data_end)
		return UNDECIDED;
	is_syn = (((__u8 *)tcp)[13] & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
	if (is_syn)
		wanted = COOKIE_ANSWER;
	if (!(READ_ONCE(slot->flags) & wanted) || !READ_ONCE(state->is_ready) || !is_worker_bound(ctx))
		return UNDECIDED;
	hash = flow_hash(&segment->tuple);
	if (is_flow_open(hash))
		return UNDECIDED;
	line = cookie_line(slot_key);
	if (!line)
		return UNDECIDED;
	if (is_syn)
		return answer_syn(ctx, segment, state, READ_ONCE(slot->offer), line);
	return check_segment(ctx, segment, state, line, hash);
}
