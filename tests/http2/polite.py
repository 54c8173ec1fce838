"""What clients that keep the rules get."""

import hashlib
import json
import signal
import subprocess
import threading
import time

from peer import GET, POST, Polite, Raw, frame


def expect(is_good, what):
    if not is_good:
        raise AssertionError(what)


def echo(answer):
    expect(answer["fields"][":status"] == "200", answer["fields"])
    return json.loads(answer["body"])


def names_and_values(seen):
    return {name.lower(): value for name, value in seen["fields"]}


def a_request_reaches_the_origin_as_http_1_1(place):
    client = Polite(place.port)
    seen = echo(client.get("/echo?a=b", ("x-test", "yes"), ("cookie", "a=1"), ("cookie", "b=2")))
    fields = names_and_values(seen)
    expect((seen["method"], seen["target"]) == ("GET", "/echo?a=b"), seen)
    expect(fields["host"] == "site.test" and fields["x-test"] == "yes", seen)
    expect(fields["cookie"] == "a=1; b=2", seen)
    expect(not any(name.startswith(":") for name in fields), seen)
    client.close()


def a_body_goes_up_and_another_comes_down_unchanged(place):
    client = Polite(place.port)
    body = bytes(range(256)) * 8000
    stream = client.begin([*POST, ("content-length", str(len(body)))], end=False)
    client.send(stream, body)
    seen = echo(client.wait(stream)[0])
    expect(seen["length"] == len(body), seen["length"])
    expect(seen["sha256"] == hashlib.sha256(body).hexdigest(), "the body was changed")
    # Without a length it is chunked to the origin.
    stream = client.begin(POST, end=False)
    client.send(stream, body[:100_000])
    expect(echo(client.wait(stream)[0])["length"] == 100_000, "length")
    for more in ("", "&chunked"):
        answer = client.get(f"/bytes?n=3000000{more}")
        expect(len(answer["body"]) == 3_000_000, len(answer["body"]))
        expect(answer["body"][8:16] == (1).to_bytes(8, "little"), "the pattern is another")
    client.close()


def a_hundred_streams_at_once_are_answered(place):
    client = Polite(place.port)
    client.get("/echo")
    streams = [client.begin([*GET[:2], (":path", f"/bytes?n={20_000 + number}"), GET[3]]) for number in range(100)]
    for number, answer in enumerate(client.wait(*streams)):
        expect(answer["reset"] is None and len(answer["body"]) == 20_000 + number, (number, len(answer["body"])))
    client.close()


def a_slow_stream_does_not_hold_up_a_fast_one(place):
    client = Polite(place.port)
    slow = client.begin([*GET[:2], (":path", "/wait?ms=1500"), GET[3]])
    begin = time.monotonic()
    client.get("/echo")
    expect(time.monotonic() - begin < 1, "it waited")
    expect(client.wait(slow)[0]["fields"][":status"] == "200", "the slow one")
    client.close()


def head_has_a_length_and_no_body(place):
    client = Polite(place.port)
    fields = [(":method", "HEAD"), *GET[1:2], (":path", "/bytes?n=5000"), GET[3]]
    answer = client.wait(client.begin(fields))[0]
    expect(answer["fields"]["content-length"] == "5000" and answer["body"] == b"", answer)
    client.close()


def a_cancelled_download_leaves_the_connection_usable(place):
    client = Polite(place.port)
    stream = client.begin([*GET[:2], (":path", "/bytes?n=50000000"), GET[3]])
    while len(client.answers[stream]["body"]) < 100_000:
        client.turn()
    client.h2.reset_stream(stream, error_code=8)
    client.flush()
    expect(echo(client.get("/echo"))["method"] == "GET", "the next request")
    client.close()


def an_origin_that_breaks_off_resets_only_its_stream(place):
    client = Polite(place.port)
    broken = client.begin([*GET[:2], (":path", "/cut"), GET[3]])
    answer = client.wait(broken)[0]
    expect(answer["reset"] is not None and not answer["end"], answer)
    expect(echo(client.get("/echo"))["method"] == "GET", "the next request")
    client.close()


def expect_continue_is_answered(place):
    client = Raw(place.port)
    client.headers(1, [*POST, ("expect", "100-continue"), ("content-length", "5")], end=False)
    head = client.until(lambda each: each[0] == 1)
    expect(head is not None, "no answer to the expectation")
    expect(dict(client.decoder.decode(head[3]))[":status"] == "100", head)
    client.frames.clear()
    client.send(frame(0, 1, 1, b"hello"))
    expect(client.status(1) == 200, "no answer")
    client.close()


def tool(*command, timeout=60):
    done = subprocess.run(command, capture_output=True, timeout=timeout, check=False)
    expect(done.returncode == 0, f"{command[0]}: {done.returncode} {done.stderr.decode()[-500:]}")
    return done.stdout


def curl_downloads_and_uploads(place):
    options = ["curl", "-skS", "--http2", "--max-time", "40"]
    body = tool(*options, place.url("/bytes?n=20000000"))
    expect(len(body) == 20_000_000, len(body))
    upload = b"secbeat " * 1_000_000
    done = subprocess.run([*options, "-T", "-", place.url("/echo")], input=upload, capture_output=True, check=True)
    expect(json.loads(done.stdout)["sha256"] == hashlib.sha256(upload).hexdigest(), "the upload was changed")
    version = tool(*options, "-o", "/dev/null", "-w", "%{http_version} %{http_code}", place.url("/echo"))
    expect(version == b"2 200", version)
    head = tool(*options, "-I", place.url("/bytes?n=77"))
    expect(b"content-length: 77" in head.lower(), head)


def nghttp_fetches_with_priorities_and_padding(place):
    urls = [place.url(f"/bytes?n={size}") for size in (10, 100_000, 1_000_000)]
    tool("nghttp", "-n", "-b", "20", "-p", "200", *urls)
    tool("nghttp", "-n", "--no-dep", "-w", "20", "-W", "20", *urls)


def h2load_gets_every_answer(place):
    said = tool(
        "h2load", "-n", "3000", "-c", "10", "-m", "20", "-t", "1", place.url("/bytes?n=1000"), timeout=120
    ).decode()
    expect("3000 succeeded, 0 failed, 0 errored, 0 timeout" in said, said[-800:])
    print("         " + next(line for line in said.splitlines() if line.startswith("finished")))


def idle_connections_cost_less_than_forty_kilobytes(place, count=1000):
    def open_one():
        client = Polite(place.port)
        client.get("/bytes?n=1000", ("user-agent", "an idle client"), ("x-one", "1"))
        return client

    held = [open_one() for _ in range(100)]
    before = place.rss_bytes()
    held += [open_one() for _ in range(count)]
    each = (place.rss_bytes() - before) / count
    print(f"         {each / 1024:.1f} KiB each, kernel buffers apart; {place.rss_bytes() / 1e6:.1f} MB in all")
    for client in held:
        client.close()
    expect(each < 40_000, f"{each:.0f} bytes each")


def a_drain_finishes_what_runs_and_says_goodbye(place):
    """By hand: python's h2 takes a first GOAWAY for the end."""
    client = Raw(place.port)
    client.headers(1, [*GET[:2], (":path", "/wait?ms=1500"), GET[3]])
    threading.Timer(0.5, lambda: place.node.send_signal(signal.SIGTERM)).start()
    first = client.until(lambda each: each[0] == 7)
    expect(first is not None and first[3] == b"\x7f\xff\xff\xff" + bytes(4), first)
    # On its way before the client read that: still served.
    client.headers(3, GET)
    ping = client.until(lambda each: each[0] == 6)
    client.send(frame(6, 1, 0, ping[3]))
    last = client.until(lambda each: each[0] == 7 and each[3] != first[3])
    expect(last is not None and last[3] == b"\0\0\0\x03" + bytes(4), last)
    expect(client.status(3) == 200 and client.status(1) == 200, "what ran was not finished")
    while client.read():
        pass
    expect(client.is_closed, "the connection stays open")
    expect(place.node.wait(15) == 0, "the node did not end well")


CASES = [
    a_request_reaches_the_origin_as_http_1_1,
    a_body_goes_up_and_another_comes_down_unchanged,
    a_hundred_streams_at_once_are_answered,
    a_slow_stream_does_not_hold_up_a_fast_one,
    head_has_a_length_and_no_body,
    a_cancelled_download_leaves_the_connection_usable,
    an_origin_that_breaks_off_resets_only_its_stream,
    expect_continue_is_answered,
    curl_downloads_and_uploads,
    nghttp_fetches_with_priorities_and_padding,
    h2load_gets_every_answer,
    idle_connections_cost_less_than_forty_kilobytes,
]
LAST = a_drain_finishes_what_runs_and_says_goodbye
