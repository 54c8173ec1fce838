#!/usr/bin/env python3
"""The regression tests of the OWASP Core Rule Set against a server that runs it: real requests, rule ids compared.

    tests/waf/runner.py --tests DIR --server HOST:PORT (--records FILE | --log FILE) [--include RE] [--json FILE]
                        [--min-percent N]

`--records`: the engine's audit records, JSON lines (SecBeat, libmodsecurity). `--log`: any engine's log, with marker
requests between the tests. See attribution.py. There is no list of exceptions: what fails is reported as failed.
Ends with 1 when fewer than `--min-percent` of the tests pass.
"""

import argparse
import collections
import concurrent.futures
import json
import sys
import time

# No compiled files beside the sources.
sys.dont_write_bytecode = True

from attribution import MarkerLog, Records  # noqa: E402
from case import read_folder  # noqa: E402
from request import build, exchange  # noqa: E402
from verdict import reasons  # noqa: E402


class Result:
    def __init__(self, case):
        self.case = case
        self.reasons = []
        self.unrecorded = False

    @property
    def passed(self):
        return not self.reasons


class Run:
    def __init__(self, place, source, options):
        self.place, self.source, self.options = place, source, options

    def send(self, stage, name):
        return exchange(self.place, build(stage, self.source.fields(name)), self.options.timeout)

    def one_by_one(self, cases):
        """Each stage is judged before the next is sent."""
        results = []
        for case in cases:
            result = Result(case)
            for stage in case.stages:
                for attempt in range(2):
                    answer = self.send(stage, case.name)
                    seen = self.source.seen(case.name)
                    found = reasons(stage, answer, seen)
                    if not found or not stage.retry_once:
                        break
                result.reasons += found
                result.unrecorded |= not seen.recorded
            results.append(result)
        return results

    def exchange_all(self, case, attempt):
        """The stages of a case, in order: (stage, name, answer)."""
        done = []
        for number, stage in enumerate(case.stages):
            name = f"{case.name}.{number}.{attempt}"
            done.append((stage, name, self.send(stage, name)))
        return done

    def together(self, cases, attempt=0):
        """All are sent, then the records are read; what may be tried again is, once."""
        with concurrent.futures.ThreadPoolExecutor(self.options.connections) as pool:
            exchanges = list(pool.map(lambda case: self.exchange_all(case, attempt), cases))
        self.source.collect([name for done in exchanges for _, name, _ in done])
        results, again = [], []
        for case, done in zip(cases, exchanges):
            result = Result(case)
            for stage, name, answer in done:
                seen = self.source.seen(name)
                result.reasons += reasons(stage, answer, seen)
                result.unrecorded |= not seen.recorded
            if result.reasons and attempt == 0 and any(stage.retry_once for stage in case.stages):
                again.append(case)
            else:
                results.append(result)
        return results + (self.together(again, 1) if again else [])

    def all(self, cases):
        if self.source.concurrent:
            return self.together(cases)
        return self.one_by_one(cases)


def percent(part, whole):
    return 100 * part / whole if whole else 0.0


def ratio(results):
    passed = sum(result.passed for result in results)
    return f"{passed:,} / {len(results):,} = {percent(passed, len(results)):.2f} %"


def print_table(results):
    files = collections.defaultdict(list)
    for result in results:
        files[result.case.file].append(result)
    width = max(len(file) for file in files)
    for file, group in sorted(files.items()):
        passed = sum(result.passed for result in group)
        print(f"  {file:<{width}}  {passed:>4} / {len(group):<4}{'' if passed == len(group) else '  FAILED'}")


def print_summary(results, seconds):
    kinds = {kind: [one for one in results if one.case.kind == kind] for kind in ("positive", "negative", "other")}
    for result in results:
        if not result.passed:
            print(f"  FAILED  {result.case.name}: {'; '.join(result.reasons)}")
    print(f"something must be found   {ratio(kinds['positive'])}")
    print(f"nothing must be found     {ratio(kinds['negative'])}")
    if kinds["other"]:
        print(f"only the answer counts    {ratio(kinds['other'])}")
    silent = sum(result.passed and result.unrecorded for result in results)
    print(f"passed without any record {silent:,}")
    print(f"regression tests passed   {ratio(results)} ({seconds:.1f} s)")


def write_json(path, results, files, seconds):
    passed = sum(result.passed for result in results)
    content = {
        "tests": len(results),
        "files": files,
        "passed": passed,
        "percent": round(percent(passed, len(results)), 2),
        "seconds": round(seconds, 1),
        "failed": [
            {"name": one.case.name, "file": one.case.file, "text": one.case.text, "reasons": one.reasons}
            for one in results
            if not one.passed
        ],
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.write("\n")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tests", required=True, help="folder of the rule set's tests")
    parser.add_argument("--server", required=True, help="HOST:PORT")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--records", help="audit records, JSON lines")
    source.add_argument("--log", help="a log, read between marker requests")
    parser.add_argument("--include", help="tests whose name (942100-7) matches this")
    parser.add_argument("--connections", type=int, default=8, help="at a time, with --records")
    parser.add_argument("--timeout", type=float, default=3.0, help="seconds for one answer")
    parser.add_argument("--settle", type=float, default=2.0, help="seconds without a new record that end the reading")
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--table", action="store_true", help="one line per file")
    parser.add_argument("--min-percent", type=float, default=100.0)
    return parser.parse_args()


def main():
    options = arguments()
    host, _, port = options.server.rpartition(":")
    place = (host.strip("[]"), int(port))
    cases, files = read_folder(options.tests, options.include)
    if not cases:
        raise SystemExit(f"no test in {options.tests}")
    source = Records(options.records, options.settle) if options.records else MarkerLog(options.log, place)
    began = time.monotonic()
    results = Run(place, source, options).all(cases)
    seconds = time.monotonic() - began
    results.sort(key=lambda result: (result.case.file, result.case.name))
    print(f"{len(results):,} tests of {files} files")
    if options.table:
        print_table(results)
    print_summary(results, seconds)
    if getattr(source, "broken_lines", 0):
        print(f"{source.broken_lines} lines of {options.records} are not JSON")
    if options.json:
        write_json(options.json, results, files, seconds)
    passed = sum(result.passed for result in results)
    return 0 if percent(passed, len(results)) >= options.min_percent else 1


if __name__ == "__main__":
    sys.exit(main())
