"""Where our TCP differs from Linux's on purpose: probe, what ours answers, and why."""

ALIVE = "the connection is alive: 200"
NOTHING = "< nothing"
PLAIN_SYN_ACK = "< SA ack=1 mss=1460"

UNSOLICITED = "what belongs to no connection gets no answer: sources are forged, and we reflect nothing (RFC 4987)"
BROKEN_OPTIONS = "options that cannot be make a segment malformed: it is dropped and counted (RFC 9293 §3.1, MUST-7)"
FLAGS = "flags that no sender combines are dropped before any connection is looked for, as firewalls do"

BROKEN_SYN = [NOTHING, PLAIN_SYN_ACK, "window is sane", ALIVE]

DIFFERENCES = {
    "syn_md5": (
        [PLAIN_SYN_ACK, "window is sane", ALIVE],
        "an option that is not known is passed over (RFC 9293 §3.1); nothing here has keys for RFC 2385",
    ),
    "syn_length_0": (BROKEN_SYN, BROKEN_OPTIONS),
    "syn_length_1": (BROKEN_SYN, BROKEN_OPTIONS),
    "syn_overrun": (BROKEN_SYN, BROKEN_OPTIONS),
    "syn_cut": (BROKEN_SYN, BROKEN_OPTIONS),
    "option_length_0": ([NOTHING, "the connection is gone"], BROKEN_OPTIONS),
    "option_overrun": ([NOTHING, "the connection is gone"], BROKEN_OPTIONS),
    "first_ack": ([NOTHING], UNSOLICITED),
    "first_syn_ack": ([NOTHING], UNSOLICITED),
    "half_open_wrong_ack": ([NOTHING, ALIVE], UNSOLICITED),
    "rst_fin": ([NOTHING, ALIVE], FLAGS),
    "rst_syn": ([NOTHING, ALIVE], FLAGS),
    "syn_fin_in_window": ([NOTHING, ALIVE], FLAGS),
    "ack_too_old": (
        ["< A next ack=101 ts=1020", ALIVE],
        "a segment whose ACK is not acceptable may be forged (RFC 5961 §5.2): it does not move TS.Recent",
    ),
    "ack_before_isn": (
        [NOTHING, ALIVE],
        "acceptable as RFC 5961 §5.2 has it, SND.UNA less the largest window; Linux 6.8 also counts what was sent",
    ),
    "overlap_conflict_around": (
        ["< A next ack=14 ts=1040", ALIVE],
        "of two copies the first is kept, whatever their sizes: nobody rewrites what was received",
    ),
    "tiny_mss": (
        ["segments of 244"],
        "the least segment is 256 bytes, options included: 48 would cost a packet per few bytes (CVE-2019-11479)",
    ),
    "first_answer_is_lost": (
        ["again after a second"],
        "no time of the handshake is kept: the first timeout is the one second of RFC 6298 §2.1",
    ),
    "fin_wait_data": (
        ["< A next ack=71 ts=1040"],
        "the server still reads after it has finished, so that no RST destroys its answer (RFC 9112 §9.6)",
    ),
    "time_wait_new_data": (
        [NOTHING],
        "what lies beyond the old connection may end a new handshake: it is looked for there, not answered here",
    ),
    "time_wait_rst": (
        [NOTHING, "< A next ack=62 ts=1040"],
        "RFC 1337: a RST does not end TIME-WAIT; Linux does that with tcp_rfc1337=1",
    ),
}
