"""Regression tests of the OWASP Core Rule Set as they are written: files of the ftw schema, version 2.

Owns the reading and the templates in bodies; request.py says what goes over the wire, verdict.py what must come of it.
All scalars are kept as text (YAML's BaseLoader), because a field whose value looks like a number or `yes` is sent as
it is written. Format: github.com/coreruleset/ftw-tests-schema and the README of go-ftw.
"""

import base64
import dataclasses
import pathlib
import re

import yaml

Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

# `{{ "1" | repeat 64200 }}` and `{{ repeat 64200 "1" }}`: the only templates that the rule set's tests use.
TEMPLATE = re.compile(
    r"""\{\{-?\s*(?:"(?P<piped>(?:[^"\\]|\\.)*)"\s*\|\s*repeat\s+(?P<times>\d+)"""
    r"""|repeat\s+(?P<first>\d+)\s+"(?P<last>(?:[^"\\]|\\.)*)")\s*-?\}\}"""
)
# A test must not ask for more than this many bytes by a template.
TEMPLATE_BYTES_MAX = 64 << 20


@dataclasses.dataclass
class Stage:
    """One request and what is expected of it."""

    method: str
    uri: str
    version: str
    # Pairs in the order of the wire.
    fields: list
    data: bytes
    # A request as it is; the members above are then not used.
    raw: bytes | None
    autocomplete: bool
    status: int | None
    response_contains: str | None
    expect_error: bool
    retry_once: bool
    expect_ids: list
    no_expect_ids: list
    match_regex: str | None
    no_match_regex: str | None
    isolated: bool


@dataclasses.dataclass
class Case:
    # Rule and number in its file: 942100-7.
    name: str
    # Folder and file below the tests' directory.
    file: str
    text: str
    stages: list

    @property
    def kind(self):
        """Whether something must be found, must not be found, or neither is asked."""
        if any(stage.expect_ids or stage.match_regex for stage in self.stages):
            return "positive"
        if any(stage.no_expect_ids or stage.no_match_regex for stage in self.stages):
            return "negative"
        return "other"


def expand(text):
    """A body with its templates replaced; what is no template that is known stays."""

    def repeat(match):
        word = match["piped"] if match["piped"] is not None else match["last"]
        times = int(match["times"] or match["first"])
        word = re.sub(r"\\(.)", lambda escape: {"n": "\n", "r": "\r", "t": "\t"}.get(escape[1], escape[1]), word)
        if len(word) * times > TEMPLATE_BYTES_MAX:
            raise ValueError(f"a template asks for {len(word) * times} characters")
        return word * times

    return TEMPLATE.sub(repeat, text)


def truth(text):
    return text.lower() in ("true", "yes", "on", "1")


def read_fields(given):
    """Fields sorted by name, as go-ftw sends them; `ordered_headers` stay as they are."""
    if "ordered_headers" in given:
        return [(field["name"], field["value"]) for field in given["ordered_headers"]]
    return sorted((given.get("headers") or {}).items())


def read_stage(stage):
    # Schema 1 wrapped each stage once more.
    stage = stage.get("stage", stage)
    given, wanted = stage["input"], stage.get("output") or {}
    for key in ("follow_redirect", "save_cookie"):
        if truth(given.get(key, "false")):
            raise ValueError(f"`{key}` is not supported")
    log = wanted.get("log") or {}
    autocomplete = truth(given.get("autocomplete_headers", "true"))
    if "stop_magic" in given:
        autocomplete = not truth(given["stop_magic"])
    raw = None
    if given.get("encoded_request"):
        raw = base64.b64decode("".join(given["encoded_request"].split()))
    data = given.get("data") or ""
    if isinstance(data, list):
        data = "\r\n".join(data)
    return Stage(
        method=given.get("method") or "GET",
        uri=given.get("uri") or "/",
        version=given.get("version") or "HTTP/1.1",
        fields=read_fields(given),
        data=expand(data).encode("utf-8", "surrogatepass"),
        raw=raw,
        autocomplete=autocomplete,
        status=int(wanted["status"]) if wanted.get("status") else None,
        response_contains=wanted.get("response_contains"),
        expect_error=truth(wanted.get("expect_error", "false")),
        retry_once=truth(wanted.get("retry_once", "false")),
        expect_ids=[int(rule) for rule in log.get("expect_ids") or []],
        no_expect_ids=[int(rule) for rule in log.get("no_expect_ids") or []],
        match_regex=log.get("match_regex"),
        no_match_regex=log.get("no_match_regex"),
        isolated=truth(wanted.get("isolated", "false")),
    )


def read_file(path, root):
    content = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
    # Some files of the rule set hold only a comment.
    if not content:
        return []
    meta = content.get("meta") or {}
    if not truth(meta.get("enabled", "true")):
        return []
    rule = content.get("rule_id") or path.stem
    cases = []
    for test in content["tests"]:
        name = test.get("test_title") or f"{rule}-{test['test_id']}"
        stages = [read_stage(stage) for stage in test["stages"]]
        cases.append(Case(name, str(path.relative_to(root)), " ".join((test.get("desc") or "").split()), stages))
    return cases


def read_folder(root, include=None):
    """All tests below `root` whose name matches `include`, and how many files they come from."""
    root = pathlib.Path(root)
    wanted = re.compile(include) if include else None
    cases, files = [], 0
    for path in sorted(root.rglob("*.yaml")):
        found = [case for case in read_file(path, root) if not wanted or wanted.search(case.name)]
        files += bool(found)
        cases += found
    return cases, files
