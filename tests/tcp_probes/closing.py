"""How a connection ends: either side first, both at once, half, and what is left of it (TIME-WAIT)."""
import struct
import time

from peer import MSS, NOP, SACK, SCALE
from probe import collect

PROBES = []
probe = collect(PROBES)

CLOSE = b"GET /1k.html HTTP/1.1\r\nHost: lab.test\r\nConnection: close\r\n\r\n"


def is_fin(answer):
    return "F" in answer.flags


def server_finishes(peer):
    """A request that asks to close: the answer and the server's FIN, both acknowledged. The client's next number."""
    peer.text = CLOSE
    peer.open()
    peer.send("PA", 1, len(CLOSE))
    peer.receive_answer()
    end = len(CLOSE) + 1
    peer.send("A", end)
    return end


def to_time_wait(peer):
    end = server_finishes(peer)
    peer.receive(0.05)
    peer.send("FA", end)
    if not peer.receive(0.3, until=lambda answer: True):
        raise RuntimeError("the FIN is not acknowledged")
    return end + 1


@probe
def client_finishes(peer):
    """A client that finishes with nothing asked is acknowledged, and the server finishes too."""
    peer.open()
    peer.send("FA", 1)
    found = peer.receive(0.5, until=is_fin)
    peer.say(f"acknowledged {max(a.ack - peer.iss for a in found) % 2**32}" if found else "nothing")
    peer.say("FIN" if any(map(is_fin, found)) else "no FIN")
    peer.nxt += 1
    peer.send("A", 2)
    peer.hear()


@probe
def half_close(peer):
    """A client that finishes behind its request is answered in full, then the server finishes."""
    peer.text = b"GET /1k.html HTTP/1.1\r\nHost: lab.test\r\n\r\n"
    peer.open()
    peer.send("FPA", 1, len(peer.text))
    found = peer.receive(0.6, until=is_fin)
    data = sum(len(answer.data) for answer in found)
    peer.say("answered" if data > 1_000 else "not answered")
    peer.say("FIN" if any(map(is_fin, found)) else "no FIN")
    peer.say(f"acknowledged {(found[-1].ack - peer.iss) % 2**32 - len(peer.text)} more" if found else "nothing")
    peer.end(len(peer.text) + 2)


@probe
def half_close_amid_request(peer):
    """A client that finishes amid its request: the server ends the connection."""
    peer.open()
    peer.send("PA", 1, 100)
    peer.receive()
    peer.send("FA", 101)
    found = peer.receive(0.6, until=is_fin)
    peer.say("FIN" if any(map(is_fin, found)) else "no FIN")
    peer.end(102)


@probe
def fin_again(peer):
    """The client's FIN again is acknowledged again, with D-SACK."""
    peer.text = CLOSE
    peer.open()
    at = peer.settle_short()
    peer.send("FA", at)
    peer.receive(0.3, until=is_fin)
    peer.send("FA", at)
    found = [answer for answer in peer.receive(0.15) if not is_fin(answer) and not answer.data]
    peer.say(f"{'acknowledged' if found else 'not acknowledged'} {sorted({(a.ack - peer.iss) % 2**32 for a in found})}")
    peer.end(at + 1)


@probe
def server_finishes_first(peer):
    """The server's FIN follows its answer; the client's FIN is acknowledged."""
    end = server_finishes(peer)
    peer.receive(0.05)
    peer.send("FA", end)
    peer.hear()


@probe(seconds=1.5)
def server_fin_again(peer):
    """The server's FIN that is not acknowledged is sent again."""
    first = CLOSE.replace(b"close", b"keep-alive")
    peer.text = first + CLOSE
    peer.open()
    # An answer that is acknowledged tells the server how long the way is.
    peer.send("PA", 1, len(first))
    for answer in peer.receive(0.2, until=lambda answer: "P" in answer.flags):
        if answer.data:
            peer.take(answer)
    peer.send("A", len(first) + 1)
    peer.send("PA", len(first) + 1, len(CLOSE))
    fins = [answer for answer in peer.receive(0.4, until=is_fin) if is_fin(answer)]
    more = [answer for answer in peer.receive(0.8, until=is_fin) if is_fin(answer)]
    peer.say("FIN, and again" if fins and more else f"{len(fins)} FINs, then {len(more)}")
    peer.end(len(peer.text) + 1)


@probe
def both_finish(peer):
    """FINs that cross: each is acknowledged, and what is left answers as TIME-WAIT."""
    peer.text = CLOSE
    peer.open()
    peer.send("PA", 1, len(CLOSE))
    peer.receive_answer()
    end = len(CLOSE) + 1
    # The client's FIN acknowledges the data but not the FIN.
    peer.send("FA", end, ack=-1)
    peer.hear()
    peer.send("A", end + 1)
    peer.hear()
    peer.send("FA", end)
    peer.hear()


@probe
def fin_wait_data(peer):
    """Data after the server has finished and closed."""
    end = server_finishes(peer)
    peer.receive(0.05)
    peer.send("PA", end, 10, data=b"GET / HTTP")
    peer.hear()


@probe
def time_wait_fin(peer):
    """In TIME-WAIT the client's FIN again is acknowledged again."""
    end = to_time_wait(peer)
    peer.send("FA", end - 1)
    peer.hear()
    peer.send("FA", end - 1)
    peer.hear()


@probe
def time_wait_ack(peer):
    """In TIME-WAIT an ACK is not answered, and old data is."""
    end = to_time_wait(peer)
    peer.send("A", end)
    peer.hear()
    peer.send("PA", 1, 20)
    peer.hear()


@probe
def time_wait_paws(peer):
    """In TIME-WAIT a segment with an old timestamp is answered."""
    end = to_time_wait(peer)
    peer.send("FA", end - 1, ts=-5_000)
    peer.hear()


@probe
def time_wait_new_data(peer):
    """In TIME-WAIT data beyond the client's FIN."""
    end = to_time_wait(peer)
    peer.send("PA", end, 20, data=b"x" * 20)
    peer.hear()


def syn_of(peer, seq, clock):
    stamp = b"" if clock is None else bytes([8, 10]) + struct.pack(">II", clock, 0)
    tail = NOP + SCALE if clock is None else stamp + NOP + SCALE
    return peer.raw("S", seq, 0, options=MSS + SACK + tail, window=64_240)


@probe
def time_wait_syn_newer(peer):
    """In TIME-WAIT a SYN with a newer timestamp opens a connection (RFC 6191)."""
    end = to_time_wait(peer)
    peer.reset(iss=peer.iss + end + 1_000)
    peer.clock = 9_000
    peer.syn()
    peer.hear(until=lambda answer: True)
    peer.send("A", 1)
    peer.is_alive(1)


@probe
def time_wait_syn_newer_lower(peer):
    """In TIME-WAIT a SYN with a newer timestamp and a lower number opens a connection (RFC 6191)."""
    end = to_time_wait(peer)
    peer.reset(iss=peer.iss + end - 100_000)
    peer.clock = 9_000
    peer.syn()
    peer.hear(until=lambda answer: True)
    peer.send("A", 1)
    peer.is_alive(1)


@probe
def time_wait_syn_unstamped(peer):
    """In TIME-WAIT a SYN without timestamp and with a higher number opens a connection."""
    end = to_time_wait(peer)
    peer.reset(iss=peer.iss + end + 100_000)
    peer.syn(MSS)
    peer.hear(until=lambda answer: True)
    peer.has_timestamps = False
    peer.send("A", 1)
    peer.is_alive(1)


@probe
def time_wait_syn_older(peer):
    """In TIME-WAIT a SYN with an older timestamp and number is answered by an ACK of the old connection."""
    end = to_time_wait(peer)
    syn_of(peer, end - 100_000, 500)
    peer.hear()


@probe
def time_wait_syn_same_clock(peer):
    """In TIME-WAIT a SYN with the same timestamp and a higher number opens a connection."""
    end = to_time_wait(peer)
    clock = peer.clock
    peer.reset(iss=peer.iss + end + 1_000)
    peer.clock = clock
    peer.syn()
    peer.hear(until=lambda answer: True)
    peer.end(1)


@probe
def time_wait_syn_unstamped_lower(peer):
    """In TIME-WAIT a SYN without timestamp and with a lower number is answered by an ACK of the old connection."""
    end = to_time_wait(peer)
    syn_of(peer, end - 100_000, None)
    peer.hear()


@probe
def time_wait_rst(peer):
    """A RST in TIME-WAIT does not end it (RFC 1337): the FIN again is still acknowledged."""
    end = to_time_wait(peer)
    peer.send("R", end)
    peer.hear()
    peer.send("FA", end - 1)
    peer.hear()


@probe
def time_wait_rst_beyond(peer):
    """A RST beyond the window in TIME-WAIT does not end it."""
    end = to_time_wait(peer)
    peer.send("R", end + 5_000_000)
    peer.hear()
    peer.send("FA", end - 1)
    peer.hear()


@probe
def closed_for_good(peer):
    """After the client finished first, nothing is left: the port is free for a new connection at once."""
    peer.open()
    peer.send("FA", 1)
    peer.receive(0.5, until=is_fin)
    peer.nxt += 1
    peer.send("A", 2)
    time.sleep(0.05)
    peer.reset()
    peer.syn()
    peer.hear(until=lambda answer: True)
    peer.send("A", 1)
    peer.is_alive(1)


@probe
def after_rst(peer):
    """After a RST the port is free for a new connection at once, with any number and clock."""
    peer.open()
    at = peer.settle()
    peer.send("R", at)
    time.sleep(0.05)
    peer.reset(iss=peer.iss - 1_000_000)
    peer.clock = 500
    peer.syn()
    peer.hear(until=lambda answer: True)
    peer.send("A", 1)
    peer.is_alive(1)
