"""An origin that records the requests it receives and answers as it is told.

It reads requests by the plainest rules there are (chunks, or a length). Bytes that make no whole request stay in front of
whatever comes next on their connection: if the node ever used one after that, the next request would be spoilt.
"""

import socket
import threading

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Request:
    def __init__(self, method, target, fields, body):
        self.method, self.target, self.fields, self.body = method, target, fields, body

    def values(self, name):
        return [value for field, value in self.fields if field == name]


class Connection:
    """What came on a connection after its last whole request."""

    def __init__(self):
        self.rest = b""


class Origin:
    """Listens on a free port of loopback."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.reset()
        threading.Thread(target=self.accept, daemon=True).start()

    def reset(self, script=None):
        """Forgets what was recorded. `script(request)` gives the answer: bytes, and whether to end afterwards."""
        with self.lock:
            self.requests, self.script = [], script

    def recorded(self):
        """Whole requests since the last reset, in order."""
        with self.lock:
            return list(self.requests)

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        connection = Connection()
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while piece := stream.recv(65536):
                connection.rest += piece
                if not self.answer(stream, connection):
                    break
        except OSError:
            pass
        stream.close()

    def answer(self, stream, connection):
        while taken := take(connection):
            with self.lock:
                self.requests.append(taken)
                script = self.script
            if not script:
                stream.sendall(ANSWER[:-2] if taken.method == b"HEAD" else ANSWER)
                continue
            answer, ends = script(taken)
            stream.sendall(answer)
            if ends:
                stream.shutdown(socket.SHUT_WR)
                return False
        return True


def take(connection):
    """The next whole request of a connection; `None` until it is there."""
    head, end, rest = connection.rest.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.split(b"\r\n")
    method, target, _ = (first.split(b" ") + [b"", b""])[:3]
    fields = []
    for line in lines:
        name, _, value = line.partition(b":")
        fields.append((name.strip().lower(), value.strip()))
    values = dict(fields)
    if b"chunked" in values.get(b"transfer-encoding", b"").lower():
        body, rest = take_chunks(rest)
    else:
        length = int(values.get(b"content-length", b"0"))
        body, rest = (rest[:length], rest[length:]) if len(rest) >= length else (None, rest)
    if body is None:
        return None
    connection.rest = rest
    return Request(method, target, fields, body)


def take_chunks(rest):
    body = b""
    while True:
        size, end, rest = rest.partition(b"\r\n")
        if not end:
            return None, rest
        size = int(size, 16)
        if size == 0:
            while True:
                line, end, rest = rest.partition(b"\r\n")
                if not end:
                    return None, rest
                if not line:
                    return body, rest
        if len(rest) < size + 2:
            return None, rest
        body, rest = body + rest[:size], rest[size + 2 :]
