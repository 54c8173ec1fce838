#!/usr/bin/env python3
"""Plays the smuggling corpus through a running node to an origin that records what it receives.

    tests/smuggling/run.py [--node target/release/secbeat-node] [--only NAME] [--pieces N] [--shards N]

The node runs in l7 mode on sockets of loopback, without privilege, with a configuration and directory of its own.
For each case: the origin must see exactly the requests of the corpus, refusals must reach the client with their status,
and bytes that belong to no whole request must never precede another client's.
"""

import argparse
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

# No compiled files beside the sources.
sys.dont_write_bytecode = True

import corpus  # noqa: E402
from origin import Origin  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
# How long nothing more may come until that counts as nothing; how long something may take.
QUIET_S, PATIENCE_S = 0.05, 3.0
# Between two pieces, so that the node reads each by itself.
PAUSE_S = 0.003
CONFIG = """
[server]
mode = "l7"
worker_threads = 1
state_dir = "{folder}/state"
[io]
driver = "socket"
[[listeners]]
name = "plain"
bind_address = "127.0.0.1:{port}"
tls = false
[[backends]]
name = "recorder"
address = "127.0.0.1:{origin}"
[health]
enable = false
passive_failures = 0
[limits]
source_rate = 0
source_connections = 0
[lists]
allow = ["127.0.0.0/8"]
auto_ban = false
[waf]
rate_limit_rps = 0
[http]
max_head_bytes = 32768
refuse_traversal = false
health_path = ""
[http.upstream]
breaker_percent = 0
retries = 0
[metrics]
enable = false
[access_log]
path = "off"
[logging]
level = "warn"
"""


class Client:
    """One connection to the node."""

    def __init__(self, port, sent, ends=False, pieces=1):
        self.stream = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received, self.is_ended = b"", False
        length = max(1, -(-len(sent) // pieces))
        try:
            for at in range(0, len(sent), length):
                self.stream.sendall(sent[at : at + length])
                time.sleep(PAUSE_S if pieces > 1 else 0)
            if ends:
                self.stream.shutdown(socket.SHUT_WR)
        except OSError:
            # Refused before all of it was sent: the answer is still there.
            pass

    def receive(self, seconds):
        """Takes what comes; False once nothing came for so long, or it ended."""
        self.stream.settimeout(seconds)
        try:
            piece = self.stream.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            piece = b""
        self.received += piece
        self.is_ended |= not piece
        return bool(piece)

    def responses(self, methods, count, ends):
        """Final responses once `count` of them are there, or the connection has ended (`ends`: wait for that too)."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            found = split(self.received, methods, self.is_ended)
            if self.is_ended or (len(found) >= count and not ends):
                break
            self.receive(0.1)
        while self.receive(QUIET_S):
            pass
        return split(self.received, methods, self.is_ended)

    def close(self):
        self.stream.close()


def split(received, methods, is_ended):
    """Final responses as (status, fields, body); a body that is cut short is None."""
    found = []
    while received:
        head, end, rest = received.partition(b"\r\n\r\n")
        if not end:
            break
        lines = head.split(b"\r\n")
        status = lines[0].split(b" ")[1]
        fields = dict((name.strip().lower(), value.strip()) for name, _, value in (l.partition(b":") for l in lines[1:]))
        if status[:1] == b"1" and status != b"101":
            received = rest
            continue
        method = methods[len(found)] if len(found) < len(methods) else b""
        if method == b"HEAD" or status in (b"101", b"204", b"304"):
            body, received = b"", rest
        elif b"transfer-encoding" in fields:
            body, received = chunks(rest)
        elif b"content-length" in fields:
            length = int(fields[b"content-length"])
            body, received = (rest[:length], rest[length:]) if len(rest) >= length else (None, b"")
        else:
            body, received = (rest if is_ended else None), b""
        if body is None and not is_ended:
            break
        found.append((status, fields, body))
    return found


def chunks(rest):
    body = b""
    while True:
        size, end, rest = rest.partition(b"\r\n")
        if not end or len(rest) < int(size, 16) + 2:
            return None, b""
        length = int(size, 16)
        if length == 0:
            return body, rest[2:]
        body, rest = body + rest[:length], rest[length + 2 :]


class Failed(Exception):
    pass


def must(condition, text):
    if not condition:
        raise Failed(text)


def play_requests(case, port, origin, pieces):
    origin.reset()
    passes = case.passes
    methods = [expected.method for expected in passes]
    is_refused, is_tunnel = case.then[0] == "refused", any((b"upgrade", b"websocket") in p.has for p in passes)
    client = Client(port, case.sent, case.ends, pieces)
    wanted = len(passes) + is_refused
    found = client.responses(methods, wanted, case.then[0] in ("refused", "closed"))
    client.close()
    seen = origin.recorded()
    must(len(seen) == len(passes), f"the origin saw {[(r.method, r.target) for r in seen]}")
    for expected, request in zip(passes, seen):
        check_request(expected, request)
    statuses = [status for status, _, _ in found]
    must(statuses[: len(passes)] == [b"200"] * len(passes), f"answers {statuses}")
    if is_refused and case.then[1:] != ["400", "truncated"]:
        # After a body was under way to the origin, the end of the connection may be all that is left to say.
        refused = statuses[len(passes) :]
        must(refused in ([case.then[1].encode()], []), f"refused with {refused}, not {case.then[1]}")
        must(refused or "\r\n\r\n".encode() in case.sent, "neither an answer nor a body that was under way")
    if case.then[0] in ("refused", "closed"):
        must(client.is_ended, "the connection is still open")
    elif not is_tunnel:
        must(case.ends or not client.is_ended, "the connection has ended")
    check_next(port, origin)


def check_request(expected, request):
    must(request.method == expected.method, f"method {request.method}")
    must(request.target == expected.target, f"target {request.target}")
    hosts = request.values(b"host")
    must(len(hosts) == 1, f"hosts {hosts}")
    must(not expected.host or hosts[0] == expected.host, f"host {hosts}")
    must(request.body == expected.body, f"body {request.body}")
    framing = request.values(b"content-length") + request.values(b"transfer-encoding")
    must(len(framing) <= 1, f"framing {framing}")
    for name, value in expected.has:
        must(value in request.values(name), f"no {name}: {value} in {request.fields}")
    for name in expected.has_not:
        # Under this name the node says who the client is; what the client says is not to be seen.
        allowed = [[], [b"127.0.0.1"]] if name == b"x-forwarded-for" else [[]]
        must(request.values(name) in allowed, f"{name} in {request.fields}")


def check_next(port, origin):
    """Another client's request arrives whole and gets its own answer, whatever the last one left behind."""
    origin.reset()
    client = Client(port, b"GET /another HTTP/1.1\r\nHost: another.example\r\n\r\n")
    found = client.responses([b"GET"], 1, False)
    client.close()
    requests = origin.recorded()
    must([r.target for r in requests] == [b"/another"], f"another client's request became {[r.target for r in requests]}")
    must([status for status, _, _ in found] == [b"200"], f"another client was answered {found}")


HANDSHAKE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def play_response(case, port, origin):
    method = case.asked[0].encode()
    extra = HANDSHAKE if len(case.asked) > 1 else b""
    origin.reset(lambda request: (case.sent, case.ends) if request.target == b"/case" else (b"", True))
    client = Client(port, method + b" /case HTTP/1.1\r\nHost: ok.example\r\n" + extra + b"\r\n")
    found = client.responses([method], 1, case.then[0] == "refused")
    client.close()
    if case.then[0] == "refused":
        whole = [(status, body) for status, _, body in found if status != b"502" and body is not None]
        must(not whole, f"answered {whole}")
    else:
        must([(s, b) for s, _, b in found] == [(case.passes[0].method, case.passes[0].body)], f"answered {found}")
        fields = found[0][1]
        for name, value in case.passes[0].has:
            must(fields.get(name) == value, f"no {name}: {value} in {fields}")
        for name in case.passes[0].has_not:
            must(name not in fields, f"{name} in {fields}")
    origin.reset()
    check_next(port, origin)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def start(node, folder, port, origin):
    path = folder / "node.toml"
    path.write_text(CONFIG.format(folder=folder, port=port, origin=origin.port))
    with open(folder / "node.log", "wb") as log:
        process = subprocess.Popen([node, "--config", str(path)], stdout=log, stderr=log, cwd=folder)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    sys.exit(f"the node did not start:\n{(folder / 'node.log').read_text()}")


class Shard(threading.Thread):
    """A node and an origin of its own, for a share of the cases: most of a case is waiting for nothing to come."""

    def __init__(self, node, folder, cases, pieces):
        super().__init__()
        self.cases, self.pieces, self.failures = cases, pieces, []
        self.origin, self.port = Origin(), free_port()
        folder.mkdir()
        self.process = start(node, folder, self.port, self.origin)

    def run(self):
        for case in self.cases:
            try:
                if case.asked:
                    play_response(case, self.port, self.origin)
                else:
                    play_requests(case, self.port, self.origin, self.pieces)
                must(self.process.poll() is None, "the node has ended")
            except (Failed, OSError) as failure:
                self.failures.append(f"{case.name}: {failure}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.failures.append("the node did not end within 10 s of SIGTERM")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node", default=str(ROOT / "target/release/secbeat-node"))
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--pieces", type=int, default=1, help="pieces that a client's bytes are sent in")
    parser.add_argument("--shards", type=int, default=4, help="nodes at once")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="secbeat-smuggling-"))
    cases = [case for case in corpus.cases() if options.only in case.name]
    node = str(pathlib.Path(options.node).resolve())
    shards = []
    try:
        for number in range(options.shards):
            share = cases[number :: options.shards]
            shards.append(Shard(node, folder / str(number), share, options.pieces))
        for shard in shards:
            shard.start()
        for shard in shards:
            shard.join()
    finally:
        for shard in shards:
            shard.stop()
    failures = [failure for shard in shards for failure in shard.failures]
    for failure in failures:
        print(f"  FAILED  {failure}")
    if failures:
        print(f"the nodes' configuration and logs: {folder}")
    else:
        shutil.rmtree(folder)
    print(f"smuggling: {len(cases)} cases, {len(failures)} failures")
    sys.exit(1 if failures or not cases else 0)


if __name__ == "__main__":
    os.umask(0o077)
    main()
