#!/usr/bin/env python3
"""Checks that a client's TCP options survive the way through a node that answers with SYN cookies.

    handshake_options.py <cases> <client.pcap> <origin.pcap> <first SNAT port> <last SNAT port> [--merge <out.pcap>]

`cases` has one line per connection, in the order they were made: family, timestamps, SACK, window scaling (0 or 1),
advertised MSS, and the client's port. Everything is read from the captures themselves: what the client's SYN offered,
what the SYN-ACK of the node agreed to, and what the node's own SYN asked of the origin. What must hold (docs/syn-cookies.md):

* the SYN-ACK offers nothing that the client did not, and always an MSS;
* a client with timestamps gets timestamps, SACK and window scaling, as far as it offered them, and the origin's SYN carries
  the same, the client's own window scale included;
* a cookie without timestamps carries the MSS alone: neither side then gets anything else;
* the origin's SYN has the largest MSS of the cookie's table that is not above the client's.
"""
import struct
import sys

TABLE = {
    4: [256, 536, 1024, 1220, 1300, 1340, 1360, 1380, 1400, 1412, 1420, 1436, 1440, 1452, 1460, 8960],
    6: [536, 1024, 1220, 1240, 1260, 1280, 1300, 1320, 1340, 1360, 1380, 1400, 1412, 1432, 1440, 8940],
}
SYN, ACK = 0x02, 0x10


def records(path):
    """Raw records of a pcap file: (header bytes, frame)."""
    with open(path, "rb") as file:
        data = file.read()
    magic = struct.unpack("<I", data[:4])[0]
    assert magic in (0xA1B2C3D4, 0xA1B23C4D), f"{path}: not a little-endian pcap"
    at = 24
    while at + 16 <= len(data):
        length = struct.unpack("<I", data[at + 8 : at + 12])[0]
        yield data[at : at + 16], data[at + 16 : at + 16 + length]
        at += 16 + length


def options_of(raw):
    """TCP options as a dictionary; the order of their kinds is kept in it."""
    found, at = {}, 0
    while at < len(raw):
        kind = raw[at]
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        value = raw[at + 2 : at + raw[at + 1]]
        if kind == 2:
            found["mss"] = struct.unpack(">H", value)[0]
        elif kind == 3:
            found["wscale"] = value[0]
        elif kind == 4:
            found["sack"] = True
        elif kind == 8:
            found["ts"] = struct.unpack(">II", value)
        at += raw[at + 1]
    return found


def segment(frame):
    """(family, source port, destination port, flags, seq, ack, options) of a TCP frame, else None."""
    kind = struct.unpack(">H", frame[12:14])[0]
    if kind == 0x0800 and frame[23] == 6:
        family, tcp = 4, 14 + (frame[14] & 15) * 4
    elif kind == 0x86DD and frame[20] == 6:
        family, tcp = 6, 54
    else:
        return None
    source, destination, seq, ack = struct.unpack(">HHII", frame[tcp : tcp + 12])
    length = (frame[tcp + 12] >> 4) * 4
    return family, source, destination, frame[tcp + 13], seq, ack, options_of(frame[tcp + 20 : tcp + length])


def first_syns(path, wanted):
    """The first SYN of each connection in order of time, retransmissions left out."""
    seen, found = set(), []
    for _, frame in records(path):
        parsed = segment(frame)
        if parsed and parsed[3] & (SYN | ACK) == SYN and wanted(parsed[1]) and parsed[:3] not in seen:
            seen.add(parsed[:3])
            found.append(parsed)
    return found


def without_values(options):
    return {name for name in options}


def check(case, client_syn, syn_ack, origin_syn):
    family, ts, sack, scaling, _mss, _port = case
    offered, agreed, asked = client_syn[6], syn_ack[6], origin_syn[6]
    expected = {"mss"} | ({"ts"} if ts else set()) | ({"sack"} if sack else set()) | ({"wscale"} if scaling else set())
    assert without_values(offered) == expected, f"the client offered {offered}, not {expected}"
    carried = expected if ts else {"mss"}
    assert without_values(agreed) == carried, f"the SYN-ACK has {agreed}, not {carried}"
    assert without_values(asked) == carried, f"the origin's SYN has {asked}, not {carried}"
    assert syn_ack[5] == (client_syn[4] + 1) % 2**32, "the SYN-ACK acknowledges another number"
    if ts:
        assert agreed["ts"][1] == offered["ts"][0], "the SYN-ACK echoes another timestamp"
    if ts and scaling:
        assert asked["wscale"] == offered["wscale"], f"window scale {asked['wscale']}, not {offered['wscale']}"
    rounded = max([size for size in TABLE[family] if size <= offered["mss"]] or TABLE[family][:1])
    assert asked["mss"] == rounded, f"MSS {asked['mss']} for {offered['mss']}, not {rounded}"
    assert agreed["mss"] == {4: 1460, 6: 1440}[family], f"the node's own MSS is {agreed['mss']}"


def merge(paths, out):
    every = sorted((record for path in paths for record in records(path)), key=lambda r: struct.unpack("<II", r[0][:8]))
    with open(paths[0], "rb") as file:
        head = file.read(24)
    with open(out, "wb") as file:
        file.write(head)
        for header, frame in every:
            file.write(header + frame)


def main():
    cases_path, client_path, origin_path, first, last = sys.argv[1:6]
    with open(cases_path) as file:
        cases = [tuple(int(word) for word in line.split()) for line in file if line.strip()]
    ports = [case[5] for case in cases]
    client = first_syns(client_path, lambda port: port in ports)
    origin = first_syns(origin_path, lambda port: int(first) <= port <= int(last))
    assert [syn[1] for syn in client] == ports, f"connections of the client: {[syn[1] for syn in client]}, not {ports}"
    assert len(origin) == len(cases), f"the origin saw {len(origin)} connections, not {len(cases)}"
    answers = {}
    for _, frame in records(client_path):
        parsed = segment(frame)
        if parsed and parsed[3] & (SYN | ACK) == SYN | ACK:
            answers.setdefault(parsed[2], parsed)
    for case, client_syn, origin_syn in zip(cases, client, origin):
        try:
            check(case, client_syn, answers[case[5]], origin_syn)
        except (AssertionError, KeyError) as problem:
            print(f"IPv{case[0]} timestamps {case[1]} sack {case[2]} scaling {case[3]} mss {case[4]}: {problem!r}")
            return 1
    print(f"{len(cases)} handshakes keep their options")
    if "--merge" in sys.argv:
        merge([client_path, origin_path], sys.argv[sys.argv.index("--merge") + 1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
