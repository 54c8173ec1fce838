"""Segments on the wire: built with scapy, sent and received on a packet socket beside the kernel's own TCP.

Owns: bytes, addresses, who an arriving packet is for. Does not own: what a segment means (peer.py).
"""
import queue
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

from scapy.all import IP, TCP, Ether, IPv6, Raw, conf

conf.verb = 0
FLAGS = "FSRPAUEC"
# The kernel of the client's namespace is told (run.sh) to leave these ports alone.
PORTS = range(10_000, 30_000)
SO_TIMESTAMPNS = 35


@dataclass(frozen=True)
class Target:
    """One of the two that are compared."""

    name: str
    address4: str
    address6: str
    port: int = 80


@dataclass(frozen=True)
class Place:
    """Where the probes are sent from."""

    interface: str
    mac: str
    gateway_mac: str
    # Networks; the host number follows. 2 is the client's own; what is learned about the others (path MTU) stays with
    # the probe that uses it.
    network4: str
    network6: str


@dataclass
class Answer:
    """A segment, or an ICMP error about one, that came back."""

    at: float
    flags: str = ""
    seq: int = 0
    ack: int = 0
    window: int = 0
    urgent: int = 0
    # (kind, bytes) in order; kinds 0 and 1 have none.
    options: list = field(default_factory=list)
    data: bytes = b""
    is_icmp: bool = False
    is_sum_right: bool = True

    def option(self, kind):
        return next((value for found, value in self.options if found == kind), None)


def parse_options(raw):
    found, at = [], 0
    while at < len(raw):
        kind = raw[at]
        if kind < 2:
            found.append((kind, b""))
            at += 1
            if kind == 0:
                break
            continue
        length = raw[at + 1] if at + 1 < len(raw) else 0
        if length < 2 or at + length > len(raw):
            found.append((kind, b"broken"))
            break
        found.append((kind, raw[at + 2 : at + length]))
        at += length
    return found


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def parse(frame, at):
    """(source address, our port, Answer) of a frame, or None when it is for nobody here."""
    kind = frame[12:14]
    if kind == b"\x08\x00":
        head = (frame[14] & 15) * 4
        source, destination = frame[26:30], frame[30:34]
        protocol, start = frame[23], 14 + head
        end = 14 + struct.unpack(">H", frame[16:18])[0]
        family, quoted_at, is_error = socket.AF_INET, 20, protocol == 1 and frame[start] in (3, 11, 12)
    elif kind == b"\x86\xdd":
        source, destination = frame[22:38], frame[38:54]
        protocol, start = frame[20], 54
        end = 54 + struct.unpack(">H", frame[18:20])[0]
        family, quoted_at, is_error = socket.AF_INET6, 40, protocol == 58 and frame[start] < 128
    else:
        return None
    body = frame[start:end]
    if is_error and len(body) >= 8 + quoted_at + 4:
        quoted = body[8:]
        about = quoted[16:20] if family == socket.AF_INET else quoted[24:40]
        port = struct.unpack(">H", quoted[quoted_at : quoted_at + 2])[0]
        return socket.inet_ntop(family, about), port, Answer(at, is_icmp=True)
    is_later_part = family == socket.AF_INET and struct.unpack(">H", frame[20:22])[0] & 0x1FFF != 0
    if protocol != 6 or len(body) < 20 or is_later_part:
        return None
    port, seq, ack, offset, bits, window, _, urgent = struct.unpack(">HIIBBHHH", body[2:20])
    length = (offset >> 4) * 4
    pseudo = source + destination + struct.pack(">BBH" if family == socket.AF_INET else ">HHI", 0, 6, len(body))
    flags = "".join(letter for bit, letter in enumerate(FLAGS) if bits >> bit & 1)
    options = parse_options(body[20:length])
    # The sum of what came in fragments is not looked at: only its first part is seen here.
    is_part = family == socket.AF_INET and struct.unpack(">H", frame[20:22])[0] & 0x3FFF != 0
    is_right = is_part or checksum(pseudo + body) == 0
    answer = Answer(at, flags, seq, ack, window, urgent, options, body[length:], False, is_right)
    return socket.inet_ntop(family, source), port, answer


class Wire:
    """The packet socket, and a queue per connection."""

    def __init__(self, place):
        self.place = place
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind((place.interface, 0))
        self.queues = {}
        self.lock = threading.Lock()
        threading.Thread(target=self.receive, daemon=True).start()

    def receive(self):
        while True:
            frame, ancillary, _, address = self.socket.recvmsg(65_536, 64)
            if address[2] == socket.PACKET_OUTGOING:
                continue
            at = time.time()
            for _, kind, data in ancillary:
                if kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("qq", data[:16])
                    at = seconds + nanoseconds / 1e9
            found = parse(frame, at)
            if found:
                place = self.queues.get(found[:2])
                if place:
                    place.put(found[2])

    def listen(self, address, port):
        with self.lock:
            self.queues[(address, port)] = queue.SimpleQueue()
            return self.queues[(address, port)]

    def send(self, packet):
        """Sends an IP packet; answers when, by the clock that answers have as well."""
        ether = Ether(src=self.place.mac, dst=self.place.gateway_mac)
        frame = bytes(ether / packet)
        at = time.time()
        self.socket.send(frame)
        return at


def segment(source, destination, sport, dport, flags, seq, ack, window, options, data, change):
    """An IP packet; `change` spoils it: tcp_sum, dataofs, reserved, urgptr, ip_options."""
    ip = IPv6(src=source, dst=destination) if ":" in source else IP(src=source, dst=destination, flags="DF")
    if "ip_options" in change:
        ip.options = change["ip_options"]
    options += b"\x01" * (-len(options) % 4)
    tcp = TCP(
        sport=sport,
        dport=dport,
        flags=flags,
        seq=seq % 2**32,
        ack=ack % 2**32,
        window=window,
        urgptr=change.get("urgptr", 0),
        reserved=change.get("reserved", 0),
        dataofs=change.get("dataofs", 5 + len(options) // 4),
    )
    packet = ip / tcp / Raw(options + data) if options or data else ip / tcp
    if "tcp_sum" in change:
        right = packet.__class__(bytes(packet))[TCP].chksum
        packet[TCP].chksum = right ^ change["tcp_sum"]
    return packet
