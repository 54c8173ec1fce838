#!/usr/bin/env python3
"""Two servers with the same rules that block: for which requests of the regression tests do they decide differently?

    tests/waf/verdicts.py --tests DIR --server A=HOST:PORT --server B=HOST:PORT [--include RE] [--min-percent N]

The regression tests themselves never see a block. Here only the answers count: 403 or not. Requests that one server
refuses as HTTP (400, 405, 413, 414, 431, 501, 505, or no answer) are counted apart, as its engine did not decide.
"""

import argparse
import collections
import concurrent.futures
import sys

# No compiled files beside the sources.
sys.dont_write_bytecode = True

from case import read_folder  # noqa: E402
from request import build, exchange  # noqa: E402

BLOCKED = 403
REFUSED = {None, 400, 405, 413, 414, 431, 501, 505}


def decide(place, request, timeout):
    status = exchange(place, request, timeout).status
    if status in REFUSED:
        return "refused"
    return "blocked" if status == BLOCKED else "passed"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tests", required=True)
    parser.add_argument("--server", action="append", required=True, help="NAME=HOST:PORT, twice")
    parser.add_argument("--include", help="tests whose name matches this")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--timeout", type=float, default=5.0)
    parser.add_argument("--min-percent", type=float, default=100.0, help="of what both engines decided")
    return parser.parse_args()


def main():
    options = arguments()
    names, places = [], []
    for server in options.server:
        name, _, place = server.partition("=")
        host, _, port = place.rpartition(":")
        names.append(name)
        places.append((host.strip("[]"), int(port)))
    cases, _ = read_folder(options.tests, options.include)
    requests = [(case.name, build(stage)) for case in cases for stage in case.stages]

    def ask(item):
        return item[0], [decide(place, item[1], options.timeout) for place in places]

    with concurrent.futures.ThreadPoolExecutor(options.connections) as pool:
        answers = list(pool.map(ask, requests))
    counts = collections.Counter(tuple(decisions) for _, decisions in answers)
    print(f"{len(answers):,} requests, decisions of {' and '.join(names)}:")
    for decisions, count in counts.most_common():
        print(f"  {' / '.join(decisions):<20} {count:>6,}")
    for name, decisions in answers:
        if len(set(decisions)) > 1:
            print(f"  DIFFERENT  {name}: {', '.join(f'{who} {what}' for who, what in zip(names, decisions))}")
    decided = [decisions for _, decisions in answers if "refused" not in decisions]
    same = sum(len(set(decisions)) == 1 for decisions in decided)
    percent = 100 * same / len(decided) if decided else 0.0
    print(f"same decision where both engines decided: {same:,} / {len(decided):,} = {percent:.2f} %")
    return 0 if percent >= options.min_percent else 1


if __name__ == "__main__":
    sys.exit(main())
