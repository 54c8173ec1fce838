"""What the server sends: how large, how much at once, when again, and into which window."""
import struct
import time

from peer import MSS, NOP, SACK, SCALE, relative
from probe import collect

PROBES = []
probe = collect(PROBES)

LONG = b"GET /1m.bin HTTP/1.1\r\nHost: lab.test\r\n\r\n"
SHORT = b"GET /1k.html HTTP/1.1\r\nHost: lab.test\r\n\r\n"


def options(mss=1_460, scale=7):
    stamp = bytes([8, 10]) + struct.pack(">II", 1_000, 0)
    return bytes([2, 4]) + struct.pack(">H", mss) + SACK + stamp + NOP + bytes([3, 3, scale])


def ask(peer, text, **more):
    """Sends a request as one segment; answers what it is followed by."""
    peer.text = text
    peer.send("PA", 1, len(text), **more)
    return len(text) + 1


def flight(peer, seconds):
    """Segments with data that arrive, without what is sent again; (offset, length, time)."""
    return [(relative(a.seq, peer.irs), len(a.data), a.at, a) for a in peer.receive(seconds) if a.data]


def distinct(found):
    return sorted({(offset, length) for offset, length, _, _ in found})


def without_probe(found):
    """The first flight less the tail probe that may have followed it within the time (RFC 8985 §7)."""
    times = {}
    for offset, length, at, _ in found:
        times.setdefault((offset, length), at)
    ordered = sorted(times.items(), key=lambda one: one[1])
    late = len(ordered) > 1 and ordered[-1][1] - ordered[-2][1] > 0.002
    return sorted(one for one, _ in (ordered[:-1] if late else ordered))


@probe
def first_flight(peer):
    """Without an ACK, ten segments are sent (RFC 6928), each as large as the MSS less the timestamps."""
    peer.open(options(), window=1_000)
    end = ask(peer, LONG)
    found = without_probe(flight(peer, 0.12))
    largest = max(length for _, length in found)
    # What the origin had not said yet may cut one short.
    segments = -(-sum(length for _, length in found) // largest)
    peer.say(f"{segments} segments of {largest}")
    peer.end(end)


@probe
def growth(peer):
    """Each acknowledged segment lets two go (slow start)."""
    peer.open(options(), window=4_000)
    end = ask(peer, LONG)
    found = distinct(flight(peer, 0.12))
    edge = max(offset + length for offset, length in found)
    peer.nxt = peer.irs + edge
    peer.send("A", end)
    more = [one for one in distinct(flight(peer, 0.12)) if one[0] >= edge]
    first, second = (sum(length for _, length in flight) for flight in (found, more))
    # One of either may be a probe, or short.
    peer.say("two for each" if 1.7 <= second / first <= 2.2 else f"{first} bytes, then {second}")
    peer.end(end)


@probe
def small_mss(peer):
    """An MSS of 536 is kept to."""
    peer.open(options(536), window=1_000)
    end = ask(peer, LONG)
    found = distinct(flight(peer, 0.12))
    peer.say(f"segments of {max(length for _, length in found)}")
    peer.end(end)


@probe
def no_mss(peer):
    """Without MSS option no segment is larger than 536 bytes (RFC 9293 §3.7.1)."""
    peer.open(b"", window=10_000)
    end = ask(peer, LONG)
    found = distinct(flight(peer, 0.12))
    peer.say(f"segments of {max(length for _, length in found)}")
    peer.end(end)


@probe(peer={"family": 6})
def no_mss_v6(peer):
    """Without MSS option no segment is larger than 1,220 bytes over IPv6 (RFC 9293 §3.7.1)."""
    peer.open(b"", window=20_000)
    end = ask(peer, LONG)
    found = distinct(flight(peer, 0.12))
    peer.say(f"segments of {max(length for _, length in found)}")
    peer.end(end)


@probe
def tiny_mss(peer):
    """An MSS of 48: segments have a least size (CVE-2019-11479)."""
    peer.open(options(48), window=1_000)
    end = ask(peer, LONG)
    found = distinct(flight(peer, 0.12))
    peer.say(f"segments of {max(length for _, length in found)}")
    peer.end(end)


@probe
def window_is_kept(peer):
    """No byte beyond the window is sent."""
    peer.open(options(scale=0), window=3_000)
    end = ask(peer, LONG)
    found = distinct(flight(peer, 0.12))
    peer.say("within" if max(offset + length for offset, length in found) <= 3_001 else "beyond")
    peer.end(end)


@probe
def window_shrinks(peer):
    """A window whose right edge moves back stops what was not sent; an ACK that opens it lets it go on."""
    peer.open(options(scale=0), window=6_000)
    end = ask(peer, LONG)
    found = distinct(flight(peer, 0.1))
    edge = max(offset + length for offset, length in found)
    first = found[0][1]
    peer.nxt = peer.irs + 1 + first
    peer.send("A", end, window=1_000)
    more = [one for one in distinct(flight(peer, 0.1)) if one[0] >= edge]
    peer.say(f"{len(more)} new segments in the smaller window")
    peer.nxt = peer.irs + edge
    peer.send("A", end, window=60_000)
    more = [one for one in distinct(flight(peer, 0.1)) if one[0] >= edge]
    peer.say("goes on" if len(more) >= 2 else "stands still")
    peer.end(end)


@probe(seconds=3.2, tolerance=(1.5, 0.12))
def zero_window(peer):
    """A closed window is probed, each time after twice the wait, one number before the next; opened, it goes on."""
    peer.open(options(scale=0), window=2_000)
    end = ask(peer, LONG)
    # Acknowledged as soon as it is there: what the server learns of the way is short.
    found = peer.receive(0.5, until=lambda answer: answer.data) + peer.receive(0.02)
    edge = max(relative(answer.seq, peer.irs) + len(answer.data) for answer in found)
    peer.nxt = peer.irs + edge
    closed = peer.send("A", end, window=0)
    times = [closed]
    kinds = set()
    for answer in peer.receive(2.8):
        if answer.at < closed:
            continue
        times.append(answer.at)
        kinds.add((relative(answer.seq, peer.nxt), len(answer.data)))
    peer.say(f"{len(times) - 1} probes, (place, length) {sorted(kinds)}")
    for index in range(1, min(len(times), 4)):
        peer.measure(f"wait_{index}", times[index] - times[index - 1])
    peer.send("A", end, window=60_000)
    more = flight(peer, 0.1)
    peer.say("goes on" if more and more[0][0] == edge else "stands still")
    peer.end(end)


@probe
def silly_window(peer):
    """A window that opens by a few bytes is not filled with a small segment at once (RFC 9293 §3.8.6.2.1)."""
    peer.open(options(scale=0), window=2_896)
    end = ask(peer, LONG)
    found = distinct(flight(peer, 0.1))
    edge = max(offset + length for offset, length in found)
    peer.nxt = peer.irs + edge
    peer.send("A", end, window=100)
    more = [one for one in distinct(flight(peer, 0.1)) if one[0] >= edge]
    peer.say(f"{len(more)} new segments")
    peer.end(end)


def again(peer, at, text, seconds):
    """Times of the first segment, and of every time something is sent again, of the answer to a request."""
    peer.send("PA", at, len(text))
    found = flight(peer, seconds)
    times = [sent for _, _, sent, _ in found[:1]]
    known = set()
    for offset, _, sent, _ in found:
        if offset in known:
            times.append(sent)
        known.add(offset)
    peer.end(at + len(text))
    return times


@probe(seconds=3.6, tolerance=(1.35, 0.06))
def retransmission_times(peer):
    """An answer nobody acknowledges is sent again: a probe, then after waits that double (RFC 6298, 8985)."""
    peer.text = SHORT + SHORT
    peer.open()
    # An answer that is acknowledged tells the server how long the way is.
    peer.send("PA", 1, len(SHORT))
    for answer in peer.receive(0.2, until=lambda answer: "P" in answer.flags):
        if answer.data:
            peer.take(answer)
    peer.send("A", len(SHORT) + 1)
    times = again(peer, len(SHORT) + 1, SHORT, 3.2)
    peer.say("at least four times" if len(times) > 4 else f"{len(times) - 1} times again")
    for index in range(1, min(len(times), 5)):
        peer.measure(f"wait_{index}", times[index] - times[index - 1])


@probe(seconds=2)
def first_answer_is_lost(peer):
    """The first answer of a connection, not acknowledged, is sent again within half a second."""
    peer.text = SHORT
    peer.open()
    times = again(peer, 1, SHORT, 1.3)
    first = times[1] - times[0] if len(times) > 1 else 0
    peer.say("not again" if not first else "within half a second" if first < 0.5 else "again after a second")


@probe(seconds=2)
def tail_loss(peer):
    """A last segment that is lost is sent again by a probe before the timeout (RFC 8985 §7)."""
    peer.open(options(), window=2_000)
    end = ask(peer, LONG)
    found = flight(peer, 0.08)
    edges = sorted({offset + length for offset, length, _, _ in found})
    if len(edges) < 10:
        peer.say(f"{len(edges)} segments")
    peer.nxt = peer.irs + edges[-2]
    # The window closes behind what was sent: the last segment is all there is to send.
    peer.send("A", end, window=-(-(edges[-1] - edges[-2]) // 128))
    last = [at for offset, length, at, _ in flight(peer, 0.6) if offset + length == edges[-1]]
    peer.say("sent again" if last else "not sent again")
    peer.end(end)


@probe(tolerance=(1.0, 0.04))
def fast_retransmit(peer):
    """What SACK shows as lost is sent again at once, and only that."""
    peer.open(options(), window=2_000)
    end = ask(peer, LONG)
    found = distinct(flight(peer, 0.08))
    second = found[1]
    left, right = found[2][0], found[9][0] + found[9][1]
    peer.nxt = peer.irs + second[0]
    sack = NOP + NOP + b"\x05\x0a" + struct.pack(">II", (peer.irs + left) % 2**32, (peer.irs + right) % 2**32)
    sent = peer.send("A", end, options=sack)
    more = flight(peer, 0.12)
    lost = [at for offset, _, at, _ in more if offset == second[0]]
    old = [offset for offset, _, _, _ in more if left <= offset < right]
    peer.say(f"lost is {'sent' if lost else 'not sent'}, {len(old)} of what arrived are sent")
    if lost:
        peer.measure("after", lost[0] - sent)
    peer.end(end)


@probe(tolerance=(1.0, 0.05))
def three_duplicates(peer):
    """Without SACK, three duplicate ACKs send the first segment again (RFC 5681)."""
    peer.open(MSS + NOP + SCALE, window=65_000)
    end = ask(peer, LONG)
    found = distinct(flight(peer, 0.08))
    peer.nxt = peer.irs + found[1][0]
    peer.send("A", end)
    flight(peer, 0.03)
    for _ in range(3):
        sent = peer.send("A", end)
    more = flight(peer, 0.12)
    lost = [at for offset, _, at, _ in more if offset == found[1][0]]
    peer.say("sent again" if lost else "not sent again")
    if lost:
        peer.measure("after", lost[0] - sent)
    peer.end(end)


@probe
def ack_division(peer):
    """Many ACKs of a few bytes each open the congestion window no more than one ACK of all (RFC 3465)."""
    peer.open(options(), window=8_000)
    end = ask(peer, LONG)
    found = distinct(flight(peer, 0.1))
    edge = max(offset + length for offset, length in found)
    first = found[0][1]
    for part in range(1, 101):
        peer.nxt = peer.irs + 1 + first * part // 100
        peer.send("A", end)
    more = [one for one in distinct(flight(peer, 0.1)) if one[0] >= edge]
    peer.say(f"{'few' if len(more) <= 3 else len(more)} new segments for one that was acknowledged in a hundred parts")
    peer.end(end)


@probe
def optimistic_ack(peer):
    """ACKs of what was not sent yet bring nothing."""
    peer.open(options(), window=8_000)
    end = ask(peer, LONG)
    found = distinct(flight(peer, 0.1))
    edge = max(offset + length for offset, length in found)
    peer.nxt = peer.irs + edge + 50_000
    peer.send("A", end)
    more = [one for one in distinct(flight(peer, 0.1)) if one[0] >= edge]
    # One may be a tail probe, which is due at any time.
    peer.say("nothing" if len(more) <= 1 else f"{len(more)} new segments")
    peer.end(end)


@probe(seconds=2, tolerance=(1.02, 10.0))
def clock_rate(peer):
    """Timestamps go on by 1,000 a second."""
    peer.open()
    at = peer.settle()
    values = []
    for _ in range(2):
        peer.send("PA", at, 10)
        at += 10
        values += [(answer.at, peer.echo) for answer in peer.receive(0.1, until=lambda answer: True)]
        time.sleep(0.8)
    peer.say(f"{len(values)} samples")
    if len(values) == 2:
        peer.measure("per_second", (values[1][1] - values[0][1]) % 2**32 / (values[1][0] - values[0][0]))
    peer.is_alive(at)


@probe
def pushes(peer):
    """The last segment of an answer has PSH."""
    peer.open()
    end = ask(peer, SHORT)
    found = [answer for _, _, _, answer in flight(peer, 0.1)]
    peer.say("PSH" if found and "P" in found[-1].flags else "no PSH")
    peer.end(end)


@probe(seconds=2)
def stamps_of_data(peer):
    """Data echoes the timestamp of the request."""
    peer.open()
    end = ask(peer, SHORT)
    found = [answer for _, _, _, answer in flight(peer, 0.1)]
    echoes = sorted({struct.unpack(">II", answer.option(8))[1] for answer in found})
    peer.say(f"echo {echoes}")
    peer.end(end)
