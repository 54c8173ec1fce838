// TCP options of a SYN or ACK, as net::wire::tcp::Options reads them: unknown kinds and wrong lengths of known ones are
// skipped, of two options of one kind the last counts, a length that leaves the header breaks them.
//
//   no options, MSS only, the layouts of Linux, Windows and macOS, an ACK's timestamps: compared as words
//   anything else: a walk over a copy of the up to 40 bytes
#pragma once

#include "verdict.h"

#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_MSS 2
#define OPTION_WINDOW_SCALE 3
#define OPTION_SACK_PERMITTED 4
#define OPTION_TIMESTAMPS 8

#define OPTION_WORDS_MAX 10
// Above every place where options can begin: 22 bytes of Ethernet, 60 of IP, 20 of TCP.
#define OPTIONS_OFFSET_MAX 128
#define OPTION_BYTES_MAX (OPTION_WORDS_MAX * 4)

// No scale is: an option has one byte.
#define WINDOW_SCALE_ABSENT 0x100

// What the options say. MSS 0: not given.
struct options {
	__u32 mss;
	__u32 window_scale;
	__u32 is_sack_permitted;
	__u32 has_timestamps;
	// In network byte order, to be sent back as they came.
	__be32 ts_value;
	__be32 ts_echo;
};

// The input and the answer of the walk: memory, as it is a function of its own.
struct option_walk {
	// The 40 bytes, and room for what the masks below let the verifier believe.
	__u8 bytes[72];
	__u32 length;
	struct options options;
};

// Walks any layout; 0, or -1 when the options are broken. Not inlined and not static, so that the verifier looks at it
// once and not once for each way that leads here.
__attribute__((noinline)) int walk_options(struct option_walk *walk)
{
	__u32 length, size = 0, skip = 0, i;

	if (!walk)
		return -1;
	length = walk->length;
	// Byte by byte, an option's own bytes passed over: the place is then a constant of each round, and the verifier sees
	// the same few ways forty times, not every way to get to every place.
	for (i = 0; i < OPTION_BYTES_MAX; i++) {
		const __u8 *option = &walk->bytes[i];

		if (i >= length || (skip == 0 && option[0] == OPTION_END))
			return 0;
		if (skip > 0) {
			skip--;
			continue;
		}
		if (option[0] == OPTION_NOP)
			continue;
		size = option[1];
		if (i + 1 >= length || size < 2 || i + size > length)
			return -1;
		skip = size - 1;
		if (option[0] == OPTION_MSS && size == 4) {
			walk->options.mss = option[2] << 8 | option[3];
		} else if (option[0] == OPTION_WINDOW_SCALE && size == 3) {
			walk->options.window_scale = option[2];
		} else if (option[0] == OPTION_SACK_PERMITTED && size == 2) {
			walk->options.is_sack_permitted = 1;
		} else if (option[0] == OPTION_TIMESTAMPS && size == 10) {
			__builtin_memcpy(&walk->options.ts_value, option + 2, 4);
			__builtin_memcpy(&walk->options.ts_echo, option + 6, 4);
			walk->options.has_timestamps = 1;
		}
	}
	return 0;
}

// Any other layout than the usual ones: copied, then walked.
static __always_inline int read_unusual(const __be32 *from, __u32 words, void *data_end, struct options *options)
{
	struct option_walk walk = {};
	__u32 i;

#pragma unroll
	for (i = 0; i < OPTION_WORDS_MAX; i++) {
		if (i < words) {
			if ((void *)(from + i + 1) > data_end)
				return -1;
			((__be32 *)walk.bytes)[i] = from[i];
		}
	}
	walk.length = words * 4;
	walk.options.window_scale = WINDOW_SCALE_ABSENT;
	if (walk_options(&walk))
		return -1;
	*options = walk.options;
	return 0;
}

#define WORD(a, b, c, d) bpf_htonl((__u32)(a) << 24 | (b) << 16 | (c) << 8 | (d))
#define LEADS_MSS(word) (((word) & WORD(255, 255, 0, 0)) == WORD(OPTION_MSS, 4, 0, 0))
#define LEADS_WINDOW_SCALE(word) (((word) & WORD(255, 255, 255, 0)) == WORD(OPTION_NOP, OPTION_WINDOW_SCALE, 3, 0))

// Reads `words` of options at `offset` of the frame; 0, or -1 when they are broken. Not inlined and not static: what
// they say is then unknown to the verifier, and what follows is looked at once, not once for each layout.
__attribute__((noinline)) int read_options(struct xdp_md *ctx, __u32 offset, __u32 words, struct options *options)
{
	const __be32 *from = (void *)(long)ctx->data + (offset & (OPTIONS_OFFSET_MAX - 1));
	void *data_end = (void *)(long)ctx->data_end;

	if (!options)
		return -1;
	*options = (struct options){ .window_scale = WINDOW_SCALE_ABSENT };
	if (words == 0)
		return 0;
	// Linux: mss, SACK permitted, timestamps, nop, window scale.
	if (words == 5 && (void *)(from + 5) <= data_end && LEADS_MSS(from[0]) &&
	    from[1] == WORD(OPTION_SACK_PERMITTED, 2, OPTION_TIMESTAMPS, 10) && LEADS_WINDOW_SCALE(from[4])) {
		options->mss = bpf_ntohl(from[0]) & 0xffff;
		options->is_sack_permitted = 1;
		options->has_timestamps = 1;
		options->ts_value = from[2];
		options->ts_echo = from[3];
		options->window_scale = bpf_ntohl(from[4]) & 0xff;
		return 0;
	}
	// Established, and the last segment of a handshake: nop, nop, timestamps.
	if (words == 3 && (void *)(from + 3) <= data_end && from[0] == WORD(OPTION_NOP, OPTION_NOP, OPTION_TIMESTAMPS, 10)) {
		options->has_timestamps = 1;
		options->ts_value = from[1];
		options->ts_echo = from[2];
		return 0;
	}
	// Windows: mss, nop, window scale, nop, nop, SACK permitted.
	if (words == 3 && (void *)(from + 3) <= data_end && LEADS_MSS(from[0]) && LEADS_WINDOW_SCALE(from[1]) &&
	    from[2] == WORD(OPTION_NOP, OPTION_NOP, OPTION_SACK_PERMITTED, 2)) {
		options->mss = bpf_ntohl(from[0]) & 0xffff;
		options->window_scale = bpf_ntohl(from[1]) & 0xff;
		options->is_sack_permitted = 1;
		return 0;
	}
	// Floods, and stacks of small devices.
	if (words == 1 && (void *)(from + 1) <= data_end && LEADS_MSS(from[0])) {
		options->mss = bpf_ntohl(from[0]) & 0xffff;
		return 0;
	}
	// macOS: mss, nop, window scale, nop, nop, timestamps, SACK permitted, end, end.
	if (words == 6 && (void *)(from + 6) <= data_end && LEADS_MSS(from[0]) && LEADS_WINDOW_SCALE(from[1]) &&
	    from[2] == WORD(OPTION_NOP, OPTION_NOP, OPTION_TIMESTAMPS, 10) &&
	    (from[5] & WORD(255, 255, 255, 0)) == WORD(OPTION_SACK_PERMITTED, 2, OPTION_END, 0)) {
		options->mss = bpf_ntohl(from[0]) & 0xffff;
		options->window_scale = bpf_ntohl(from[1]) & 0xff;
		options->has_timestamps = 1;
		options->ts_value = from[3];
		options->ts_echo = from[4];
		options->is_sack_permitted = 1;
		return 0;
	}
	return read_unusual(from, words, data_end, options);
}
