#!/usr/bin/python3
"""The same probes to our TCP and to Linux's; every difference has a reason, or fails.

Run by tests/tcp_probes/run.sh. A probe writes a transcript (peer.py) and may measure numbers. Both must be equal for
the two servers (numbers within the tolerance that the probe names), but for what differences.py names: there our
transcript stands with its reason, and must be met as exactly.
"""
import argparse
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import closing
import handshake
import path
import receiving
import segments
import sending
from differences import DIFFERENCES
from peer import Peer
from probe import Probe
from wire import Place, PORTS, Target, Wire

# Probes under way at once, each against both servers. More would be late to see what they time.
AT_ONCE = 10


def run(wire, target, probe, port):
    peer = Peer(wire, target, port, **probe.peer)
    try:
        probe.play(peer)
    except Exception as error:
        peer.say(f"the probe failed: {error}")
        if not isinstance(error, RuntimeError):
            traceback.print_exc()
    return peer


def near(a, b, tolerance):
    factor, least = tolerance
    return abs(a - b) <= least or (min(a, b) > 0 and max(a, b) / min(a, b) <= factor)


def is_broken(line):
    """Nothing was compared: equal or not, the probe is worth nothing."""
    return line.startswith(("the probe failed", "an answer with"))


def judge(probe, ours, linux):
    """Why this probe fails, line by line; nothing when it does not. And the reason of a difference that is meant."""
    expected, reason = linux.lines, None
    if probe.name in DIFFERENCES:
        expected, reason = DIFFERENCES[probe.name]
        if expected == linux.lines:
            # Kernels differ from one another too.
            reason += "; this kernel does not differ"
    wrong = [f"{server.target.name}: {line}" for server in (ours, linux) for line in server.lines if is_broken(line)]
    if ours.lines != expected:
        wrong.append("ours:")
        wrong += [f"  {line}" for line in ours.lines]
        wrong.append("Linux:" if reason is None else "named as ours:")
        wrong += [f"  {line}" for line in expected]
    for name in sorted(set(ours.numbers) | set(linux.numbers)):
        a, b = ours.numbers.get(name), linux.numbers.get(name)
        if a is None or b is None or not near(a, b, probe.tolerance):
            wrong.append(f"{name}: {a} (ours), {b} (Linux), tolerance {probe.tolerance}")
    return wrong, reason


def mac_of(interface):
    with open(f"/sys/class/net/{interface}/address") as file:
        return file.read().strip()


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True, help="address4,address6")
    parser.add_argument("--linux", required=True)
    parser.add_argument("--interface", required=True)
    parser.add_argument("--gateway-mac", required=True)
    # A second run needs others: the first has left TIME-WAIT behind.
    parser.add_argument("--first-port", type=int, default=PORTS.start)
    parser.add_argument("--only", default="", help="probes whose name contains this")
    parser.add_argument("-v", "--verbose", action="store_true", help="transcripts of all probes")
    return parser.parse_args()


def main():
    options = arguments()
    servers = [Target("ours", *options.ours.split(",")), Target("linux", *options.linux.split(","))]
    here = Place(options.interface, mac_of(options.interface), options.gateway_mac,
                 "10.10.2.", "fd00:10:2::")  # fmt: skip
    wire = Wire(here)
    probes = [probe for module in (handshake, segments, receiving, sending, closing, path) for probe in module.PROBES]
    assert len({probe.name for probe in probes}) == len(probes), "two probes have one name"
    unknown = set(DIFFERENCES) - {probe.name for probe in probes}
    probes = [probe for probe in probes if options.only in probe.name]
    # The slow ones first: they wait, the others fill the time.
    order = sorted(range(len(probes)), key=lambda index: -probes[index].seconds)
    begun = time.monotonic()
    found = {}
    # Where times are compared, nothing else keeps the client from answering at once.
    for is_timed in (True, False):
        with ThreadPoolExecutor(2 * AT_ONCE) as pool:
            for index in order:
                if (probes[index].tolerance != Probe.tolerance) == is_timed:
                    for target in servers:
                        port = options.first_port + 7 * index
                        found[(index, target.name)] = pool.submit(run, wire, target, probes[index], port)
    failures, meant = len(unknown), 0
    for name in unknown:
        print(f"  FAILED  a difference is named for a probe that is not there: {name}")
    for index, probe in enumerate(probes):
        ours, linux = found[(index, "ours")].result(), found[(index, "linux")].result()
        wrong, reason = judge(probe, ours, linux)
        if wrong:
            # A busy machine answers late. What is really different is so again, with nothing else under way.
            print(f"  again   {probe.name}")
            with ThreadPoolExecutor(2) as pool:
                port = options.first_port + 7 * index + 3
                again = [pool.submit(run, wire, target, probe, port) for target in servers]
            ours, linux = (one.result() for one in again)
            wrong, reason = judge(probe, ours, linux)
        failures += bool(wrong)
        meant += reason is not None
        print(f"  {'FAILED' if wrong else 'ok    '}  {probe.sentence}" + (f" [differs: {reason}]" if reason else ""))
        for line in wrong:
            print(f"            {line}")
        if wrong:
            print(f"            (--only {probe.name})")
        elif options.verbose:
            for line in ours.lines + [f"{key} {a:.3f} {linux.numbers[key]:.3f}" for key, a in ours.numbers.items()]:
                print(f"            {line}")
    if not options.only:
        failures += nmap_judges(options.ours.split(",")[0])
    took = time.monotonic() - begun
    counted = f"{len(probes)} probes in {took:.0f} s, {meant} differ from Linux for a reason"
    print(f"tcp probes: {counted}, {failures} failed")
    return failures > 0


def nmap_judges(address):
    """nmap's own view of how hard our sequence numbers are to predict. Linux: "Good luck!"."""
    command = ["nmap", "-n", "-Pn", "-O", "--send-eth", "--max-os-tries", "1", "-v", "-p", "80,9999", address]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    line = next((line for line in said.splitlines() if "TCP Sequence Prediction" in line), "it said nothing of it")
    is_good = "Good luck" in line
    print(f"  {'ok    ' if is_good else 'FAILED'}  nmap finds our sequence numbers unpredictable ({line.strip()})")
    return int(not is_good)


if __name__ == "__main__":
    sys.exit(main())
