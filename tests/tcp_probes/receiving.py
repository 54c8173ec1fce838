"""What the server takes: order, holes, duplicates, overlaps, windows, and when it acknowledges."""
import struct

from peer import HEAD, MSS, NOP, PATIENCE, SACK, SCALE, TEXT
from probe import collect

PROBES = []
probe = collect(PROBES)


@probe
def in_order(peer):
    """Data in order is acknowledged."""
    peer.open()
    peer.send("PA", 1, 100)
    peer.hear()
    peer.is_alive(101)


@probe
def one_hole(peer):
    """Data behind a hole is acknowledged by SACK at once; what fills the hole by an ACK of everything, at once."""
    peer.open()
    at = peer.settle()
    sent = peer.send("PA", at + 100, 100)
    answers = peer.receive(until=lambda answer: True)
    peer.write(answers)
    peer.say("at once" if answers and answers[0].at - sent < 0.035 else "late")
    sent = peer.send("PA", at, 100)
    answers = peer.receive(until=lambda answer: True)
    peer.write(answers)
    peer.say("at once" if answers and answers[0].at - sent < 0.035 else "late")
    peer.is_alive(at + 200)


@probe
def holes(peer):
    """SACK names the newest block first, then the ones before it (RFC 2018 §4), as many as there is room for."""
    peer.open()
    at = peer.settle()
    for block in (100, 300, 500, 700, 900):
        peer.send("PA", at + block, 100)
        peer.hear(until=lambda answer: True)
    peer.send("PA", at + 350, 100)
    peer.hear(until=lambda answer: True)
    peer.send("PA", at, 100)
    peer.hear(until=lambda answer: True)
    peer.is_alive(at + 200)


@probe
def holes_unstamped(peer):
    """Without timestamps there is room for four blocks of SACK."""
    peer.open(MSS + NOP + NOP + SACK)
    at = peer.settle()
    for block in (100, 300, 500, 700, 900):
        peer.send("PA", at + block, 100)
        peer.hear(until=lambda answer: True)
    peer.is_alive(at)


@probe
def hole_without_sack(peer):
    """Without SACK a hole is told by an ACK of what is in order."""
    peer.open(MSS)
    at = peer.settle()
    peer.send("PA", at + 100, 100)
    peer.hear()
    peer.send("PA", at, 100)
    peer.hear()
    peer.is_alive(at + 200)


@probe
def blocks_join(peer):
    """Blocks that touch or overlap become one."""
    peer.open()
    at = peer.settle()
    for block in (100, 200, 250, 400, 300):
        peer.send("PA", at + block, 100)
        peer.hear(until=lambda answer: True)
    peer.is_alive(at)


@probe
def duplicate(peer):
    """Data that came before is told by D-SACK (RFC 2883)."""
    peer.open()
    peer.settle()
    peer.send("PA", 1, 100)
    peer.hear()
    peer.send("PA", 21, 30)
    peer.hear()
    peer.is_alive(101)


@probe
def duplicate_in_hole(peer):
    """Data that came before behind a hole is told by D-SACK, with its block after it."""
    peer.open()
    at = peer.settle()
    peer.send("PA", at + 100, 200)
    peer.hear()
    peer.send("PA", at + 150, 50)
    peer.hear()
    peer.is_alive(at)


@probe
def duplicate_once(peer):
    """D-SACK is told once: the next ACK has none."""
    peer.open()
    at = peer.settle()
    peer.send("PA", 1, 100)
    peer.hear()
    peer.send("PA", at, 100)
    peer.hear()
    peer.is_alive(at + 100)


@probe
def overlap_left(peer):
    """Of data that is half old, the new half is taken, and the old half told by D-SACK."""
    peer.open()
    at = peer.settle()
    peer.send("PA", at - 50, 150)
    peer.hear()
    peer.is_alive(at + 100)


@probe
def overlap_right(peer):
    """Data that fills a hole and runs over what is behind it is taken to its end."""
    peer.open()
    at = peer.settle()
    peer.send("PA", at + 100, 100)
    peer.hear()
    peer.send("PA", at, 300)
    peer.hear()
    peer.is_alive(at + 300)


@probe
def overlap_conflict(peer):
    """Of two copies that differ, behind a hole, the first is kept: the request asks for what it said."""
    peer.open()
    path = TEXT.index(b"1k.html") + 1
    peer.send("PA", path, 7)
    peer.receive(until=lambda answer: True)
    peer.send("PA", path, 7, data=b"no.html")
    peer.receive(until=lambda answer: True)
    peer.send("PA", 1, path - 1)
    peer.hear()
    peer.is_alive(path + 7)


@probe
def overlap_conflict_around(peer):
    """A larger copy that differs, around an earlier one behind a hole."""
    peer.open()
    path = TEXT.index(b"1k.html") + 1
    peer.send("PA", path, 7)
    peer.receive(until=lambda answer: True)
    peer.send("PA", path - 1, 9, data=b"/no.html ")
    peer.receive(until=lambda answer: True)
    peer.send("PA", 1, path - 2)
    peer.hear()
    peer.is_alive(path + 8)


@probe
def old_copy_conflict(peer):
    """A copy of what was taken already changes nothing."""
    peer.open()
    peer.send("PA", 1, len(HEAD))
    peer.receive()
    peer.send("PA", 1, len(HEAD), data=HEAD.replace(b"1k.html", b"no.html"))
    peer.hear()
    peer.is_alive(len(HEAD) + 1)


@probe
def reversed_order(peer):
    """A request whose segments come in reverse order is read in order."""
    peer.open()
    step = 400
    for at in reversed(range(1, len(TEXT), step)):
        peer.send("PA", at, step)
    answers = peer.receive(1.0, until=lambda answer: answer.data)
    served = next((answer for answer in answers if answer.data), None)
    peer.say(f"served {served.data[9:12].decode()}" if served else "not served")
    peer.end(len(TEXT) + 1)


@probe(seconds=2)
def bytes_one_by_one(peer):
    """A request whose bytes come one by one is read."""
    peer.open()
    for at in range(1, len(HEAD) + 1):
        peer.send("PA", at, 1)
    peer.receive()
    peer.is_alive(len(HEAD) + 1)


@probe
def beyond_window(peer):
    """Of data that runs over the right edge of the window, nothing beyond the edge is acknowledged."""
    peer.open(MSS + NOP + SCALE)
    at = peer.settle()
    peer.send("PA", at, 10)
    answers = peer.receive(until=lambda answer: True)
    edge = answers[-1].window << peer.scale
    peer.send("PA", at + 10 + edge + 100, 100, data=b"x" * 100)
    peer.hear()
    peer.is_alive(at + 10)


@probe
def window_edge(peer):
    """The window has room for several segments, and its right edge never moves back by more than its scale cuts off."""
    # RFC 7323 §2.4: what the shift cuts off may be missing from one segment and not from the next.
    peer.open()
    edges, at = [], 1
    for _ in range(6):
        peer.send("PA", at, 100)
        at += 100
        edges += [
            (answer.ack - peer.iss + (answer.window << peer.scale)) % 2**32
            for answer in peer.receive(until=lambda answer: True)
        ]
    back = [before - after for before, after in zip(edges, edges[1:])]
    peer.say("room" if edges and edges[-1] > 8 * 1_460 else f"edges {edges}")
    peer.say("never back" if max(back) < 1 << peer.scale else f"moves back: {edges}")
    peer.is_alive(at)


@probe(seconds=2, tolerance=(1.0, 0.03))
def delayed_ack(peer):
    """Data that nobody answers is acknowledged after a delay of about 40 ms, once the connection is no longer new."""
    peer.open()
    # Twenty-four small pieces, so that no server is in its quick phase, and a request that is answered, so that the
    # connection is one of questions and answers.
    at = 1
    for _ in range(24):
        peer.send("PA", at, 20)
        at += 20
        peer.receive(0.06, until=lambda answer: True)
    end = peer.rest(at)
    for answer in peer.receive(0.3, until=lambda answer: answer.data and "P" in answer.flags):
        if answer.data:
            peer.take(answer)
    peer.receive(0.05)
    delays = []
    for piece in range(2):
        sent = peer.send("PA", end + piece * 20, 20, data=TEXT[piece * 20 : piece * 20 + 20])
        answers = peer.receive(0.3, until=lambda answer: True)
        delays += [answer.at - sent for answer in answers]
    peer.say(f"{len(delays)} ACKs")
    if delays:
        peer.measure("delay", delays[0])
    peer.end(end + 40)


@probe
def every_second_segment(peer):
    """Of full segments in a row, at least every second is acknowledged at once (RFC 9293 §3.8.6.3)."""
    text = b"POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n"
    peer.text = text + b"u" * 200_000
    peer.open()
    peer.send("PA", 1, len(text))
    peer.receive(0.1)
    at = len(text) + 1
    acks = set()
    for _ in range(4):
        for _ in range(2):
            peer.send("A", at, 1_400)
            at += 1_400
        answers = peer.receive(0.035)
        acks.update(answer.ack for answer in answers)
        for answer in answers:
            peer.take(answer)
    peer.say("at least every second" if len(acks) >= 4 else f"{len(acks)} ACKs of 8 segments")
    peer.end(at)


@probe
def hole_and_fin(peer):
    """A FIN behind a hole is part of the block, and finishes once the hole is filled."""
    peer.open()
    at = peer.settle()
    peer.send("FPA", at + 100, 100)
    peer.hear()
    peer.send("PA", at, 100)
    peer.hear_fin()


@probe
def sack_panic(peer):
    """An MSS of 48 and SACK of every second byte of the answer do no harm (CVE-2019-11477)."""
    peer.open(b"\x02\x04\x00\x30" + SACK + bytes([8, 10]) + struct.pack(">II", 1_000, 0) + NOP + SCALE)
    end = peer.rest(1)
    answers = [answer for answer in peer.receive(0.3) if answer.data]
    base = answers[0].seq if answers else 0
    for index in range(40):
        left = base + 8 + 16 * index
        peer.send("A", end, options=NOP + NOP + b"\x05\x0a" + struct.pack(">II", left % 2**32, (left + 8) % 2**32))
    peer.receive(0.1)
    other = peer.__class__(peer.wire, peer.target, peer.port + 1)
    other.open()
    other.is_alive(1)
    peer.lines += other.lines
    peer.end(end)


@probe(seconds=2)
def many_holes(peer):
    """Four hundred blocks of one byte (CVE-2018-5390): the request is read when the holes are filled."""
    peer.open()
    start = len(HEAD) + 1
    peer.send("PA", 1, start - 1)
    peer.receive(0.05)
    for index in range(400):
        peer.send("A", start + 1 + 2 * index, 1)
    peer.receive(PATIENCE)
    peer.is_alive(start)
