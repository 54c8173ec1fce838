"""SYN and what may stand in its place: options in every shape, flags that nobody means, a handshake that goes wrong."""
import time

from peer import EOL, MSS, NOP, SACK, SCALE, PATIENCE, relative
from probe import Probe, collect

PROBES = []
probe = collect(PROBES)


def stamps(value, echo=0):
    return bytes([8, 10]) + value.to_bytes(4, "big") + echo.to_bytes(4, "big")


TS = stamps(1_000)

# name, what is said of it, options
OPTIONS = [
    ("none", "no options", b""),
    ("mss", "MSS alone", MSS),
    ("mss_scale", "MSS and window scale", MSS + NOP + SCALE),
    ("mss_sack", "MSS and SACK", MSS + NOP + NOP + SACK),
    ("mss_ts", "MSS and timestamps", MSS + NOP + NOP + TS),
    ("ts_alone", "timestamps alone", NOP + NOP + TS),
    ("sack_alone", "SACK alone", NOP + NOP + SACK),
    ("scale_alone", "window scale alone", NOP + SCALE),
    ("scale_ts", "window scale and timestamps", NOP + SCALE + NOP + NOP + TS),
    ("scale_sack", "window scale and SACK", SCALE + NOP + SACK + NOP + NOP),
    ("scale_sack_ts", "window scale, SACK and timestamps", SCALE + NOP + SACK + TS),
    ("linux", "the options of Linux", MSS + SACK + TS + NOP + SCALE),
    ("windows", "the options of Windows", MSS + NOP + SCALE + NOP + NOP + SACK),
    ("macos", "the options of macOS", MSS + NOP + SCALE + NOP + NOP + TS + SACK + EOL + EOL),
    ("reversed", "options in reverse order", SCALE + NOP + TS + SACK + MSS),
    ("scale_0", "a window scale of 0", MSS + NOP + b"\x03\x03\x00"),
    ("scale_14", "a window scale of 14", MSS + NOP + b"\x03\x03\x0e" + SACK + TS),
    ("scale_15", "a window scale beyond 14", MSS + NOP + b"\x03\x03\x0f" + SACK + TS),
    ("ts_echo", "a timestamp that echoes something", MSS + NOP + NOP + stamps(1_000, 77)),
    ("ts_zero", "a timestamp of 0", MSS + NOP + NOP + stamps(0)),
    ("mss_twice", "MSS twice", MSS + b"\x02\x04\x02\x00"),
    ("mss_zero", "an MSS of 0", b"\x02\x04\x00\x00"),
    ("mss_jumbo", "an MSS of 65,535", b"\x02\x04\xff\xff"),
    ("unknown", "an unknown option", b"\xfd\x06\x01\x02\x03\x04" + MSS + NOP + NOP),
    ("unknown_long", "an unknown option of 36 bytes", MSS + b"\x4d\x24" + b"x" * 34),
    ("fast_open", "a request for a Fast Open cookie", MSS + b"\x22\x02" + NOP + NOP),
    ("multipath", "an offer of multipath TCP", MSS + SACK + TS + NOP + SCALE + b"\x1e\x0c\x01\x81" + b"k" * 8),
    ("md5", "a signature (RFC 2385) nobody asked for", MSS + b"\x13\x12" + b"s" * 16 + NOP + NOP),
    ("ao", "an authentication option (RFC 5925) nobody asked for", MSS + b"\x1d\x10\x01\x01" + b"s" * 12),
    ("eol_garbage", "garbage behind the end of options", MSS + EOL + b"\x02\x04\x00\x01\x03\x03\x09"),
    ("eol_first", "the end of options before any", EOL + MSS + SACK + NOP),
    ("nops", "nothing but 40 bytes of padding", NOP * 40),
    ("length_0", "an option of length 0", MSS + b"\x08\x00" + NOP + NOP),
    ("length_1", "an option of length 1", MSS + b"\x08\x01" + NOP + NOP),
    ("overrun", "an option that runs over the end", MSS + NOP + NOP + b"\x08\x0a"),
    ("cut", "an option without a length at the end", MSS + NOP + NOP + NOP + b"\x08"),
    ("mss_3", "an MSS option of a wrong length", b"\x02\x03\x05" + NOP + SACK + NOP + NOP),
    ("ts_9", "a timestamp option of a wrong length", MSS + b"\x08\x09" + b"\0" * 7 + NOP * 3),
    ("sack_blocks", "SACK blocks", MSS + NOP + NOP + b"\x05\x0a" + b"\0" * 8),
]


def play_options(options):
    def play(peer):
        peer.syn(options)
        answers = peer.receive(until=lambda answer: True)
        peer.write(answers)
        if not answers:
            # That the silence is for this SYN is seen by the next one.
            peer.syn(MSS)
            peer.hear(until=lambda answer: True)
        if peer.irs is None:
            return
        peer.say(f"window is {'sane' if peer.first_window >= 536 else 'small'}")
        # The connection works with what was agreed on.
        peer.has_timestamps = any(answer.option(8) for answer in answers)
        peer.clock = 77_000
        peer.send("A", 1)
        peer.is_alive(1)

    return play


for name, words, options in OPTIONS:
    PROBES.append(Probe(f"syn_{name}", f"a SYN with {words} is answered with the same options", play_options(options)))


def play_flags(flags, change=None, data=b""):
    def play(peer):
        peer.syn(MSS, flags=flags, data=data, **(change or {}))
        peer.hear()
        if peer.irs is None:
            peer.reset()
            peer.syn(MSS)
            peer.receive(until=lambda answer: True)
        peer.has_timestamps = False
        peer.send("A", 1)
        peer.is_alive(1)

    return play


# name, what is said of it, flags, change
FIRST = [
    ("syn_fin", "SYN and FIN together", "SF", None, b""),
    ("syn_rst", "SYN and RST together", "SR", None, b""),
    ("syn_psh", "a SYN with PSH", "SP", None, b""),
    ("syn_urg", "a SYN with URG", "SU", {"urgptr": 5}, b""),
    ("syn_ecn", "a SYN that offers ECN", "SEC", None, b""),
    ("syn_ece", "a SYN with ECE alone", "SE", None, b""),
    ("syn_reserved", "a SYN with reserved bits", "S", {"reserved": 6}, b""),
    ("syn_data", "data in a SYN", "SP", None, b"GET / HTTP/1.1\r\n"),
    ("syn_bad_sum", "a SYN with a wrong checksum", "S", {"tcp_sum": 0x1234}, b""),
    ("syn_short_offset", "a SYN whose header is shorter than a header", "S", {"dataofs": 4}, b""),
    ("syn_long_offset", "a SYN whose header is longer than the packet", "S", {"dataofs": 15}, b""),
    ("syn_window_0", "a SYN with a closed window", "S", {"window": 0}, b""),
    ("first_null", "no flags at all", "", None, b""),
    ("first_xmas", "FIN, PSH and URG", "FPU", None, b""),
    ("first_all", "all flags", "FSRPAUEC", None, b""),
    ("first_fin", "a FIN", "F", None, b""),
    ("first_rst", "a RST", "R", None, b""),
    ("first_psh", "data without ACK", "P", None, b"GET / HTTP/1.1\r\n"),
]
for name, words, flags, change, data in FIRST:
    sentence = f"{words}, first of all, is answered like Linux does, and does not keep a connection from opening"
    PROBES.append(Probe(name, sentence, play_flags(flags, change, data)))


@probe
def first_ack(peer):
    """An ACK to no connection."""
    peer.irs = 5
    peer.raw("A", 0, 900)
    peer.hear()


@probe
def first_syn_ack(peer):
    """A SYN-ACK to no connection."""
    peer.irs = 5
    peer.raw("SA", 0, 900, options=MSS)
    peer.hear()


@probe
def syn_again(peer):
    """The same SYN again gets the same SYN-ACK."""
    peer.syn()
    peer.hear(until=lambda answer: True)
    first = peer.irs
    peer.syn()
    answers = peer.receive(until=lambda answer: True)
    peer.say("the same number" if answers and answers[0].seq == first else f"another answer: {answers}")
    peer.send("A", 1)
    peer.is_alive(1)


@probe
def half_open_reset(peer):
    """A RST at the next number ends what is half open."""
    peer.syn()
    peer.receive(until=lambda answer: True)
    peer.raw("R", 1, 0)
    peer.hear()
    peer.has_timestamps = True
    peer.send("A", 1)
    peer.is_alive(1)


@probe
def half_open_reset_beyond(peer):
    """A RST beyond the window does not end what is half open."""
    peer.syn()
    peer.receive(until=lambda answer: True)
    peer.raw("R", 1_000_000, 0)
    peer.send("A", 1)
    peer.hear()
    peer.is_alive(1)


@probe
def half_open_wrong_ack(peer):
    """An ACK of another number than ours opens nothing, and the right one still does."""
    peer.syn()
    peer.receive(until=lambda answer: True)
    peer.send("A", 1, ack=1_000)
    peer.hear()
    peer.send("A", 1)
    peer.is_alive(1)


@probe
def half_open_data_at_once(peer):
    """The ACK of the handshake may be lost: data opens the connection as well."""
    peer.syn()
    peer.receive(until=lambda answer: True)
    peer.send("PA", 1, 100)
    peer.hear()
    peer.is_alive(101)


@probe
def half_open_fin_at_once(peer):
    """A FIN in the ACK of the handshake."""
    peer.syn()
    peer.receive(until=lambda answer: True)
    peer.send("FA", 1)
    peer.hear_fin()


@probe(seconds=3.6, tolerance=(1.4, 0.15))
def syn_ack_again(peer):
    """A SYN-ACK that is not answered is sent again after 1 s, then after twice as long."""
    peer.syn()
    answers = peer.receive(3.5)
    peer.say(f"{len(answers)} SYN-ACKs" if all("S" in answer.flags for answer in answers) else "something else")
    for index in range(1, min(len(answers), 3)):
        peer.measure(f"after_{index}", answers[index].at - answers[index - 1].at)
    if peer.irs is not None:
        peer.raw("R", 1, 0)


@probe(seconds=2)
def isn(peer):
    """First sequence numbers: 24 connections of one client, and no two near each other nor in a row."""
    numbers = []
    for index in range(24):
        peer.reset()
        peer.inbox = peer.wire.listen(peer.server, 20_000 + index)
        peer.port = 20_000 + index
        peer.syn()
        peer.receive(until=lambda answer: True)
        numbers.append(peer.irs)
        peer.raw("R", 1, 0)
    steps = [relative(b, a) for a, b in zip(numbers, numbers[1:])]
    # Of random numbers, one of 23 steps is as short as this in one run of 1,400, two in one of millions.
    near = [step for step in steps if abs(step) < 1 << 16]
    peer.say(f"{len(set(numbers))} numbers, {'one at most' if len(near) <= 1 else len(near)} near the one before")
    peer.say(f"signs of steps {'mixed' if 4 <= sum(step > 0 for step in steps) <= 19 else 'one way'}")


@probe(seconds=2)
def isn_of_one_tuple(peer):
    """First sequence numbers of one address and port after another do not repeat."""
    numbers = []
    for _ in range(8):
        peer.reset()
        peer.syn()
        peer.receive(until=lambda answer: True)
        numbers.append(peer.irs)
        peer.raw("R", 1, 0)
        time.sleep(PATIENCE / 2)
    peer.say(f"{len(set(numbers))} of {len(numbers)} differ")


@probe(seconds=2)
def clock_offsets(peer):
    """Timestamps of connections of different ports tell nothing about each other."""
    values = []
    for index in range(12):
        peer.reset()
        peer.inbox = peer.wire.listen(peer.server, 21_000 + index)
        peer.port = 21_000 + index
        peer.syn()
        peer.receive(until=lambda answer: True)
        values.append(peer.echo)
        peer.raw("R", 1, 0)
    near = [1 for a, b in zip(values, values[1:]) if abs(relative(b, a)) < 1 << 16]
    peer.say(f"{len(set(values))} values, {'most' if len(near) > 2 else 'none'} near the one before")
