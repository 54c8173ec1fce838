#!/usr/bin/env python3
"""Processor time per request of servers that inspect the same requests, in turns, with wrk.

    bench/waf/measure.py --engine NAME=PORT:PID ... --input FILE ... [--rules NAME] [--json FILE]

Every server must answer every input with 200, and (unless --no-attack) an attack with 403, before anything is measured.
A figure is what a server's processes used (user and system time of /proc/PID/stat, children included) divided by the
requests that wrk saw answered; medians over the rounds, in which the servers take turns.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import urllib.error
import urllib.request

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
RAW_SCRIPT = pathlib.Path(__file__).resolve().parent / "inputs/raw.lua"
# A query that any rule set refuses at its first level.
ATTACK = "/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--%20&file=../../../../etc/passwd"


class Engine:
    def __init__(self, text):
        self.name, _, place = text.partition("=")
        port, _, pid = place.partition(":")
        self.port, self.pid = int(port), int(pid)

    def processes(self):
        """The server's process and its children."""
        found = [self.pid]
        for pid in found:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        return found

    def cpu_seconds(self):
        ticks = 0
        for pid in self.processes():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            # utime and stime are fields 14 and 15, counted from the process id.
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS_PER_SECOND

    def resident_bytes(self):
        """Proportional set size of all processes."""
        total = 0
        for pid in self.processes():
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[1]) * 1024
        return total


def microseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def load(engine, path, seconds, options):
    """One run of wrk: what it saw, and what the server used meanwhile."""
    command = ["taskset", "-c", options.load_core, "wrk", "-t1", f"-c{options.connections}", f"-d{seconds}s"]
    command += ["--timeout", "10s", "--latency", "-s", str(RAW_SCRIPT), f"http://127.0.0.1:{engine.port}", "--", path]
    before = engine.cpu_seconds()
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    used = engine.cpu_seconds() - before
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"{engine.name} does not answer {path} as it must:\n{said}")
    requests, took = re.search(r"(\d+) requests in ([\d.]+)s", said).groups()
    requests = int(requests)
    if requests == 0 or used == 0:
        raise SystemExit(f"{engine.name}, {path}: nothing to measure\n{said}")
    latency = dict(re.findall(r"^ +(50|99)% +(\S+)", said, re.MULTILINE))
    if len(latency) != 2:
        raise SystemExit(f"wrk says nothing of latency:\n{said}")
    return {
        "requests_per_second": requests / float(took),
        "requests_per_cpu_second": requests / used,
        "cpu_us_per_request": 1e6 * used / requests,
        "p50_us": microseconds(latency["50"]),
        "p99_us": microseconds(latency["99"]),
    }


def refuses_attack(engine):
    """Whether the server inspects at all."""
    request = urllib.request.Request(f"http://127.0.0.1:{engine.port}{ATTACK}", headers={"Host": "shop.example"})
    try:
        return urllib.request.urlopen(request, timeout=10).status == 403
    except urllib.error.HTTPError as error:
        return error.code == 403


def table(rows, engines):
    print(f"  {'input':<12}" + "".join(f"{name:>28}" for name in engines) + f"{'ratio':>9}")
    for label in dict.fromkeys(row["input"] for row in rows):
        cells, speeds = "", []
        for name in engines:
            row = next(row for row in rows if row["input"] == label and row["engine"] == name)
            speeds.append(row["requests_per_cpu_second"])
            cells += f"{row['requests_per_cpu_second']:>14,.0f} /s {row['cpu_us_per_request']:>8,.0f} us"
        ratio = f"{speeds[-1] / speeds[0]:>8.1f}x" if len(speeds) > 1 else ""
        print(f"  {label:<12}{cells}{ratio}")
    print("  (requests per second of processor time, processor time per request; medians; ratio: last to first)")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", action="append", required=True, type=Engine)
    parser.add_argument("--input", action="append", required=True)
    parser.add_argument("--rules", default="none", help="what the rule set is called in the results")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--load-core", default="1")
    parser.add_argument("--no-attack", action="store_true", help="servers without rules: no attack is refused")
    parser.add_argument("--json", help="add the results to this file, under the name of the rules")
    return parser.parse_args()


def main():
    options = arguments()
    for engine in options.engine:
        if refuses_attack(engine) == options.no_attack:
            raise SystemExit(f"{engine.name} {'refuses' if options.no_attack else 'does not refuse'} an attack")
    samples = {}
    for _ in range(options.rounds):
        for path in options.input:
            for engine in options.engine:
                key = (pathlib.Path(path).stem, engine.name)
                samples.setdefault(key, []).append(load(engine, path, options.seconds, options))
    rows = []
    for (label, name), runs in samples.items():
        medians = {key: round(statistics.median(run[key] for run in runs), 1) for key in runs[0]}
        rows.append({"input": label, "engine": name, **medians, "samples": runs})
    memory = {engine.name: engine.resident_bytes() for engine in options.engine}
    print(f"rules: {options.rules}")
    table(rows, [engine.name for engine in options.engine])
    print("  memory: " + ", ".join(f"{name} {size / 2**20:.1f} MiB" for name, size in memory.items()))
    if options.json:
        path = pathlib.Path(options.json)
        content = json.loads(path.read_text()) if path.exists() else {}
        content["kernel"] = os.uname().release
        content[options.rules] = {
            "rounds": options.rounds,
            "seconds": options.seconds,
            "connections": options.connections,
            "memory_bytes": memory,
            "rows": rows,
        }
        path.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
