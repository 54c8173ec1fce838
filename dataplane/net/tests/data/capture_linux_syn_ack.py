#!/usr/bin/env python3
"""Records what Linux answers to SYNs with every combination of options.

Needs root. Makes two network namespaces joined by a veth pair, listens in one, sends hand-made SYNs from the
other, and writes one line per exchange to standard output:

    <mode> <SYN frame in hex> <SYN-ACK frame in hex>

mode is "table" (net.ipv4.tcp_syncookies = 0, options in full) or "cookie" (= 2, every SYN gets a cookie).
Usage: capture_linux_syn_ack.py > linux_syn_ack.txt
"""
import ctypes
import os
import socket
import struct
import subprocess
import sys

SERVER, CLIENT = "sb-cap-srv", "sb-cap-cli"
PORT = 8080
MAC_SERVER, MAC_CLIENT = "020000000001", "020000000002"
V4 = ("10.98.0.2", "10.98.0.1")
V6 = ("fd98::2", "fd98::1")


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def enter(namespace):
    fd = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(fd, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)


def fold(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def options(mss, scale, sack, stamp):
    out = b""
    if mss is not None:
        out += struct.pack("!BBH", 2, 4, mss)
    if stamp:
        out += (b"\x04\x02" if sack else b"\x01\x01") + struct.pack("!BBII", 8, 10, 0x11223344, 0)
    elif sack:
        out += b"\x01\x01\x04\x02"
    if scale is not None:
        out += bytes([1, 3, 3, scale])
    return out


def syn(family, port, ecn, opts):
    flags = 0x02 | (0xC0 if ecn else 0)
    seq = 0x10000000 + port
    length = 20 + len(opts)
    tcp = struct.pack("!HHIIBBHHH", port, PORT, seq, 0, (length // 4) << 4, flags, 64240, 0, 0) + opts
    if family == 4:
        source, destination = (socket.inet_aton(a) for a in V4)
        pseudo = source + destination + struct.pack("!BBH", 0, 6, length)
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, port, 0x4000, 64, 6, 0) + source + destination
        ip = ip[:10] + struct.pack("!H", fold(ip)) + ip[12:]
        kind = b"\x08\x00"
    else:
        source, destination = (socket.inet_pton(socket.AF_INET6, a) for a in V6)
        pseudo = source + destination + struct.pack("!II", length, 6)
        ip = struct.pack("!IHBB", 0x60000000, length, 6, 64) + source + destination
        kind = b"\x86\xdd"
    tcp = tcp[:16] + struct.pack("!H", fold(pseudo + tcp)) + tcp[18:]
    return bytes.fromhex(MAC_SERVER + MAC_CLIENT) + kind + ip + tcp


def answer(raw, family, port):
    while True:
        frame = raw.recv(2048)
        at = 14 + (20 if family == 4 else 40)
        kind = b"\x08\x00" if family == 4 else b"\x86\xdd"
        if frame[12:14] != kind or len(frame) < at + 20 or frame[0:6].hex() != MAC_CLIENT:
            continue
        source, destination = struct.unpack("!HH", frame[at:at + 4])
        if (source, destination) == (PORT, port) and frame[at + 13] & 0x12 == 0x12:
            return frame


def sysctl(namespace, **values):
    for name, value in values.items():
        run("ip", "netns", "exec", namespace, "sysctl", "-qw", f"net.ipv4.tcp_{name}={value}")


def setup():
    for name in (SERVER, CLIENT):
        run("ip", "netns", "add", name)
    run("ip", "-n", SERVER, "link", "add", "cap0", "type", "veth", "peer", "name", "cap1", "netns", CLIENT)
    for name, link, mac, here, there, other in (
        (SERVER, "cap0", MAC_SERVER, (V4[1], V6[1]), (V4[0], V6[0]), MAC_CLIENT),
        (CLIENT, "cap1", MAC_CLIENT, (V4[0], V6[0]), (V4[1], V6[1]), MAC_SERVER),
    ):
        colons = lambda mac: ":".join(mac[i:i + 2] for i in range(0, 12, 2))
        run("ip", "-n", name, "link", "set", link, "address", colons(mac))
        run("ip", "netns", "exec", name, "ethtool", "-K", link, "tx", "off")
        run("ip", "-n", name, "addr", "add", here[0] + "/24", "dev", link)
        run("ip", "-n", name, "addr", "add", here[1] + "/64", "dev", link, "nodad")
        run("ip", "-n", name, "link", "set", link, "up")
        for addr in there:
            run("ip", "-n", name, "neigh", "replace", addr, "lladdr", colons(other), "dev", link)
    sysctl(SERVER, timestamps=1, sack=1, window_scaling=1, ecn=2, max_syn_backlog=4096)


def main():
    setup()
    enter(SERVER)
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", PORT))
    listener.listen(4096)
    enter(CLIENT)
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    raw.bind(("cap1", 0))
    raw.settimeout(5)
    port = 20000
    for mode, cookies in (("table", 0), ("cookie", 2)):
        sysctl(SERVER, syncookies=cookies)
        for family in (4, 6):
            for mss in (None, 1300, 1460):
                for scale in (None, 0, 14):
                    for bits in range(8):
                        port += 1
                        opts = options(mss, scale, bits & 1, bits & 2)
                        sent = syn(family, port, bits & 4, opts)
                        raw.send(sent)
                        print(mode, sent.hex(), answer(raw, family, port).hex())


if __name__ == "__main__":
    try:
        main()
    finally:
        for name in (SERVER, CLIENT):
            subprocess.run(("ip", "netns", "del", name), stderr=subprocess.DEVNULL)
    sys.stdout.flush()
