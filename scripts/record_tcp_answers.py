#!/usr/bin/env python3
"""Plays probes against this machine's kernel and records what it answers: dataplane/net/tests/data/linux_tcp_answers.txt.

    scripts/record_tcp_answers.py <probes file in> <answers file out>        (needs root; makes a network namespace pair)

`cargo test -p secbeat-net linux` plays the recorded file against our own stack and compares, answer by answer. A file is
its own input: the lines of answers are replaced. Format, numbers relative to the first byte of either side:

    probe <name>
    > <flags> <seq> <ack> <len> [ts=<offset to the clock> | nots] [sum=bad]    the client sends; flags of S F R P U, `.` = ACK
    ! send <bytes> | shutdown | close                                          what the server's program does
    < <flags> <seq> <ack> <len> [ts] [sack=<left>-<right>,...]                 what arrives within 300 ms; PSH is left out
    # reason why ours differs, then lines with `ours<` in place of `<`

The client's clock (TSval) starts at 1000 and goes on by 10 with each segment; `ts=` is added to it.
"""
import os
import select
import socket
import struct
import subprocess
import sys
import time

CLIENT, SERVER, PORT = "10.77.0.9", "10.77.0.2", 7777
ISN = 5000
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, ".": 16, "U": 32}
SERVER_PROGRAM = r"""
import socket, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("0.0.0.0", 7777))
listener.listen(64)
print("ready", flush=True)
held = None
kept = []
import select
while True:
    ready, _, _ = select.select([sys.stdin, listener] + ([held] if held else []), [], [])
    if listener in ready:
        if held: kept.append(held)
        held, _ = listener.accept()
    if held in ready:
        try:
            if not held.recv(65536):
                kept.append(held); last, held = held, None
        except OSError:
            held = None
    if sys.stdin in ready:
        words = sys.stdin.readline().split()
        if not words: break
        target = held or (kept[-1] if kept else None)
        if words[0] == "forget": kept, held = [], None
        elif words[0] == "send": target.sendall(b"x" * int(words[1]))
        elif words[0] == "shutdown": target.shutdown(socket.SHUT_WR)
        elif words[0] == "close":
            target.close(); held = None
            if target in kept: kept.remove(target)
        print("done", flush=True)
"""


def sh(command):
    subprocess.run(command, shell=True, check=True)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Client:
    def __init__(self, interface, mac, peer_mac):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        self.socket.bind((interface, 0))
        self.header = peer_mac + mac + b"\x08\x00"
        self.port, self.iss, self.clock, self.echo = 61000, 0, 1000, 0

    def send(self, flags, seq, ack, length, options=b"", bad_sum=False):
        bits = sum(FLAGS[letter] for letter in flags if letter in FLAGS)
        tcp_len = 20 + len(options)
        acknowledged = (self.iss + ack) & 0xFFFFFFFF if bits & 16 else 0
        tcp = struct.pack(">HHIIBBHHH", self.port, PORT, (ISN + seq) & 0xFFFFFFFF, acknowledged, tcp_len << 2, bits, 500, 0, 0)
        tcp += options + b"d" * length
        pseudo = socket.inet_aton(CLIENT) + socket.inet_aton(SERVER) + struct.pack(">BBH", 0, 6, len(tcp))
        total = checksum(pseudo + tcp) ^ (0x1234 if bad_sum else 0)
        tcp = tcp[:16] + struct.pack(">H", total) + tcp[18:]
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0x4000, 64, 6, 0)
        ip += socket.inet_aton(CLIENT) + socket.inet_aton(SERVER)
        ip = ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:]
        self.socket.send(self.header + ip + tcp)

    def receive(self, seconds):
        """Segments to our port within this time, as (bits, seq, ack, length, options)."""
        found, end = [], time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], left)[0]:
                break
            frame = self.socket.recv(70000)
            if frame[12:14] != b"\x08\x00" or frame[23] != 6 or frame[30:34] != socket.inet_aton(CLIENT):
                continue
            tcp = frame[34 : 14 + struct.unpack(">H", frame[16:18])[0]]
            source, port, seq, ack, offset, bits = struct.unpack(">HHIIBB", tcp[:14])
            if source == PORT and port == self.port:
                head = (offset >> 4) * 4
                found.append((bits, seq, ack, len(tcp) - head, tcp[20:head]))
        return found

    def open(self, port):
        self.port, self.clock, self.iss = port, 1000, 0
        syn = bytes([2, 4, 5, 0xB4, 4, 2, 8, 10]) + struct.pack(">II", self.clock, 0) + bytes([1, 3, 3, 7])
        self.send("S", 0, 0, 0, syn)
        answers = []
        for _ in range(20):
            answers = [a for a in self.receive(0.05) if a[0] & 0x12 == 0x12]
            if answers:
                break
        _, self.iss, _, _, options = answers[0]
        self.echo = self.timestamps(options)[0]
        self.clock += 10
        self.send(".", 1, 1, 0, self.stamp(0))

    def stamp(self, offset):
        return bytes([1, 1, 8, 10]) + struct.pack(">II", (self.clock + offset) & 0xFFFFFFFF, self.echo)

    def timestamps(self, options):
        at = 0
        while at < len(options):
            kind = options[at]
            if kind == 0:
                return None
            if kind == 1:
                at += 1
                continue
            if kind == 8:
                return struct.unpack(">II", options[at + 2 : at + 10])
            at += options[at + 1]
        return None

    def describe(self, answer):
        bits, seq, ack, length, options = answer
        flags = "".join(letter for letter, bit in FLAGS.items() if bits & bit and letter != "P")
        line = f"< {flags} {(seq - self.iss) & 0xFFFFFFFF} {(ack - ISN) & 0xFFFFFFFF if bits & 16 else 0} {length}"
        if self.timestamps(options):
            line += " ts"
        at = 0
        while at < len(options) and options[at]:
            if options[at] == 1:
                at += 1
                continue
            if options[at] == 5:
                edges = struct.unpack(f">{(options[at + 1] - 2) // 4}I", options[at + 2 : at + options[at + 1]])
                edges = [(edge - ISN) & 0xFFFFFFFF for edge in edges]
                line += " sack=" + ",".join(f"{a}-{b}" for a, b in zip(edges[::2], edges[1::2]))
            at += options[at + 1]
        return line


def play(client, server, lines, out):
    port = 61000 + os.getpid() % 1000
    fresh = False
    for line in lines:
        words = line.split()
        if not words or words[0] in ("#", "ours<") or words[0].startswith("#"):
            out.append(line)
            continue
        if words[0] == "<":
            continue
        out.append(line)
        if words[0] == "probe":
            port += 1
            order(server, "forget")
            client.open(port)
            fresh = True
            time.sleep(0.05)
            client.receive(0.05)
            continue
        if words[0] == "!":
            order(server, " ".join(words[1:]))
        elif words[0] == ">":
            flags, seq, ack, length = words[1], *(int(word) for word in words[2:5])
            client.clock += 10
            options, bad = client.stamp(0), False
            for word in words[5:]:
                if word == "nots":
                    options = b""
                elif word.startswith("ts="):
                    options = client.stamp(int(word[3:]))
                elif word == "sum=bad":
                    bad = True
            client.send(flags, seq, ack, length, options, bad)
        out.extend(client.describe(answer) for answer in client.receive(0.3))
    assert fresh, "no probe"


def order(server, words):
    server.stdin.write(words + "\n")
    server.stdin.flush()
    assert server.stdout.readline().strip() == "done"


def main():
    source, target = sys.argv[1:3]
    with open(source) as file:
        lines = file.read().splitlines()
    name = f"sbrec{os.getpid()}"
    a, b = f"{name}a", f"{name}b"
    server = None
    try:
        for place in (a, b):
            sh(f"ip netns add {place}")
        sh(f"ip link add va netns {a} type veth peer name vb netns {b}")
        sh(f"ip -n {a} link set va up; ip -n {b} link set vb up; ip -n {b} addr add {SERVER}/24 dev vb")
        mac = {}
        for place, link in ((a, "va"), (b, "vb")):
            shown = subprocess.check_output(f"ip -n {place} -o link show {link}", shell=True, text=True).split()
            mac[link] = shown[shown.index("link/ether") + 1]
        sh(f"ip -n {b} neigh add {CLIENT} lladdr {mac['va']} dev vb")
        server = subprocess.Popen(
            ["ip", "netns", "exec", b, "python3", "-c", SERVER_PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert server.stdout.readline().strip() == "ready"
        with open(f"/run/netns/{a}") as place:
            os.setns(place.fileno(), 0) if hasattr(os, "setns") else setns(place.fileno())
        raw = {link: bytes.fromhex(text.replace(":", "")) for link, text in mac.items()}
        out = []
        play(Client("va", raw["va"], raw["vb"]), server, lines, out)
        with open(target, "w") as file:
            file.write("\n".join(out) + "\n")
    finally:
        if server:
            server.kill()
        for place in (a, b):
            subprocess.run(["ip", "netns", "del", place], check=False)


def setns(descriptor):
    import ctypes

    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0):
        raise OSError(ctypes.get_errno(), "setns")


if __name__ == "__main__":
    main()
