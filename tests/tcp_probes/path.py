"""What is on the way: ICMP about a smaller path, IPv4 options, lost fragments of meaning."""
from peer import relative
from probe import Probe, collect
from sending import LONG, ask, distinct, flight, options

PROBES = []
probe = collect(PROBES)


def play_too_big(family, mtu, place):
    """`place`: where the quoted sequence number lies, given the first and last number in flight."""

    def play(peer):
        peer.open(options(1_460 if family == 4 else 1_440), window=2_000)
        end = ask(peer, LONG)
        found = distinct(flight(peer, 0.08))
        first, last = found[0][0], found[-1][0] + found[-1][1]
        peer.too_big(mtu, place(first, last))
        # What is sent again, or sent first after an ACK, shows what was believed.
        flight(peer, 0.08)
        peer.nxt = peer.irs + last
        peer.send("A", end)
        new = [one for one in distinct(flight(peer, 0.15)) if one[0] >= last]
        largest = max((length for _, length in new), default=0)
        peer.say(f"segments of {largest}")
        peer.end(end)

    return play


TOO_BIG = [
    ("too_big", "an ICMP error about a segment in flight makes segments smaller", 4, 1_000, lambda first, last: first),
    (
        "too_big_acked",
        "an ICMP error about what was acknowledged long ago is not believed (RFC 5927)",
        4, 1_000, lambda first, last: first - 100_000,
    ),
    (
        "too_big_unsent",
        "an ICMP error about what was never sent is not believed",
        4, 1_000, lambda first, last: last + 100_000,
    ),
    (
        "too_big_tiny",
        "an ICMP error that names a tiny packet makes segments no smaller than the least",
        4, 68, lambda first, last: first,
    ),
    (
        "too_big_larger",
        "an ICMP error that names a larger packet than was sent changes nothing",
        4, 9_000, lambda first, last: first,
    ),
    (
        "too_big_v6",
        "an ICMPv6 error about a segment in flight makes segments smaller",
        6, 1_300, lambda first, last: first,
    ),
    (
        "too_big_unsent_v6",
        "an ICMPv6 error about what was never sent is not believed",
        6, 1_300, lambda first, last: last + 100_000,
    ),
]
for host, (name, sentence, family, mtu, place) in enumerate(TOO_BIG, 70):
    PROBES.append(Probe(name, sentence, play_too_big(family, mtu, place), peer={"family": family, "host": host}))


@probe
def ip_options(peer):
    """Data in an IPv4 packet with options (no-operations, end) is taken."""
    from scapy.all import IPOption_EOL, IPOption_NOP

    peer.open()
    at = peer.settle()
    peer.send("PA", at, 100, ip_options=[IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_EOL()])
    peer.hear()
    peer.is_alive(at + 100)


@probe
def ip_options_syn(peer):
    """A SYN in an IPv4 packet with options is answered."""
    from scapy.all import IPOption_EOL, IPOption_NOP

    peer.syn(ip_options=[IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_EOL()])
    peer.hear(until=lambda answer: True)
    if peer.irs is not None:
        peer.send("A", 1)
        peer.is_alive(1)


@probe
def host_unreachable(peer):
    """An ICMP error (host unreachable) about a segment in flight ends nothing (RFC 5927 §4)."""
    peer.open()
    at = peer.settle()
    unreachable(peer, 1)
    peer.hear()
    peer.is_alive(at)


@probe
def port_unreachable(peer):
    """A hard ICMP error (port unreachable) ends no established connection (RFC 5927 §4)."""
    peer.open()
    at = peer.settle()
    unreachable(peer, 3)
    peer.hear()
    peer.is_alive(at)


def unreachable(peer, code):
    from scapy.all import ICMP, IP, Raw

    from wire import segment

    ports = peer.target.port, peer.port
    quoted = segment(peer.server, peer.address, *ports, "A", peer.nxt, peer.iss, 500, b"", b"x" * 8, {})
    peer.wire.send(IP(src=peer.address, dst=peer.server) / ICMP(type=3, code=code) / Raw(bytes(quoted)[:48]))
    assert relative(peer.nxt, peer.irs) >= 0
