#!/usr/bin/env python3
"""Sends a corpus to a node over HTTP/1.1 and reports what it refuses.

    tests/waf/measure.py HOST:PORT CORPUS... [--audit FILE] [--json] [--list]
                         [--max-false-positives PERCENT] [--min-detection PERCENT] [--skip-class CLASS]

CORPUS is a .jsonl file of tests/waf/corpus or a folder of them; requests below `ordinary` are meant to pass, all others
to be refused. Each request is sent as it stands with `X-Case: <id>` and `Content-Length`, on a connection that is kept as
long as the node keeps it. Status 403 counts as refused; other answers as passed, and 400, 404, 405, 413, 414, 415 and 5xx are
also counted by status, because a refusal by the HTTP parser is not a verdict of the rules. No answer is an error.

The audit log is JSON lines, or libmodsecurity's. A line belongs to a request whose id it carries: the response's
X-Request-Id or our X-Case, under any key. Its rules are what stands under `rule_id`, `ruleId`, `rule`, `rules`, `id` of
a rule, or in `[id "..."]`.
Exit status: 0, 1 if a limit is exceeded, 2 if nothing could be measured.
"""

import argparse
import base64
import collections
import json
import pathlib
import re
import socket
import sys
import time

TIMEOUT_S = 10
HEAD_BYTES_MAX = 64 * 1024
REFUSED = 403
RULE_KEYS = {"rule_id", "ruleId", "rule", "rules", "rule_ids", "matched", "matches"}


class Connection:
    """One kept connection; opened again when the node closes it."""

    def __init__(self, host, port):
        self.address, self.socket, self.buffer = (host, port), None, b""

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket, self.buffer = None, b""

    def send(self, data, method):
        """(status, fields) of the answer; one more try if a kept connection turns out to be closed."""
        for attempt in (1, 2):
            fresh = self.socket is None
            try:
                if fresh:
                    self.socket = socket.create_connection(self.address, TIMEOUT_S)
                    self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    self.socket.sendall(data)
                except OSError:
                    pass  # a node may answer and close before it has read everything
                return self.answer(method)
            except OSError:
                self.close()
                if fresh or attempt == 2:
                    raise
        raise OSError("no answer")

    def more(self):
        got = self.socket.recv(65536)
        if not got:
            raise ConnectionError("closed")
        self.buffer += got

    def until(self, mark):
        while mark not in self.buffer:
            if len(self.buffer) > HEAD_BYTES_MAX:
                raise ConnectionError("endless head")
            self.more()
        found, self.buffer = self.buffer.split(mark, 1)
        return found

    def take(self, count):
        while len(self.buffer) < count:
            self.more()
        self.buffer = self.buffer[count:]

    def answer(self, method):
        status = 100
        while status < 200:
            lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ")[1])
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        try:
            self.skip_body(method, status, fields)
        except OSError:
            self.close()
        if self.socket and fields.get("connection", "").lower() == "close":
            self.close()
        return status, fields

    def skip_body(self, method, status, fields):
        if method == "HEAD" or status in (204, 304):
            return
        if "chunked" in fields.get("transfer-encoding", ""):
            while size := int(self.until(b"\r\n").split(b";")[0], 16):
                self.take(size + 2)
            self.until(b"\r\n")
        elif "content-length" in fields:
            self.take(int(fields["content-length"]))
        else:
            self.close()


def encode(request):
    body = base64.b64decode(request["body_base64"]) if "body_base64" in request else request.get("body", "").encode()
    lines = [f"{request['method']} {request['uri']} HTTP/1.1"] + [f"{name}: {value}" for name, value in request["headers"]]
    lines.append(f"X-Case: {request['id']}")
    if body or request["method"] in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def load(paths):
    for path in map(pathlib.Path, paths):
        for file in sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]:
            ordinary = "ordinary" in file.parts
            for line in file.read_text(encoding="utf-8").splitlines():
                yield {**json.loads(line), "ordinary": ordinary}


def strings(value):
    """All strings of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def rules_of(value, is_rule=False):
    """Rule ids anywhere in a line of an audit log."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in RULE_KEYS or (is_rule and key == "id"):
                yield from rules_of(item, True)
            elif isinstance(item, (dict, list)):
                yield from rules_of(item, is_rule)
    elif isinstance(value, list):
        for item in value:
            yield from rules_of(item, is_rule)
    elif is_rule and value not in (None, ""):
        yield str(value)


def read_audit(path, cases):
    """Rule ids by case. `cases` maps each id that a line may carry to its case."""
    found = collections.defaultdict(set)
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                entry = {"text": line}
            case = next((cases[text] for text in strings(entry) if text in cases), None)
            if case is None:
                case = next((cases[word] for word in re.findall(r"[\w.-]{6,}", line) if word in cases), None)
            if case:
                found[case].update(rules_of(entry), re.findall(r'\[id \\?"(\d+)\\?"\]', line))
    return found


def run(target, requests):
    host, _, port = target.rpartition(":")
    connection, results, cases = Connection(host.strip("[]"), int(port)), {}, {}
    for request in requests:
        case = request["id"]
        try:
            status, fields = connection.send(encode(request), request["method"])
        except (OSError, ValueError, IndexError):
            connection.close()
            status, fields = 0, {}
        results[case] = status
        cases[case] = case
        if "x-request-id" in fields:
            cases[fields["x-request-id"]] = case
    connection.close()
    return results, cases


def percent(part, whole):
    return round(100.0 * part / whole, 3) if whole else 0.0


def rate(requests, results, skip):
    counted = [r for r in requests if r["class"] not in skip and results[r["id"]] != 0]
    return percent(sum(results[r["id"]] == REFUSED for r in counted), len(counted)), len(counted)


def report(requests, results, rules, skip):
    classes = {}
    for request in requests:
        side = "ordinary" if request["ordinary"] else "attacks"
        entry = classes.setdefault(f"{side}/{request['class']}", {"requests": 0, "refused": 0, "errors": 0, "status": collections.Counter()})
        status = results[request["id"]]
        entry["requests"] += 1
        entry["refused"] += status == REFUSED
        entry["errors"] += status == 0
        entry["status"][status] += 1
    for entry in classes.values():
        entry["percent"] = percent(entry["refused"], entry["requests"] - entry["errors"])
    ordinary = [r for r in requests if r["ordinary"]]
    attacks = [r for r in requests if not r["ordinary"]]
    wrong = [r["id"] for r in ordinary if results[r["id"]] == REFUSED]
    missed = [r["id"] for r in attacks if results[r["id"]] not in (REFUSED, 0)]
    blame = collections.Counter(rule for case in wrong for rule in rules.get(case, ()))
    false_positives, ordinary_count = rate(ordinary, results, skip)
    detection, attack_count = rate(attacks, results, skip)
    return {"classes": classes, "false_positives_percent": false_positives, "ordinary": ordinary_count,
            "detection_percent": detection, "attacks": attack_count, "skipped_classes": sorted(skip),
            "errors": sum(status == 0 for status in results.values()),
            "rules_of_false_positives": dict(blame.most_common()),
            "false_positives": {case: sorted(rules.get(case, ())) for case in wrong}, "missed": missed}


def show(found, everything):
    print(f"{'class':28} {'requests':>8} {'refused':>8} {'percent':>8}  other answers")
    for name, entry in sorted(found["classes"].items()):
        other = " ".join(f"{status}:{count}" for status, count in sorted(entry["status"].items()) if status not in (200, REFUSED))
        print(f"{name:28} {entry['requests']:8} {entry['refused']:8} {entry['percent']:8.2f}  {other}")
    without = f" without {', '.join(found['skipped_classes'])}" if found["skipped_classes"] else ""
    print(f"false positives {found['false_positives_percent']:.3f} % of {found['ordinary']} ordinary requests{without}")
    print(f"detection       {found['detection_percent']:.3f} % of {found['attacks']} attacks; {found['errors']} without an answer")
    for rule, count in list(found["rules_of_false_positives"].items())[:30]:
        cases = [case for case, rules in found["false_positives"].items() if rule in rules]
        print(f"  rule {rule}: {count} false positives, e.g. {' '.join(cases[:4])}")
    if everything:
        for case, rules in found["false_positives"].items():
            print(f"false positive {case}: {' '.join(rules) or 'rule unknown'}")
        for case in found["missed"]:
            print(f"missed {case}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target")
    parser.add_argument("corpus", nargs="+")
    parser.add_argument("--audit", help="audit log, JSON lines")
    parser.add_argument("--audit-wait", type=float, default=0.5, help="seconds that the log may need (0.5)")
    parser.add_argument("--json", action="store_true", help="the whole report as JSON")
    parser.add_argument("--list", action="store_true", help="name each false positive and each missed attack")
    parser.add_argument("--max-false-positives", type=float, metavar="PERCENT")
    parser.add_argument("--min-detection", type=float, metavar="PERCENT")
    parser.add_argument("--skip-class", action="append", default=[], metavar="CLASS", help="leave out of the two rates")
    options = parser.parse_args()

    requests = list(load(options.corpus))
    if len({request["id"] for request in requests}) != len(requests):
        print("two requests have the same id: one would hide the other", file=sys.stderr)
        return 2
    results, cases = run(options.target, requests)
    if not requests or all(status == 0 for status in results.values()):
        print("nothing was measured: no request or no answer", file=sys.stderr)
        return 2
    rules = {}
    if options.audit:
        time.sleep(options.audit_wait)
        rules = read_audit(options.audit, cases)
    found = report(requests, results, rules, set(options.skip_class))
    print(json.dumps(found, indent=1, ensure_ascii=False)) if options.json else show(found, options.list)
    too_many = options.max_false_positives is not None and found["false_positives_percent"] > options.max_false_positives
    too_few = options.min_detection is not None and found["attacks"] and found["detection_percent"] < options.min_detection
    return 1 if too_many or too_few else 0


if __name__ == "__main__":
    sys.exit(main())
