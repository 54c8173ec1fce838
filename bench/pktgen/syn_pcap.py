#!/usr/bin/env python3
"""A capture file of SYNs from random sources, for generators that replay one (Pktgen-DPDK, TRex, tcpreplay).

    bench/pktgen/syn_pcap.py --destination 192.0.2.1 --next-hop 02:00:00:00:00:01 --out syn.pcap
    bench/pktgen/syn_pcap.py --destination 2001:db8::1 --next-hop 02:00:00:00:00:01 --out syn6.pcap

Every SYN has a Linux client's options, a source of its own and right checksums, so that none is dropped for being broken.
Sources are those of `secbeat-bench flood`: 32.0.0.0/3 and 2a00::/12. The same seed makes the same file.
"""

import argparse
import ipaddress
import random
import struct

SOURCES = {4: ipaddress.ip_network("32.0.0.0/3"), 6: ipaddress.ip_network("2a00::/12")}
PACKETS_MAX = 4_000_000
SYN, TCP = 0x02, 6
MICROSECOND_PCAP, ETHERNET = 0xA1B2C3D4, 1


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def options(timestamp):
    """MSS 1460, SACK permitted, timestamps, window scale 7: as Linux sends them."""
    return struct.pack("!BBHBBBBIIBBBB", 2, 4, 1460, 4, 2, 8, 10, timestamp, 0, 1, 3, 3, 7)


def segment(source, destination, ports, sequence, timestamp):
    extra = options(timestamp)
    head = struct.pack("!HHIIBBHHH", *ports, sequence, 0, (20 + len(extra)) // 4 << 4, SYN, 64240, 0, 0)
    tcp = head + extra
    pseudo = source.packed + destination.packed + struct.pack("!IHBB", len(tcp), 0, 0, TCP)
    return tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]


def packet(source, destination, tcp, identification):
    if source.version == 6:
        head = struct.pack("!IHBB", 6 << 28, len(tcp), TCP, 64)
        return head + source.packed + destination.packed + tcp
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), identification, 0x4000, 64, TCP, 0)
    head += source.packed + destination.packed
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + tcp


def link_address(text):
    parts = bytes(int(part, 16) for part in text.split(":"))
    if len(parts) != 6:
        raise argparse.ArgumentTypeError(f"{text}: a link address is 02:00:00:00:00:01")
    return parts


def packet_count(text):
    count = int(text)
    if not 1 <= count <= PACKETS_MAX:
        raise argparse.ArgumentTypeError(f"{text}: 1 to {PACKETS_MAX}")
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--destination", required=True, type=ipaddress.ip_address)
    parser.add_argument("--next-hop", required=True, type=link_address, help="link address of the first router")
    parser.add_argument("--source-mac", default=link_address("02:5b:00:00:01:02"), type=link_address)
    parser.add_argument("--port", default=80, type=int)
    parser.add_argument("--count", default=100_000, type=packet_count)
    parser.add_argument("--seed", default=1, type=int)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    destination = arguments.destination
    sources = SOURCES[destination.version]
    dice = random.Random(arguments.seed)
    kind = 0x86DD if destination.version == 6 else 0x0800
    link = arguments.next_hop + arguments.source_mac + struct.pack("!H", kind)
    with open(arguments.out, "wb") as out:
        out.write(struct.pack("<IHHiIII", MICROSECOND_PCAP, 2, 4, 0, 0, 65535, ETHERNET))
        for number in range(arguments.count):
            source = sources[dice.randrange(sources.num_addresses)]
            ports = (dice.randrange(1024, 65536), arguments.port)
            tcp = segment(source, destination, ports, dice.getrandbits(32), dice.getrandbits(32))
            frame = link + packet(source, destination, tcp, dice.getrandbits(16))
            out.write(struct.pack("<IIII", 0, number % 1_000_000, len(frame), len(frame)))
            out.write(frame)


if __name__ == "__main__":
    main()
