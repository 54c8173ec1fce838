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
	__u32 at = 0, length, i;

	if (!walk)
		return -1;
	length = walk->length;
	if (length > OPTION_BYTES_MAX)
		return -1;
	for (i = 0; i < OPTION_BYTES_MAX; i++) {
		__u32 kind, size;

		if (at >= length)
			return 0;
		kind = walk->bytes[at & 63];
		if (kind == OPTION_END)
			return 0;
		if (kind == OPTION_NOP) {
			at++;
			continue;
		}
		if (at + 1 >= length)
			return -1;
		size = walk->bytes[(at + 1) & 63];
		if (size < 2 || at + size > length)
			return -1;
		if (kind == OPTION_MSS && size == 4) {
			walk->options.mss = walk->bytes[(at + 2) & 63] << 8 | walk->bytes[(at + 3) & 63];
		} else if (kind == OPTION_WINDOW_SCALE && size == 3) {
			walk->options.window_scale = walk->bytes[(at + 2) & 63];
		} else if (kind == OPTION_SACK_PERMITTED && size == 2) {
			walk->options.is_sack_permitted = 1;
		} else if (kind == OPTION_TIMESTAMPS && size == 10) {
			const __u8 *value = &walk->bytes[(at + 2) & 63];

			__builtin_memcpy(&walk->options.ts_value, value, 4);
			__builtin_memcpy(&walk->options.ts_echo, value + 4, 4);
			walk->options.has_timestamps = 1;
		}
		at += size;
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

// Reads the `words` of options behind a TCP header; 0, or -1 when they are broken.
static __always_inline int read_options(const __be32 *from, __u32 words, void *data_end, struct options *options)
{
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
