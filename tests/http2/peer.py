"""Clients: `Raw` writes any frame it is told to, `Polite` is python's `h2`, which keeps every rule."""

import socket
import ssl
import struct

import h2.config
import h2.connection
import h2.events
import hpack
from hyperframe import frame as frames

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATIENCE_S = 10.0
GET = [(":method", "GET"), (":scheme", "https"), (":path", "/echo"), (":authority", "site.test")]
POST = [(":method", "POST"), (":scheme", "https"), (":path", "/echo"), (":authority", "site.test")]


def connect(port):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    stream = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = context.wrap_socket(stream)
    if stream.selected_alpn_protocol() != "h2":
        raise RuntimeError("no h2 by ALPN")
    return stream


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Raw:
    """Frames in any order; what the node sends is kept as (type, flags, stream, payload)."""

    def __init__(self, port, settings=None, preface=True):
        self.stream = connect(port)
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.received = b""
        self.frames = []
        self.is_closed = False
        if preface:
            pairs = b"".join(struct.pack(">HI", *pair) for pair in (settings or {}).items())
            # Both acknowledgements at once: the node's SETTINGS are on their way already.
            self.send(PREFACE + frame(4, 0, 0, pairs) + frame(4, 1, 0))

    def block(self, fields):
        """Literals without indexing: what hpack would not encode is encoded, too."""
        out = b""
        for name, value in fields:
            out += b"\0" + self.text(name) + self.text(value)
        return out

    @staticmethod
    def text(value):
        value = value.encode("latin-1") if isinstance(value, str) else value
        length, out = len(value), b""
        if length < 127:
            return bytes([length]) + value
        out, length = b"\x7f", length - 127
        while length >= 128:
            out, length = out + bytes([length & 127 | 128]), length >> 7
        return out + bytes([length]) + value

    def send(self, data):
        try:
            self.stream.sendall(data)
        except (ConnectionError, ssl.SSLError, TimeoutError, OSError):
            self.is_closed = True

    def headers(self, stream, fields, end=True, flags=4):
        self.send(frame(1, flags | (1 if end else 0), stream, self.block(fields)))

    def read(self, timeout=PATIENCE_S):
        """More frames; false when there are none in time or will be none any more."""
        self.stream.settimeout(timeout)
        try:
            data = self.stream.recv(65536)
        except TimeoutError:
            return False
        except (ConnectionError, ssl.SSLError, OSError):
            data = b""
        if not data:
            self.is_closed = True
            return False
        self.received += data
        while len(self.received) >= 9:
            length = int.from_bytes(self.received[:3], "big")
            if len(self.received) < 9 + length:
                break
            kind, flags, stream = struct.unpack(">BBI", self.received[3:9])
            self.frames.append((kind, flags, stream, self.received[9 : 9 + length]))
            self.received = self.received[9 + length :]
        return True

    def until(self, wanted, timeout=PATIENCE_S):
        """The first frame that fits, or None."""
        at = 0
        while True:
            while at < len(self.frames):
                if wanted(self.frames[at]):
                    return self.frames[at]
                at += 1
            if not self.read(timeout):
                return None

    def goaway(self, timeout=PATIENCE_S):
        """Code and words of the node's GOAWAY, or None."""
        found = self.until(lambda each: each[0] == 7 and each[3][4:8] != b"\0\0\0\0", timeout)
        return found and (int.from_bytes(found[3][4:8], "big"), found[3][8:].decode())

    def reset(self, stream, timeout=PATIENCE_S):
        """Code of the node's RST_STREAM, or None."""
        found = self.until(lambda each: each[0] == 3 and each[2] == stream, timeout)
        return found and int.from_bytes(found[3], "big")

    def status(self, stream, timeout=PATIENCE_S):
        """Status of an answer, or None. Heads of other streams are decoded on the way, once each."""
        while True:
            for index, (kind, flags, number, payload) in enumerate(self.frames):
                if kind == 1:
                    fields = dict(self.decoder.decode(payload))
                    self.frames[index] = (-1, flags, number, fields)
            for kind, _, number, fields in self.frames:
                if kind == -1 and number == stream:
                    return int(fields[":status"])
            if not self.read(timeout):
                return None

    def close(self):
        self.stream.close()


class Polite:
    """Requests through python's `h2`."""

    def __init__(self, port):
        self.stream = connect(port)
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.answers = {}
        self.flush()

    def flush(self):
        self.stream.sendall(self.h2.data_to_send())

    def begin(self, fields, end=True):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, fields, end_stream=end)
        self.answers[stream] = {"fields": None, "body": b"", "trailers": None, "end": False, "reset": None}
        self.flush()
        return stream

    def turn(self):
        self.stream.settimeout(PATIENCE_S)
        data = self.stream.recv(65536)
        if not data:
            raise ConnectionError("closed")
        for event in self.h2.receive_data(data):
            answer = self.answers.get(getattr(event, "stream_id", None))
            if isinstance(event, h2.events.ResponseReceived):
                answer["fields"] = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                answer["body"] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                answer["trailers"] = dict(event.headers)
            elif isinstance(event, h2.events.StreamEnded):
                answer["end"] = True
            elif isinstance(event, h2.events.StreamReset):
                answer["reset"] = event.error_code
        self.flush()

    def send(self, stream, body, end=True):
        while body:
            if self.answers[stream]["reset"] is not None:
                return
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(body))
            if room == 0:
                self.turn()
                continue
            self.h2.send_data(stream, body[:room])
            body = body[room:]
            self.flush()
        if end and self.answers[stream]["reset"] is None:
            self.h2.end_stream(stream)
            self.flush()

    def wait(self, *streams):
        while any(not self.answers[each]["end"] and self.answers[each]["reset"] is None for each in streams):
            self.turn()
        return [self.answers[each] for each in streams]

    def get(self, path, *more):
        fields = [*GET[:2], (":path", path), GET[3], *more]
        return self.wait(self.begin(fields))[0]

    def close(self):
        self.stream.close()


__all__ = ["GET", "POST", "PREFACE", "Polite", "Raw", "connect", "frame", "frames"]
