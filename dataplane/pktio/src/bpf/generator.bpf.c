// The live-frame generator: rewrites what shall differ in a frame and redirects it to one interface.
//
// Run by BPF_PROG_RUN with BPF_F_TEST_XDP_LIVE_FRAMES over recycled pages: a page carries the frame as the last
// run left it, so every field is rewritten from what is there and checksums are updated incrementally
// (RFC 1624); a frame that was sent back begins anew. User space has parsed the template and gives offsets; nothing is parsed here.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

// Longest offset that user space may give, so that the verifier can bound it.
#define OFFSET_MAX 255
// No such field in this template.
#define ABSENT 0
// 64-bit words of a template that are kept: more than any headers that a receiver writes over.
#define KEPT_WORDS 16
#define KEPT_BYTES 128
#define META_BYTES 4

// What to do with frames of one template. Offsets in bytes from the start of the frame.
struct plan {
	__u32 ifindex;
	// Source address: offset and length (4 or 16) and which bits are drawn.
	__u16 source;
	__u16 source_bytes;
	__u8 source_mask[16];
	// IPv4 header checksum, or ABSENT.
	__u16 ip_checksum;
	// TCP or UDP checksum, or ABSENT (no ports, or an UDP checksum of zero).
	__u16 l4_checksum;
	// The checksum is UDP's: a result of zero is sent as 0xffff.
	__u16 is_udp;
	__u16 source_port;
	__u16 source_port_first;
	// Number of ports to draw from; 0 keeps the template's.
	__u32 source_port_count;
	__u16 destination_port;
	__u16 destination_port_first;
	__u32 destination_port_count;
	// TCP sequence number; the acknowledgement follows it.
	__u16 sequence;
	// IPv4 identification (2 bytes) or that of an IPv6 fragment header (4 bytes).
	__u16 identification;
	__u16 identification_bytes;
	// The template's first bytes: whole words of it, and the last eight of those bytes once more, with their offset.
	__u32 kept_words;
	__u32 kept_end_offset;
	__u64 kept[KEPT_WORDS];
	__u64 kept_end;
};

// The plan in force, and the state of the random stream. One run at a time per generator.
struct plan plan = {};
__u64 state = 1;

// A fixed rate: nanoseconds between two frames, 0 = as fast as runs are. A run's frames that come before their
// time are dropped here and recycled, so that one long run keeps the rate by itself: short runs cost more than
// the frames they send.
__u64 interval_ns = 0;
// When the next frame is due, and the earliest time for it: behind its time, four times the rate and no more.
__u64 due_ns = 0;
__u64 earliest_ns = 0;
// Frames let through, at most so many, and frames whose time passed too long ago.
__u64 sent = 0;
__u64 sent_max = 0;
__u64 late = 0;

// Time after which a frame that was not sent never will be: the core was taken away.
#define DEBT_NS 30000000ULL

static __always_inline int is_due(void)
{
	if (sent >= sent_max)
		return 0;
	if (interval_ns) {
		__u64 now = bpf_ktime_get_ns();

		if (due_ns == 0)
			due_ns = now;
		if (now < due_ns || now < earliest_ns)
			return 0;
		if (now - due_ns > DEBT_NS) {
			late += (now - due_ns - DEBT_NS) / interval_ns;
			due_ns = now - DEBT_NS;
		}
		due_ns += interval_ns;
		earliest_ns = now + interval_ns / 4;
	}
	sent++;
	return 1;
}

// xorshift64*: seeded, so that equal seeds give equal streams. Not for secrets.
static __always_inline __u64 draw(void)
{
	__u64 x = state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	state = x;
	return x * 2685821657736338717ULL;
}

// Replaces a 16-bit word and keeps the one's-complement difference in *sum.
static __always_inline int replace(void *data, void *data_end, __u32 offset, __u16 word, __u32 *sum)
{
	__u16 *field;

	if (offset > OFFSET_MAX)
		return -1;
	field = data + offset;
	if ((void *)(field + 1) > data_end)
		return -1;
	*sum += (__u16)~*field;
	*sum += word;
	*field = word;
	return 0;
}

static __always_inline int word_at(void *data, void *data_end, __u32 offset, __u16 *word)
{
	__u16 *field;

	if (offset > OFFSET_MAX)
		return -1;
	field = data + offset;
	if ((void *)(field + 1) > data_end)
		return -1;
	*word = *field;
	return 0;
}

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

// Adds the difference to a checksum field.
static __always_inline int apply(void *data, void *data_end, __u32 offset, __u32 sum, int is_udp)
{
	__u16 *field;
	__u16 checksum;

	if (offset == ABSENT || offset > OFFSET_MAX)
		return 0;
	field = data + offset;
	if ((void *)(field + 1) > data_end)
		return -1;
	checksum = ~fold((__u16)~*field + (sum & 0xffff) + (sum >> 16));
	if (is_udp && checksum == 0)
		checksum = 0xffff;
	*field = checksum;
	return 0;
}

static __always_inline __u16 draw_port(__u16 first, __u32 count, __u64 bits)
{
	return __builtin_bswap16(first + (__u16)((bits & 0xffffffff) * count >> 32));
}

// A receiver that sends a frame back writes its answer over it, and the page comes round with that. Exchanged link
// addresses tell: the template's headers are then written anew.
static __always_inline int restore(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u64 *words = data;
	__u32 i, offset = plan.kept_end_offset;

	if ((void *)(words + 1) > data_end)
		return -1;
	if (words[0] == plan.kept[0])
		return 0;
	for (i = 0; i < KEPT_WORDS && i < plan.kept_words; i++) {
		if ((void *)(words + i + 1) > data_end)
			return -1;
		words[i] = plan.kept[i];
	}
	if (offset > KEPT_BYTES - 8 || data + offset + 8 > data_end)
		return -1;
	*(__u64 *)(data + offset) = plan.kept_end;
	// The answer's length is still that of the frame, and the kernel looks at ours again only when we moved something:
	// four bytes of metadata, which nobody reads.
	return bpf_xdp_adjust_meta(ctx, -META_BYTES);
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data, *data_end;
	// Differences of the pseudo header, of the IP header and of the rest.
	__u32 address = 0, header = 0, body = 0;
	__u32 i;

	if (!is_due())
		return XDP_DROP;
	if (restore(ctx))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	if (plan.source) {
		__u64 low = draw(), high = plan.source_bytes == 16 ? draw() : 0;

		for (i = 0; i < 8; i++) {
			__u16 old, mask, bits;

			if (2 * i >= plan.source_bytes)
				break;
			mask = plan.source_mask[2 * i] | plan.source_mask[2 * i + 1] << 8;
			if (!mask)
				continue;
			bits = (i < 4 ? low >> (16 * i) : high >> (16 * (i - 4)));
			if (word_at(data, data_end, plan.source + 2 * i, &old))
				return XDP_ABORTED;
			if (replace(data, data_end, plan.source + 2 * i, (old & ~mask) | (bits & mask), &address))
				return XDP_ABORTED;
		}
	}
	if (plan.identification) {
		__u64 bits = draw();

		if (replace(data, data_end, plan.identification, bits, &header))
			return XDP_ABORTED;
		if (plan.identification_bytes == 4 &&
		    replace(data, data_end, plan.identification + 2, bits >> 16, &header))
			return XDP_ABORTED;
	}
	if (plan.source_port_count &&
	    replace(data, data_end, plan.source_port,
		    draw_port(plan.source_port_first, plan.source_port_count, draw()), &body))
		return XDP_ABORTED;
	if (plan.destination_port_count &&
	    replace(data, data_end, plan.destination_port,
		    draw_port(plan.destination_port_first, plan.destination_port_count, draw()), &body))
		return XDP_ABORTED;
	if (plan.sequence) {
		__u64 bits = draw();

		for (i = 0; i < 4; i++)
			if (replace(data, data_end, plan.sequence + 2 * i, bits >> (16 * i), &body))
				return XDP_ABORTED;
	}
	if (apply(data, data_end, plan.ip_checksum, address + header, 0))
		return XDP_ABORTED;
	if (apply(data, data_end, plan.l4_checksum, address + body, plan.is_udp))
		return XDP_ABORTED;
	return bpf_redirect(plan.ifindex, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
