"""Clients that break rules or wear the node out: what ends them, by name, and that others are served meanwhile."""

import struct
import sys
import time

from peer import GET, POST, PREFACE, Polite, Raw, frame
from place import ROOT, Place
from polite import expect

sys.path.insert(0, str(ROOT / "tests/smuggling"))
from origin import Origin  # noqa: E402

CALM, PROTOCOL_ERROR, FLOW_CONTROL_ERROR = 0xB, 0x1, 0x3


def flood(place, name, each, count, settings=None, first=None, chunk=200):
    """Sends `each(round)` until the node says GOAWAY by that name, and counts it."""
    before = place.violations()[name]
    client = Raw(place.port, settings)
    if first:
        first(client)
    for start in range(0, count, chunk):
        client.send(b"".join(each(client, number) for number in range(start, start + chunk)))
        if client.is_closed:
            break
    said = client.goaway()
    client.close()
    expect(said == (CALM, name), f"wanted {name}, got {said}")
    for _ in range(30):
        if place.violations()[name] > before:
            return
        time.sleep(0.1)
    raise AssertionError(f"{name} is not counted")


def rapid_reset(place):
    def each(client, number):
        stream = 2 * number + 1
        return frame(1, 5, stream, client.block(GET)) + frame(3, 0, stream, struct.pack(">I", 8))

    flood(place, "rapid_reset", each, 20_000)


def resets_that_the_client_provokes(place):
    def each(client, number):
        stream = 2 * number + 1
        return frame(1, 4, stream, client.block(POST)) + frame(8, 0, stream, bytes(4))

    flood(place, "rapid_reset", each, 20_000)


def endless_continuations(place):
    def first(client):
        client.headers(1, GET, flags=0)

    flood(place, "continuation_flood", lambda client, number: frame(9, 0, 1, b""), 1_000, first=first)
    flood(place, "header_bomb", lambda client, number: frame(9, 0, 1, bytes(16_000)), 8, first=first, chunk=4)


def pings(place):
    flood(place, "ping_flood", lambda client, number: frame(6, 0, 0, bytes(8)), 50_000)


def settings(place):
    flood(place, "settings_flood", lambda client, number: frame(4, 0, 0), 50_000)


def empty_data(place):
    flood(
        place,
        "empty_data_flood",
        lambda client, number: frame(0, 0, 1),
        50_000,
        first=lambda client: client.headers(1, POST, end=False),
    )


def window_updates(place):
    flood(
        place,
        "window_update_flood",
        lambda client, number: frame(8, 0, 0, struct.pack(">I", 1)),
        50_000,
    )


def priorities(place):
    flood(place, "priority_flood", lambda client, number: frame(2, 0, 1, bytes([0, 0, 0, 3, 1])), 50_000)


def a_header_bomb(place):
    client = Raw(place.port)
    # A table of 1,024 bytes, one entry of 900, named a thousand times.
    block = b"\x3f\xe1\x07" + b"\x40\x01x\x7f\x85\x06" + b"y" * 900 + b"\xbe" * 1000
    client.send(frame(1, 5, 1, block))
    expect(client.goaway() == (CALM, "header_bomb"), "the bomb")
    client.close()


def a_list_too_long_is_answered_with_431(place):
    client = Raw(place.port)
    block = client.block([*GET, *[(f"x-{number}", "y" * 100) for number in range(150)]])
    client.send(frame(1, 1, 1, block[:16_000]) + frame(9, 4, 1, block[16_000:]))
    expect(client.status(1) == 431, "no 431")
    client.headers(3, GET)
    expect(client.status(3) == 200, "the next request")
    client.close()


def requests_that_would_smuggle(place):
    """An origin that records what it receives sees none of them; the connection goes on."""
    recorder = Origin()
    recording = Place(place.path, recorder.port)
    try:
        smuggle(recording, recorder)
    finally:
        recording.close()


def smuggle(place, recorder):
    good = dict(GET)
    mark = "smuggled"

    def fields(**replaced):
        named = {":" + name: value for name, value in replaced.items()}
        return list({**good, **named}.items())

    lists = [
        fields(path=f"/{mark} HTTP/1.1\r\nhost: x\r\n\r\nGET /{mark}"),
        fields(path=f"/{mark} x"),
        fields(path=f"{mark}"),
        fields(path=""),
        fields(method=f"GET /{mark} HTTP/1.1\r\nx: "),
        fields(method=""),
        fields(scheme=f"https://site.test/{mark}?"),
        fields(authority=f"site.test\r\nx: {mark}"),
        fields(authority=f"user@site.test/{mark}"),
        fields(status="200"),
        fields(protocol="websocket"),
        fields(unknown=mark),
        [*GET, (":path", f"/{mark}")],
        GET[:3],
        [*GET[:2], GET[3]],
        [("accept", "*/*"), *GET],
        [*GET, ("x", f"a\r\nx-{mark}: 1")],
        [*GET, ("x", f"a\n{mark}")],
        [*GET, ("x", f"a\0{mark}")],
        [*GET, (f"x\r\n{mark}", "1")],
        [*GET, (f"x: {mark}", "1")],
        [*GET, (f"X-{mark}", "1")],
        [*GET, ("transfer-encoding", "chunked")],
        [*GET, ("connection", "close")],
        [*GET, ("upgrade", "websocket")],
        [*GET, ("te", "chunked")],
        [*GET, ("host", mark)],
        [*GET, ("content-length", "5")],
        [*GET, ("content-length", "0"), ("content-length", "0")],
        [*GET, ("content-length", "0, 0")],
        [*GET, ("content-length", "+0")],
    ]
    client = Raw(place.port)
    for number, each in enumerate(lists):
        stream = 2 * number + 1
        client.headers(stream, each)
        code = client.reset(stream, 3)
        expect(code == PROTOCOL_ERROR, f"{each}: {code}")
    # A body longer and one shorter than announced (H2.CL): the origin must not take the rest for a request.
    rest = f"GET /{mark} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
    client.headers(1001, [*POST, ("content-length", "0")], end=False)
    client.send(frame(0, 1, 1001, rest))
    expect(client.reset(1001, 3) is not None, "a body longer than its length")
    client.headers(1003, [*POST, ("content-length", "500")], end=False)
    client.send(frame(0, 1, 1003, rest))
    expect(client.reset(1003, 3) is not None, "a body shorter than its length")
    client.headers(1005, GET)
    expect(client.status(1005) == 200, "the next request")
    client.close()
    time.sleep(0.2)
    # The heads of the two bodies were good: they may have been passed on before the body was not.
    seen = [(request.method, request.target) for request in recorder.recorded()]
    expect(seen[-1:] == [(b"GET", b"/echo")], seen)
    expect(set(seen[:-1]) <= {(b"POST", b"/echo")} and len(seen) <= 2, seen)
    for request in recorder.recorded():
        expect(request.body == b"" and not any(mark.encode() in value for _, value in request.fields), seen)


def connect_is_refused(place):
    client = Raw(place.port)
    client.headers(1, [(":method", "CONNECT"), (":authority", "127.0.0.1:22")])
    expect(client.status(1) == 501, "CONNECT")
    client.close()


def broken_frames(place):
    for bytes_, code in [
        (frame(0, 0, 0, b"x"), PROTOCOL_ERROR),
        (frame(1, 4, 2, b"\x82"), PROTOCOL_ERROR),
        (frame(1, 4, 1, b"\x80"), 0x9),
        (frame(3, 0, 99, bytes(4)), PROTOCOL_ERROR),
        (frame(4, 0, 0, bytes(5)), 0x6),
        (frame(4, 0, 0, struct.pack(">HI", 2, 9)), PROTOCOL_ERROR),
        (frame(5, 4, 1, bytes(4)), PROTOCOL_ERROR),
        (frame(6, 0, 0, bytes(7)), 0x6),
        (frame(8, 0, 0, bytes(4)), PROTOCOL_ERROR),
        (frame(8, 0, 0, struct.pack(">I", 0x7FFFFFFF)), FLOW_CONTROL_ERROR),
        (frame(9, 4, 1, b"\x82"), PROTOCOL_ERROR),
        (b"\x00\x40\x01\x00\x00\x00\x00\x00\x01", 0x6),
    ]:
        client = Raw(place.port)
        client.send(bytes_)
        said = client.goaway()
        expect(said is not None and said[0] == code, f"{bytes_.hex()}: {said}")
        client.close()


def http_1_where_http_2_was_agreed(place):
    client = Raw(place.port, preface=False)
    client.send(b"GET / HTTP/1.1\r\nhost: site.test\r\n\r\n")
    expect(client.goaway() == (PROTOCOL_ERROR, "preface"), "HTTP/1.1 after ALPN h2")
    client.close()


def a_preface_that_does_not_come(place):
    began = time.monotonic()
    client = Raw(place.port, preface=False)
    client.send(PREFACE[:10])
    while client.read(10):
        pass
    expect(client.is_closed and time.monotonic() - began < 8, "it is still waited for")
    client.close()


def a_head_byte_by_byte(place):
    client = Raw(place.port)
    began = time.monotonic()
    for byte in frame(1, 5, 1, client.block(GET)):
        client.send(bytes([byte]))
        client.read(0.3)
        if client.is_closed or client.goaway(0.01):
            break
    expect(time.monotonic() - began < 8, "a slow head is waited for")
    client.close()


def a_body_byte_by_byte(place):
    client = Raw(place.port)
    began = time.monotonic()
    client.headers(1, [*POST, ("content-length", "1000")], end=False)
    ended = None
    while ended is None and time.monotonic() - began < 20:
        client.send(frame(0, 0, 1, b"x"))
        client.read(0.3)
        ended = client.until(lambda each: each[2] == 1 and each[0] in (1, 3), 0.01)
    expect(ended is not None, "a slow body is taken for ever")
    client.close()


def a_reader_that_never_reads(place):
    """A window of nothing, then one that opens by a byte: the stream ends, others on the connection live."""
    client = Raw(place.port, {4: 0})
    client.headers(1, [*GET[:2], (":path", "/bytes?n=100000"), GET[3]])
    began = time.monotonic()
    while client.reset(1, 0.3) is None and time.monotonic() - began < 40:
        client.send(frame(8, 0, 1, struct.pack(">I", 1)))
    expect(client.reset(1, 0.1) is not None, "a stalled stream is kept for ever")
    client.close()


def many_at_once_leave_the_node_serving(place):
    """Connections that ask for much and take nothing, and an honest client beside them. Each request of theirs holds
    a connection to the origin, whose accept queue bounds how many make sense here."""
    hostile = [Raw(place.port, {4: 0}) for _ in range(20)]
    for client in hostile:
        client.send(
            b"".join(
                frame(1, 5, 2 * number + 1, client.block([*GET[:2], (":path", "/bytes?n=1000000"), GET[3]]))
                for number in range(4)
            )
        )
    honest = Polite(place.port)
    worst = 0.0
    for _ in range(20):
        began = time.monotonic()
        answer = honest.get("/echo")
        expect(answer["reset"] is None and answer["fields"][":status"] == "200", answer)
        worst = max(worst, time.monotonic() - began)
    print(f"         slowest honest answer: {worst * 1000:.0f} ms; {place.rss_bytes() / 1e6:.1f} MB")
    expect(worst < 5, f"{worst:.1f} s for an honest answer")
    honest.close()
    for client in hostile:
        client.close()


CASES = [
    rapid_reset,
    resets_that_the_client_provokes,
    endless_continuations,
    pings,
    settings,
    empty_data,
    window_updates,
    priorities,
    a_header_bomb,
    a_list_too_long_is_answered_with_431,
    requests_that_would_smuggle,
    connect_is_refused,
    broken_frames,
    http_1_where_http_2_was_agreed,
    a_preface_that_does_not_come,
    a_head_byte_by_byte,
    a_body_byte_by_byte,
    a_reader_that_never_reads,
    many_at_once_leave_the_node_serving,
]
