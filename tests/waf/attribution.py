"""Which rules belong to which request: from an engine's log between marker requests, or from its audit records.

MarkerLog reads any log that holds `[id "N"]` or `"id": N`; between two tests a request with the field X-CRS-Test is
sent, whose value rule 999999 writes to the log (setup-marker.conf). One test at a time.

Records reads a file of JSON lines, one per transaction, of requests that bear X-CRS-Test themselves; any number of
tests at a time. A record holds that field somewhere below (as an object's member, as a pair, or as an object with
`name` and `value`), or repeats it in the message of rule 999999 (setup-record.conf); its rules are objects in a list
`matches` with `id`, `msg`, `data`, or `messages` as libmodsecurity writes them.
"""

import json
import re
import time

from case import Stage
from request import build, exchange
from verdict import MARKER_RULE, Seen

FIELD = "X-CRS-Test"
RULE = re.compile(r'(?:\[id "|"(?:id|ruleId)":\s*"?)(\d+)')
# A marker that is not in the log after this is lost.
MARKER_SECONDS_MAX = 5


def tail(path, offset):
    """What a file holds from `offset` on."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        return b""


class MarkerLog:
    concurrent = False

    def __init__(self, path, place):
        self.path, self.place = path, place
        self.offset = 0
        self.mark("begin")

    def fields(self, _name):
        return ()

    def mark(self, name):
        """Sends a marker and gives what was logged before it since the last."""
        value = f"{name}-{time.monotonic_ns()}"
        fields = [("Accept", "*/*"), ("Host", "localhost"), ("User-Agent", "tests"), (FIELD, value)]
        stage = Stage("GET", "/status/200", "HTTP/1.1", fields, b"", None, True, *[None] * 9)
        answer = exchange(self.place, build(stage), MARKER_SECONDS_MAX)
        if answer.error:
            raise SystemExit(f"the marker request is not answered: {answer.error}")
        until = time.monotonic() + MARKER_SECONDS_MAX
        while time.monotonic() < until:
            data = tail(self.path, self.offset)
            at = data.find(value.encode())
            end = data.find(b"\n", at)
            if at >= 0 and end >= 0:
                self.offset += end + 1
                return data[: data.rfind(b"\n", 0, at) + 1].decode("utf-8", "replace")
            time.sleep(0.002)
        raise SystemExit(f"{self.path} does not show the marker {value}: is it the log, is the marker rule loaded?")

    def seen(self, name):
        text = self.mark(name)
        ids = {int(rule) for rule in RULE.findall(text)}
        return Seen(ids, text, bool(ids))


def named_values(value):
    """All (name, value) pairs below a JSON value."""
    if isinstance(value, dict):
        if isinstance(value.get("name"), str) and isinstance(value.get("value"), str):
            yield value["name"], value["value"]
        for name, inner in value.items():
            if isinstance(inner, str):
                yield name, inner
            elif isinstance(inner, list) and inner and all(isinstance(one, str) for one in inner):
                yield name, inner[0]
                if len(inner) == 2:
                    yield inner[0], inner[1]
            else:
                yield from named_values(inner)
    elif isinstance(value, list):
        if len(value) == 2 and all(isinstance(one, str) for one in value):
            yield value[0], value[1]
        for inner in value:
            yield from named_values(inner)


def escaped(text):
    """Control bytes as ModSecurity's logs show them, so that one match is one line."""
    return re.sub(r"[\x00-\x1f]", lambda byte: f"\\x{ord(byte[0]):02x}", text)


def matches_of(value):
    """The rules of a record: (id, message, data)."""
    if isinstance(value, dict):
        for key in ("matches", "messages"):
            for match in value.get(key) or []:
                if isinstance(match, int):
                    yield match, "", ""
                elif isinstance(match, dict):
                    details = match.get("details", match)
                    rule = details.get("id", details.get("ruleId", details.get("rule_id")))
                    message = match.get("msg", match.get("message", ""))
                    data = details.get("logdata", details.get("data", ""))
                    if rule is not None and str(rule).isdigit():
                        yield int(rule), str(message or ""), str(data or "")
        for key, inner in value.items():
            if key not in ("matches", "messages"):
                yield from matches_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from matches_of(inner)


class Records:
    concurrent = True

    def __init__(self, path, settle_seconds):
        self.path, self.settle_seconds = path, settle_seconds
        self.offset = len(tail(path, 0))
        self.found = {}
        self.broken_lines = 0

    def fields(self, name):
        return ((FIELD, name),)

    def take(self, line):
        try:
            record = json.loads(line)
        except ValueError:
            self.broken_lines += 1
            return
        matches = list(matches_of(record))
        names = {value for name, value in named_values(record) if name.lower() == FIELD.lower()}
        names |= {message.split()[-1] for rule, message, _ in matches if rule == MARKER_RULE and message.split()}
        text = "".join(
            f'[id "{rule}"] [msg "{escaped(message)}"] [data "{escaped(data)}"]\n' for rule, message, data in matches
        )
        for name in names:
            seen = self.found.setdefault(name, Seen())
            seen.recorded = True
            seen.ids |= {rule for rule, _, _ in matches}
            seen.text += text

    def collect(self, names):
        """Reads until every name has a record, or the file has not grown for a while."""
        quiet_since = time.monotonic()
        while not all(name in self.found for name in names):
            data = tail(self.path, self.offset)
            end = data.rfind(b"\n") + 1
            for line in data[:end].splitlines():
                if line.strip():
                    self.take(line.decode("utf-8", "replace"))
            self.offset += end
            if end:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > self.settle_seconds:
                return
            else:
                time.sleep(0.02)

    def seen(self, name):
        return self.found.get(name, Seen())
