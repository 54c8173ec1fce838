#!/usr/bin/env python3
"""HTTP/2 against a running node: python's h2, curl, nghttp and h2load, and clients that misbehave on purpose.

    $(tests/http2/setup.sh) tests/http2/run.py [--node target/release/secbeat-node] [--only WORD]

Needs no privilege: one node and one origin on free ports of loopback, about a minute.
"""

import argparse
import sys
import time
import traceback

# No compiled files beside the sources.
sys.dont_write_bytecode = True

import hostile  # noqa: E402
import polite  # noqa: E402
from place import ROOT, Place  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--node", default=str(ROOT / "target/release/secbeat-node"))
    parser.add_argument("--only", default="", help="cases whose name holds this")
    options = parser.parse_args()
    place = Place(options.node)
    failed = []
    try:
        for case in [*polite.CASES, *hostile.CASES, polite.LAST]:
            if options.only not in case.__name__:
                continue
            began = time.monotonic()
            sentence = case.__name__.replace("_", " ")
            try:
                case(place)
                print(f"  ok      {sentence} ({time.monotonic() - began:.1f} s)", flush=True)
            except Exception as error:  # each case stands alone
                failed.append(sentence)
                print(f"  FAILED  {sentence}: {type(error).__name__}: {error}", flush=True)
                if not isinstance(error, AssertionError):
                    traceback.print_exc()
            if place.node.poll() is not None and case is not polite.LAST:
                print(f"the node ended:\n{place.said()}")
                return 1
        if failed:
            print(f"{len(failed)} failed\n{place.said()}")
    finally:
        place.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
