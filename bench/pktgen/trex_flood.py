"""Floods as a profile of TRex (stateless): SYN, ACK, RST, UDP and fragments, IPv4 and IPv6, random sources.

In TRex's console, with this file copied beside its profiles:

    start -f trex_flood.py -m 2mpps -d 30 -p 0 -t --kind syn --destination 192.0.2.1
    start -f trex_flood.py -m 100% -d 30 -p 0 -t --kind ack --destination 2001:db8::1 --port 443

The rate is that of `-m`, the length that of `-d`: give both. Sources are those of `secbeat-bench flood`: 32.0.0.0/3 and 2a00::/12.
Checksums are made by the card where it can, else by TRex. Needs TRex 3.00 or newer.
"""

import argparse
import ipaddress

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import Ether
from trex.stl.api import (
    CTRexVmInsFixHwCs,
    STLPktBuilder,
    STLScVmRaw,
    STLStream,
    STLTXCont,
    STLVmFixChecksumHw,
    STLVmFixIpv4,
    STLVmFlowVar,
    STLVmWrFlowVar,
)

KINDS = ("syn", "ack", "rst", "udp", "fragment")
FLAGS = {"syn": "S", "ack": "A", "rst": "R", "fragment": "A"}
LINUX_OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
UDP_BYTES = 32
FRAGMENT_BYTES = 512


class Flood:
    """One stream that draws everything a forger would draw, for every packet anew."""

    def packet(self, kind, destination, port):
        is_v6 = destination.version == 6
        network = IPv6(dst=str(destination)) if is_v6 else IP(dst=str(destination), id=1)
        if kind == "udp":
            return Ether() / network / UDP(dport=port) / (b"x" * UDP_BYTES)
        options = LINUX_OPTIONS if kind == "syn" else []
        tcp = TCP(dport=port, flags=FLAGS[kind], ack=0 if kind == "syn" else 1, window=64240, options=options)
        if kind != "fragment":
            return Ether() / network / tcp
        # The first fragment of a segment whose others never come.
        if is_v6:
            return Ether() / network / IPv6ExtHdrFragment(m=1, id=1, nh=6) / tcp / (b"x" * FRAGMENT_BYTES)
        network.flags = "MF"
        return Ether() / network / tcp / (b"x" * FRAGMENT_BYTES)

    def variables(self, kind, is_v6):
        network, transport = "IPv6" if is_v6 else "IP", "UDP" if kind == "udp" else "TCP"
        program = [
            STLVmFlowVar(name="port", min_value=1024, max_value=65535, size=2, op="random"),
            STLVmWrFlowVar(fv_name="port", pkt_offset=f"{transport}.sport"),
        ]
        if is_v6:
            # 2a00::/12: the upper word keeps its first twelve bits, the lower one is free.
            program += [
                STLVmFlowVar(name="high", min_value=0x2A00_0000, max_value=0x2A0F_FFFF, size=4, op="random"),
                STLVmWrFlowVar(fv_name="high", pkt_offset="IPv6.src"),
                STLVmFlowVar(name="low", min_value=0, max_value=0xFFFF_FFFF, size=4, op="random"),
                STLVmWrFlowVar(fv_name="low", pkt_offset="IPv6.src", offset_fixup=12),
            ]
        else:
            program += [
                STLVmFlowVar(name="source", min_value="32.0.0.0", max_value="63.255.255.255", size=4, op="random"),
                STLVmWrFlowVar(fv_name="source", pkt_offset="IP.src"),
            ]
        if transport == "TCP":
            program += [
                STLVmFlowVar(name="sequence", min_value=0, max_value=0xFFFF_FFFF, size=4, op="random"),
                STLVmWrFlowVar(fv_name="sequence", pkt_offset="TCP.seq"),
            ]
        if kind == "fragment":
            # No checksum covers a fragment alone; the IPv4 header has its own.
            return program + ([] if is_v6 else [STLVmFixIpv4(offset="IP")])
        hint = CTRexVmInsFixHwCs.L4_TYPE_UDP if transport == "UDP" else CTRexVmInsFixHwCs.L4_TYPE_TCP
        return program + [STLVmFixChecksumHw(l3_offset=network, l4_offset=transport, l4_type=hint)]

    def get_streams(self, direction=0, tunables=(), **_):
        parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
        parser.add_argument("--kind", choices=KINDS, default="syn")
        parser.add_argument("--destination", type=ipaddress.ip_address, required=True)
        parser.add_argument("--port", type=int, default=80)
        arguments = parser.parse_args(list(tunables))
        is_v6 = arguments.destination.version == 6
        packet = STLPktBuilder(
            pkt=self.packet(arguments.kind, arguments.destination, arguments.port),
            vm=STLScVmRaw(self.variables(arguments.kind, is_v6)),
        )
        # A rate of one packet: the console's `-m` is what counts.
        return [STLStream(packet=packet, mode=STLTXCont(pps=1))]


def register():
    return Flood()
