"""Segments that may be forged, on an open connection: RFC 5961, PAWS, flags, checksums."""
import time

from probe import Probe, collect

PROBES = []
probe = collect(PROBES)


def answered(steps, alive_at=101):
    """Opens a connection, plays `steps`, and looks whether it lives."""

    def play(peer):
        peer.open()
        at = peer.settle()
        steps(peer, at)
        peer.is_alive(alive_at)

    return play


# name, what it is and what is expected, flags, distance from RCV.NXT, length, further arguments
SINGLE = [
    ("rst_exact", "a RST at RCV.NXT ends the connection", "R", 0, 0, {}),
    ("rst_ack_exact", "a RST with ACK at RCV.NXT ends the connection", "RA", 0, 0, {}),
    ("rst_in_window", "a RST in the window is answered by a challenge ACK (RFC 5961 §3.2)", "R", 100, 0, {}),
    ("rst_ack_in_window", "a RST with ACK in the window is answered by a challenge ACK", "RA", 100, 0, {}),
    ("rst_left", "a RST left of the window is ignored", "R", -50, 0, {}),
    ("rst_just_left", "a RST one left of the window is ignored", "R", -1, 0, {}),
    ("rst_right", "a RST right of the window is ignored", "R", 50_000_000, 0, {}),
    ("rst_wrong_ack", "a RST at RCV.NXT ends the connection whatever it acknowledges", "RA", 0, 0, {"ack": 70_000}),
    ("rst_old_stamp", "a RST with an old timestamp (PAWS does not save the connection)", "R", 0, 0, {"ts": -5_000}),
    ("rst_data", "a RST with data at RCV.NXT ends the connection", "R", 0, 10, {}),
    ("rst_fin", "a RST with FIN at RCV.NXT ends the connection", "RF", 0, 0, {}),
    ("rst_syn", "a RST with SYN at RCV.NXT", "RS", 0, 0, {}),
    ("syn_in_window", "a SYN in the window is answered by a challenge ACK (RFC 5961 §4.2)", "S", 100, 0, {}),
    ("syn_at_next", "a SYN at RCV.NXT is answered by a challenge ACK", "S", 0, 0, {}),
    ("syn_left", "a SYN left of the window is answered by a challenge ACK", "S", -60_000, 0, {}),
    ("syn_right", "a SYN right of the window is answered by a challenge ACK", "S", 50_000_000, 0, {}),
    ("syn_unstamped", "a SYN without timestamp is answered by a challenge ACK", "S", 100, 0, {"stamped": False}),
    ("syn_old_stamp", "a SYN with an old timestamp is answered", "S", 100, 0, {"ts": -5_000}),
    ("syn_ack_in_window", "a SYN-ACK in the window is answered by a challenge ACK", "SA", 100, 0, {}),
    ("syn_fin_in_window", "SYN and FIN in the window are answered by a challenge ACK", "SF", 10, 0, {}),
    (
        "ack_unsent",
        "an ACK of what was never sent is answered by an ACK (RFC 9293 §3.10.7.4)",
        "A", 0, 0, {"ack": 1_000},
    ),
    ("ack_unsent_far", "an ACK far beyond what was sent is answered by an ACK", "A", 0, 0, {"ack": 1 << 30}),
    ("data_ack_unsent", "data with an ACK of what was never sent is not taken", "PA", 0, 100, {"ack": 1_000}),
    (
        "ack_too_old",
        "an ACK older than any window is answered by a challenge ACK (RFC 5961 §5.2)",
        "A", 0, 0, {"ack": -(1 << 24)},
    ),
    ("data_ack_too_old", "data with an ACK older than any window is not taken", "PA", 0, 100, {"ack": -(1 << 24)}),
    ("ack_before_isn", "an ACK of the number before the first", "A", 0, 0, {"ack": -2}),
    (
        "paws_data",
        "data with an old timestamp is not taken, and acknowledged (RFC 7323 §5.3)",
        "PA", 0, 100, {"ts": -5_000},
    ),
    ("paws_ack", "an ACK with an old timestamp is answered", "A", 0, 0, {"ts": -5_000}),
    ("paws_just_old", "data with a timestamp older by 1 than the last is not taken", "PA", 0, 100, {"ts": -11}),
    ("paws_far_future", "a timestamp 2^31 ahead is old", "PA", 0, 100, {"ts": 1 << 31}),
    ("paws_fin", "a FIN with an old timestamp finishes nothing", "FA", 0, 0, {"ts": -5_000}),
    ("ack_left", "an ACK left of the window is answered by an ACK", "A", -50, 0, {}),
    ("ack_right", "an ACK right of the window is answered by an ACK", "A", 50_000_000, 0, {}),
    (
        "data_far_left",
        "data far left of the window is not taken, and acknowledged",
        "PA", -9_000_000, 100, {"data": b"x" * 100},
    ),
    (
        "data_far_right",
        "data far right of the window is not taken, and acknowledged",
        "PA", 9_000_000, 100, {"data": b"x" * 100},
    ),
    ("keep_alive", "a keep-alive (the number before, no data) is answered", "A", -1, 0, {}),
    ("keep_alive_byte", "a keep-alive with a byte is answered, with D-SACK", "A", -1, 1, {}),
    ("no_ack_bit", "data without ACK is not taken", "P", 0, 100, {}),
    ("no_ack_fin", "a FIN without ACK finishes nothing", "F", 0, 0, {}),
    ("null", "no flags at all say nothing", "", 0, 0, {}),
    ("null_data", "data without any flag is not taken", "", 0, 100, {}),
    ("xmas", "FIN, PSH and URG say nothing", "FPU", 0, 0, {}),
    ("bad_sum", "a wrong checksum says nothing", "PA", 0, 100, {"tcp_sum": 0x1234}),
    ("bad_sum_rst", "a RST with a wrong checksum says nothing", "R", 0, 0, {"tcp_sum": 0x1234}),
    ("short_offset", "a header shorter than a header says nothing", "PA", 0, 100, {"dataofs": 4}),
    ("long_offset", "a header longer than the packet says nothing", "R", 0, 0, {"dataofs": 15}),
]


def play_single(flags, distance, length, more):
    def steps(peer, at):
        peer.send(flags, at + distance, length, **more)
        peer.hear()

    return answered(steps)


for name, sentence, flags, distance, length, more in SINGLE:
    PROBES.append(Probe(name, sentence, play_single(flags, distance, length, more)))


# name, what it is and what is expected, flags, distance, length, further arguments, how much is taken
TAKEN = [
    ("unstamped_data", "data without timestamp is taken where timestamps are in use", {"stamped": False}),
    ("reserved_bits", "data with reserved bits is taken", {"reserved": 6}),
    ("urgent", "urgent data is taken in its place", {"flags": "PAU", "urgptr": 10}),
    ("urgent_zero", "an urgent pointer of 0 changes nothing", {"flags": "PAU", "urgptr": 0}),
    ("urgent_beyond", "an urgent pointer beyond the data changes nothing", {"flags": "PAU", "urgptr": 65_535}),
    ("psh_missing", "data without PSH is taken", {"flags": "A"}),
    ("unknown_option", "an unknown option is passed over", {"options": b"\xfd\x04ab"}),
    ("option_length_0", "an option of length 0 ends the options", {"options": b"\xfd\x00\x01\x01"}),
    ("option_overrun", "an option that runs over the end is passed over", {"options": b"\xfd\x20\x01\x01"}),
    ("option_mss", "an MSS option in mid-connection is passed over", {"options": b"\x02\x04\x00\x40"}),
    ("option_eol", "what stands behind the end of options is nothing", {"options": b"\x00\xfd\x01\x01"}),
    ("sack_odd", "a SACK option of a wrong length is passed over", {"options": b"\x05\x07" + b"s" * 5 + b"\x01"}),
    ("sack_beyond", "SACK of what was never sent is passed over", {"options": b"\x01\x01\x05\x0a" + b"\xf0" * 8}),
    ("clock_jumps", "a timestamp far ahead is taken", {"ts": 1 << 20}),
    ("echo_wrong", "a timestamp echo of the future is taken", {"ts": 1}),
    ("ece_without_ecn", "ECE without ECN changes nothing", {"flags": "PAE"}),
]


def play_taken(more):
    flags = more.get("flags", "PA")
    more = {key: value for key, value in more.items() if key != "flags"}

    def steps(peer, at):
        peer.send(flags, at, 100, **more)
        peer.hear()
        peer.clock += more.get("ts", 0)

    return answered(steps, 201)


for name, sentence, more in TAKEN:
    PROBES.append(Probe(name, sentence, play_taken(more)))


@probe(seconds=2)
def challenge_rate(peer):
    """Twenty SYNs in the window within half a second get one challenge ACK (RFC 5961 §7), and later one more."""
    peer.open()
    at = peer.settle()
    for _ in range(20):
        peer.send("S", at + 50)
        time.sleep(0.005)
    peer.say(f"{len(peer.receive())} answers")
    time.sleep(0.6)
    peer.send("S", at + 50)
    peer.say(f"{len(peer.receive())} answers")
    peer.is_alive(at)


@probe(seconds=2)
def challenge_rate_of_kinds(peer):
    """RST, SYN and ACK that may be forged share one limit of a connection."""
    peer.open()
    at = peer.settle()
    for flags, ack in (("R", 0), ("S", 0), ("A", 1 << 30), ("R", 0)):
        peer.send(flags, at + (100 if flags != "A" else 0), ack=ack)
        time.sleep(0.02)
    peer.say(f"{len(peer.receive())} answers")
    peer.is_alive(at)


@probe
def paws_is_for_what_was_acknowledged(peer):
    """The timestamp of data out of order does not become the one to compare with (RFC 7323 §4.3)."""
    peer.open()
    at = peer.settle()
    peer.send("PA", at + 200, 100, ts=5_000)
    peer.hear()
    peer.send("PA", at, 100)
    peer.hear()
    peer.is_alive(at + 100)


@probe
def syn_data_in_window(peer):
    """Data in a SYN in the window is not taken."""
    peer.open()
    at = peer.settle()
    peer.send("SPA", at, 100)
    peer.hear()
    peer.is_alive(at)


@probe(peer={"family": 6})
def v6_rst_in_window(peer):
    """A RST in the window is answered by a challenge ACK over IPv6 as well."""
    peer.open()
    at = peer.settle()
    peer.send("R", at + 100)
    peer.hear()
    peer.is_alive(at)


@probe(peer={"family": 6})
def v6_options(peer):
    """A SYN over IPv6 is answered with the same options."""
    peer.syn()
    peer.hear(until=lambda answer: True)
    peer.send("A", 1)
    peer.is_alive(1)


@probe(peer={"family": 6})
def v6_bad_sum(peer):
    """A wrong checksum over IPv6 says nothing."""
    peer.open()
    at = peer.settle()
    peer.send("PA", at, 100, tcp_sum=0x55)
    peer.hear()
    peer.is_alive(at)
