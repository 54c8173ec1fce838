"""Reads the smuggling corpus of dataplane/http/tests/smuggling; its format is in the README there."""

import pathlib

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "dataplane/http/tests/smuggling"
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\", '"': b'"'}


def unescape(text):
    out = b""
    at = 0
    while at < len(text):
        if text[at] != "\\":
            out += text[at].encode()
            at += 1
        elif text[at + 1] == "x":
            out += bytes.fromhex(text[at + 2 : at + 4])
            at += 4
        else:
            out += ESCAPES[text[at + 1]]
            at += 2
    return out


class Pass:
    """A request that reaches the origin, or an answer that reaches the client (its status is `method` then)."""

    def __init__(self, method, target, host, body):
        self.method, self.target, self.host, self.body = method, target, host, body
        self.has, self.has_not = [], []


class Case:
    def __init__(self, name):
        self.name, self.sent, self.ends, self.asked = name, b"", False, None
        self.passes, self.then = [], ""


def quoted(text):
    assert text[0] == text[-1] == '"', text
    return unescape(text[1:-1])


def read(path):
    cases = []
    for line in path.read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word == "case":
            cases.append(Case(rest))
        elif word == "line":
            cases[-1].sent += unescape(rest) + b"\r\n"
        elif word == "raw":
            cases[-1].sent += unescape(rest)
        elif word == "times":
            count, _, text = rest.partition(" ")
            cases[-1].sent += unescape(text) * int(count)
        elif word == "end":
            cases[-1].ends = True
        elif word == "asked":
            cases[-1].asked = rest.split(" ")
        elif word == "pass":
            method, target, host, body = rest.split(" ", 3)
            cases[-1].passes.append(Pass(method.encode(), target.encode(), host.encode(), quoted(body)))
        elif word == "answer":
            status, _, body = rest.partition(" ")
            cases[-1].passes.append(Pass(status.encode(), b"", b"", quoted(body)))
        elif word == "has":
            name, _, value = rest.partition(": ")
            cases[-1].passes[-1].has.append((name.lower().encode(), unescape(value)))
        elif word == "not":
            cases[-1].passes[-1].has_not.append(rest.lower().encode())
        elif word == "then":
            cases[-1].then = rest.split(" ")
        else:
            assert word in ("", "about"), f"{path}: {line}"
    return cases


def cases():
    return [case for path in sorted(FOLDER.glob("*.txt")) for case in read(path)]
