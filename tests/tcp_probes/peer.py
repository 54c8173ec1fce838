"""A client that says one segment at a time, and writes down what it is told: the transcript of a probe.

Owns: one connection's numbers, and the words for an answer. Numbers are relative, so that the transcripts of two
servers are equal when the servers do the same. Does not own: which transcript is right (compare.py).

    < SA ack=1 mss=1460,sackOK,ts=1000,nop,wscale
    < A next ack=101 ts=1020 sack=201-301
      |  |     |      |        '- edges, relative to the client's first byte
      |  |     |      '- which of the client's timestamps is echoed: they begin at 1000 and go on by 10
      |  |     '- relative to the client's ISN
      |  '- sequence number: next, next-1 (a probe), again (a retransmission), next+N, first (no connection yet)
      '- flags; PSH is left out here
"""
import random
import struct
import time

from scapy.all import ICMP, ICMPv6PacketTooBig, IP, IPv6, Raw

from wire import Answer, segment

MSS = bytes([2, 4, 5, 0xB4])
MSS6 = bytes([2, 4, 5, 0xA0])
SACK = bytes([4, 2])
SCALE = bytes([3, 3, 7])
NOP, EOL = b"\x01", b"\x00"
NAMES = {0: "eol", 1: "nop", 2: "mss", 3: "wscale", 4: "sackOK", 5: "sack", 8: "ts"}
CLOCK = 1_000
# One request whose every byte is known by its place: what is sent twice or in pieces is always consistent.
HEAD = b"GET /1k.html HTTP/1.1\r\nHost: lab.test\r\nX-Pad: "
PAD = 4_000
TEXT = HEAD + b"d" * PAD + b"\r\n\r\n"
# How long an answer may take: longer than a delayed ACK (40 ms), shorter than what comes by itself (RTO, 200 ms).
PATIENCE = 0.18


def relative(number, base):
    number = (number - base) % 2**32
    return number - 2**32 if number >= 2**31 else number


class Peer:
    def __init__(self, wire, target, port, family=4, host=2):
        place = wire.place
        self.wire, self.target, self.port, self.family = wire, target, port, family
        self.server = target.address4 if family == 4 else target.address6
        self.address = (place.network4 if family == 4 else place.network6) + str(host)
        self.inbox = wire.listen(self.server, port)
        self.lines = []
        self.numbers = {}
        self.text = TEXT
        self.reset()

    def reset(self, iss=None):
        self.iss = random.getrandbits(32) if iss is None else iss
        self.irs, self.nxt = None, None
        self.first_window = 0
        self.clock, self.echo = CLOCK, 0
        self.has_timestamps = True
        self.scale = 0
        self.acked = 0
        self.window = 500

    # What is written down.

    def say(self, line):
        self.lines.append(line)

    def measure(self, name, value):
        """A number to be compared with a tolerance (compare.py)."""
        self.numbers[name] = value

    # What is sent.

    def stamp(self, offset=0):
        return NOP + NOP + bytes([8, 10]) + struct.pack(">II", (self.clock + offset) % 2**32, self.echo)

    def raw(self, flags, seq, ack, data=b"", options=b"", window=None, **change):
        """One segment; numbers relative to the first numbers of both sides."""
        window = self.window if window is None else window
        packet = segment(
            self.address, self.server, self.port, self.target.port, flags, self.iss + seq,
            ((self.irs or 0) + ack) if "A" in flags else ack, window, options, data, change,
        )  # fmt: skip
        return self.wire.send(packet)

    def send(self, flags, seq, length=0, ack=None, ts=0, stamped=None, data=None, options=b"", **more):
        """A segment on an open connection; `seq` 1 is the first byte of the request. `ack`: offset to what is right."""
        self.clock += 10
        data = self.text[seq - 1 : seq - 1 + length] if data is None else data
        right = relative(self.nxt, self.irs)
        stamped = self.has_timestamps if stamped is None else stamped
        options = (self.stamp(ts) if stamped else b"") + options
        return self.raw(flags, seq, right + (ack or 0), data, options, **more)

    def rest(self, seq, **more):
        """What is missing of the request from `seq` on, in segments that fit."""
        at = seq
        while at <= len(self.text):
            length = min(1_400, len(self.text) + 1 - at)
            self.send("PA", at, length, **more)
            at += length
        return at

    def syn(self, options=None, flags="S", data=b"", **more):
        if options is None:
            mss = MSS if self.family == 4 else MSS6
            options = mss + SACK + bytes([8, 10]) + struct.pack(">II", self.clock, 0) + NOP + SCALE
        return self.raw(flags, 0, 0, data, options, window=more.pop("window", 64_240), **more)

    # What comes back.

    def receive(self, seconds=PATIENCE, until=None):
        """Answers that arrive in this time, in order; ends early after one that `until` says yes to."""
        found, end = [], time.time() + seconds
        while (left := end - time.time()) > 0:
            try:
                answer = self.inbox.get(timeout=left)
            except Exception:
                break
            self.note(answer)
            found.append(answer)
            if until and until(answer):
                break
        return found

    def note(self, answer):
        if not answer.is_sum_right:
            self.say("an answer with a wrong checksum")
        if answer.is_icmp or "R" in answer.flags:
            return
        if "S" in answer.flags:
            if self.irs is None:
                self.irs, self.nxt = answer.seq, answer.seq + 1
                self.first_window = answer.window
                scale = answer.option(3)
                self.scale = scale[0] if scale else 0
        stamp = answer.option(8)
        if stamp and len(stamp) == 8:
            self.echo = struct.unpack(">I", stamp[:4])[0]

    def describe(self, answer):
        if answer.is_icmp:
            return "< an ICMP error"
        words = ["<", answer.flags.replace("P", "") or "-"]
        is_syn = "S" in answer.flags
        if not is_syn:
            words.append(self.place_of(answer))
        if "A" in answer.flags:
            words.append(f"ack={relative(answer.ack, self.iss)}")
        if answer.window == 0 and "R" not in answer.flags:
            words.append("closed")
        if is_syn:
            offered = [self.option_word(kind, value, True) for kind, value in answer.options]
            words.append(",".join(offered) or "no options")
        else:
            kinds = [kind for kind, _ in answer.options]
            words += [self.option_word(kind, value) for kind, value in answer.options if kind > 1]
            if kinds not in ([], [1, 1, 8], [1, 1, 8, 1, 1, 5], [1, 1, 5]):
                words.append(f"order={kinds}")
        return " ".join(words)

    def place_of(self, answer):
        if self.nxt is None:
            return f"seq={answer.seq}" if answer.seq < 10_000 else "seq=?"
        distance = relative(answer.seq, self.nxt)
        if distance == 0:
            return "next"
        if distance < -1:
            return "again"
        return f"next{distance:+}"

    def option_word(self, kind, value, in_syn=False):
        name = NAMES.get(kind, f"kind{kind}")
        if kind == 2:
            return f"mss={int.from_bytes(value, 'big')}"
        if kind == 8:
            echo = struct.unpack(">II", value)[1]
            return f"ts={echo}"
        if kind == 5:
            edges = [relative(edge, self.iss) for edge in struct.unpack(f">{len(value) // 4}I", value)]
            return "sack=" + ",".join(f"{a}-{b}" for a, b in zip(edges[::2], edges[1::2]))
        return name

    def hear(self, seconds=PATIENCE, until=None):
        """Writes down what arrives: segments without data one by one, an answer of the application as one line."""
        self.write(self.receive(seconds, until))

    def hear_fin(self, seconds=0.6):
        """Writes down the server's FIN; how many ACKs come before it is a matter of time."""
        found = self.receive(seconds, until=lambda answer: "F" in answer.flags)
        self.write([answer for answer in found if "F" in answer.flags])

    def write(self, answers):
        if not answers:
            self.say("< nothing")
        before = None
        data = []
        for answer in answers:
            if answer.data:
                data.append(answer)
                self.take(answer)
                if "F" not in answer.flags:
                    continue
                answer = Answer(**{**vars(answer), "data": b"", "seq": (answer.seq + len(answer.data)) % 2**32})
            line = self.describe(answer)
            if "F" in answer.flags and answer.seq % 2**32 == self.nxt % 2**32:
                self.nxt += 1
            if line != before:
                self.say(line)
            before = line
        if data:
            first = data[0]
            self.say(f"< response {first.data[9:12].decode('latin-1')} ack={relative(first.ack, self.iss)}")

    def take(self, answer):
        if answer.seq % 2**32 == self.nxt % 2**32:
            self.nxt += len(answer.data)

    # Whole steps.

    def open(self, options=None, window=500, **more):
        """A handshake; nothing is written down of it."""
        self.window = window
        self.syn(options, **more)
        answers = self.receive(1.5, until=lambda answer: "S" in answer.flags)
        if not answers or self.irs is None:
            raise RuntimeError("no SYN-ACK")
        self.has_timestamps = any(answer.option(8) for answer in answers)
        self.send("A", 1)
        time.sleep(0.03)
        return answers[-1]

    def settle(self, seq=1):
        """The first bytes of the request, acknowledged: the connection is in use and its timestamps are known."""
        self.send("PA", seq, 100)
        self.receive()
        return seq + 100

    def settle_short(self):
        """A complete request without an end: only its first 20 bytes, acknowledged."""
        self.send("PA", 1, 20)
        self.receive()
        return 21

    def receive_answer(self):
        """An answer of the application with the FIN behind it; what is expected next moves behind them."""
        found = self.receive(0.6, until=lambda answer: "F" in answer.flags)
        for answer in found:
            if answer.data:
                self.take(answer)
        fins = [answer for answer in found if "F" in answer.flags]
        if not fins:
            raise RuntimeError("no FIN behind the answer")
        self.nxt = (fins[0].seq + len(fins[0].data) + 1) % 2**32

    def is_alive(self, seq):
        """Sends the rest of the request: whether it is answered. Ends the connection."""
        # A challenge ACK for a stray segment must not be taken for the answer.
        self.receive(0.01)
        self.rest(seq)
        answers = self.receive(1.0, until=lambda answer: answer.data or "R" in answer.flags)
        served = next((answer for answer in answers if answer.data), None)
        self.say(f"the connection is {'alive: ' + served.data[9:12].decode() if served else 'gone'}")
        if served:
            self.take(served)
            self.receive(0.02)
        self.end(len(self.text) + 1)

    def end(self, seq):
        if self.irs is not None:
            self.send("R", seq)

    def too_big(self, mtu, quoted_seq, length=1_400):
        """An ICMP error of a router on the way, about a segment of the server's."""
        tcp = segment(
            self.server, self.address, self.target.port, self.port, "A", self.irs + quoted_seq, self.iss, 500, b"",
            b"x" * length, {},
        )  # fmt: skip
        quoted = bytes(tcp)
        if self.family == 4:
            packet = IP(src=self.address, dst=self.server) / ICMP(type=3, code=4, nexthopmtu=mtu) / Raw(quoted[:64])
        else:
            packet = IPv6(src=self.address, dst=self.server) / ICMPv6PacketTooBig(mtu=mtu) / Raw(quoted[:1_000])
        return self.wire.send(packet)
