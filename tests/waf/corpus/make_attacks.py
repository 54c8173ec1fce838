#!/usr/bin/env python3
"""Writes attacks/*.jsonl: requests that a WAF must refuse, one class a file. The same seed gives the same files.

    tests/waf/corpus/make_attacks.py [--seed N]

Each payload of payloads.py is sent several times: plain, URL encoded once or twice, as HTML entities, as %u escapes, with
its letters in mixed case, with comments for spaces (SQL); in the query, the path, a form, JSON, XML, a multipart field, a
cookie or a header. Only what a server behind the WAF could understand is combined: no %u in JSON, no comments in HTML.
The field "technique" says how. Format: see make_ordinary.py.
"""

import argparse
import json
import pathlib
import random
from urllib.parse import quote, quote_plus

import payloads
import vocabulary

HERE = pathlib.Path(__file__).parent
DOMAINS = "evil.example attacker.example x.evil.example c2.example.net".split()
FILES = "x q test a1 poc upd kk data tmp9 loader".split()
NAMES = "id q page file name search url cmd user lang template redirect cat item sort view ref input".split()
PLACES = ["query", "query", "query", "form", "form", "json", "multipart", "cookie", "header", "xml", "path", "name"]
VARIANTS = {"sqli": 6, "xss": 5, "traversal": 5, "rfi": 4, "command": 5, "php": 4, "java": 4, "lookup": 5, "node_python": 4, "ssrf": 3,
            "xxe": 3, "template": 4, "ldap_xpath": 4, "nosql": 3, "splitting": 4}


def mixed_case(chance, text):
    return "".join(c.upper() if chance.random() < 0.5 else c.lower() for c in text)


def entities(text):
    return "".join(c if c.isalnum() or c in " \r\n" else f"&#{ord(c)};" for c in text)


def percent_u(text):
    return "".join(c if c.isalnum() else f"%u{ord(c):04x}" for c in text)


def encodings(kind, text, place):
    """How a payload may be written at a place; each server that decodes that place gets the payload."""
    found = ["plain", "plain"]
    if kind in ("sqli", "xss"):
        found.append("case")
    if kind == "sqli" and " " in text:
        found.append("comments")
    if kind == "xss" and place in ("query", "form"):
        found.append("entities")
    if place in ("query", "path", "form", "cookie") and "%" not in text:
        found += ["double", "all"]
    if place == "query" and kind in ("sqli", "xss", "traversal") and "%" not in text:
        found.append("percent_u")
    return found


def places(kind, text):
    if kind == "xxe":
        return ["xml_raw", "xml_raw", "multipart", "form"]
    if kind == "nosql" and text.startswith("{"):
        return ["json_raw", "json_raw", "query"]
    if kind == "nosql" and "[$" in text:
        return ["pair_query", "pair_form"]
    if text.startswith(("__proto__[", "constructor[", "settings[", "class.module", "class.classLoader")):
        return ["pair_query", "pair_form"]
    if kind in ("lookup",):
        return PLACES + ["header", "header", "agent"]
    if kind == "splitting":
        return ["query", "query", "cookie", "path"]
    found = [place for place in PLACES if place not in ("path", "name") or kind in ("traversal", "sqli", "xss", "command", "lookup")]
    return [place for place in found if place != "name" or kind in ("sqli", "xss")]


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.requests = {}

    def fill(self, text):
        pick = self.random.choice
        return text.replace("{n}", str(self.random.randint(2, 9))).replace("{d}", pick(DOMAINS)).replace("{f}", pick(FILES))

    def headers(self, extra=()):
        return [["Host", "www.example.com"], ["User-Agent", self.random.choice(vocabulary.AGENTS)], ["Accept", "*/*"], *extra]

    def add(self, kind, technique, method, uri, headers, body=None):
        found = self.requests.setdefault(kind, {})
        request = {"id": "", "class": kind, "technique": technique, "method": method, "uri": uri, "headers": headers}
        if body is not None:
            request["body"] = body
        # The same request twice measures nothing. Agents differ at random and do not count.
        key = json.dumps([method, uri, [h for h in headers if h[0] != "User-Agent" or kind == "scanner" or technique.startswith("agent")], body])
        if key not in found:
            request["id"] = f"attack-{kind}-{len(found) + 1:04}"
            found[key] = request

    def send(self, kind, text):
        place = self.random.choice(places(kind, text))
        how = self.random.choice(encodings(kind, text, place))
        technique = f"{place}/{how}"
        if how == "case":
            text = mixed_case(self.random, text)
        elif how == "comments":
            text = text.replace(" ", self.random.choice(["/**/", "/*x*/", "\t", "\n", "/**_**/"]))
        elif how == "entities":
            text = entities(text)
        code = {"double": lambda t: quote(quote(t, safe=""), safe=""), "all": lambda t: "".join(f"%{b:02x}" for b in t.encode()),
                "percent_u": percent_u}.get(how, self.random.choice([quote_plus, quote]))
        getattr(self, place)(kind, technique, text, code)

    def name_of(self):
        return self.random.choice(NAMES)

    def query(self, kind, technique, text, code):
        before = self.random.choice(["", "a=1&", "utm=x&page=2&"])
        self.add(kind, technique, "GET", f"/{self.random.choice(['', 'index.php', 'search', 'api/v1/items', 'view.jsp'])}?{before}{self.name_of()}={code(text)}", self.headers())

    def name(self, kind, technique, text, code):
        self.add(kind, technique, "GET", f"/search?{code(text)}=1", self.headers())

    def path(self, kind, technique, text, code):
        coded = quote(text, safe="/.;:\\") if "plain" in technique or "case" in technique else code(text)
        coded = coded.replace("\\", "%5C")
        self.add(kind, technique, "GET", "/" + self.random.choice(["", "static/", "item/"]) + coded.lstrip("/"), self.headers())

    def form(self, kind, technique, text, code):
        fields = f"a=1&{self.name_of()}={code(text)}&submit=OK"
        self.add(kind, technique, "POST", "/login.php", self.headers([["Content-Type", "application/x-www-form-urlencoded"]]), fields)

    def json(self, kind, technique, text, code):
        value = self.random.choice([{self.name_of(): text}, {"a": [{"b": text}], "n": 1}, [text], {"data": {"attributes": {self.name_of(): text}}}])
        body = json.dumps(value, ensure_ascii=True)
        if self.random.random() < 0.3:
            body = body.replace("<", "\\u003c").replace("'", "\\u0027").replace("$", "\\u0024")
        self.add(kind, technique, "POST", "/api/v1/items", self.headers([["Content-Type", "application/json"]]), body)

    def json_raw(self, kind, technique, text, code):
        self.add(kind, technique, "POST", "/api/login", self.headers([["Content-Type", "application/json"]]), text)

    def pair_query(self, kind, technique, text, code):
        name, _, value = text.partition("=")
        self.add(kind, technique, "GET", f"/login?{self.random.choice([quote(name), name.replace('[', '%5B').replace(']', '%5D').replace(' ', '+')])}={quote(value)}", self.headers())

    def pair_form(self, kind, technique, text, code):
        name, _, value = text.partition("=")
        self.add(kind, technique, "POST", "/login", self.headers([["Content-Type", "application/x-www-form-urlencoded"]]), f"x=1&{quote_plus(name)}={quote_plus(value)}")

    def xml(self, kind, technique, text, code):
        safe = text.replace("&", "&amp;").replace("<", "&lt;")
        body = self.random.choice([f"<?xml version=\"1.0\"?><a><b>{safe}</b></a>", f"<a b=\"{safe.replace(chr(34), '&quot;')}\"/>", f"<a><![CDATA[{text}]]></a>"])
        self.add(kind, technique, "POST", "/soap", self.headers([["Content-Type", self.random.choice(["text/xml", "application/xml"])]]), body)

    def xml_raw(self, kind, technique, text, code):
        self.add(kind, technique, "POST", self.random.choice(["/soap", "/upload.xml", "/api/xml"]), self.headers([["Content-Type", "application/xml"]]), text)

    def multipart(self, kind, technique, text, code):
        mark = "----WebKitFormBoundary" + self.random.randbytes(8).hex()
        body = f'--{mark}\r\nContent-Disposition: form-data; name="{self.name_of()}"\r\n\r\n{text}\r\n--{mark}--\r\n'
        self.add(kind, technique, "POST", "/upload", self.headers([["Content-Type", f"multipart/form-data; boundary={mark}"]]), body)

    def cookie(self, kind, technique, text, code):
        coded = quote(text, safe="/:()<>'*=") if "plain" in technique or "case" in technique else code(text)
        self.add(kind, technique, "GET", "/", self.headers([["Cookie", f"lang=en; {self.name_of()}={coded.replace(';', '%3B')}"]]))

    def header(self, kind, technique, text, code):
        if not text.isascii() or any(c in text for c in "\r\n\0"):
            return self.query(kind, technique, text, quote)
        field = self.random.choice(["Referer", "X-Forwarded-For", "X-Api-Version", "X-Original-URL", "From"])
        self.add(kind, technique, "GET", "/", self.headers([[field, text.strip()]]))

    def agent(self, kind, technique, text, code):
        self.add(kind, technique, "GET", "/", [["Host", "www.example.com"], ["User-Agent", text]])


def uploads(maker):
    shells = ["<?php @eval($_POST['x']);?>", "GIF89a<?php system($_GET[0]);?>", "<%eval request(\"x\")%>", "<%@ page import=\"java.util.*\"%><% Runtime.getRuntime().exec(\"id\"); %>",
              "AddType application/x-httpd-php .jpg", "<?xml version=\"1.0\"?><svg onload=\"alert(1)\" xmlns=\"http://www.w3.org/2000/svg\"/>", "hello"]
    names = ["x.php", "x.php.jpg", "photo.jpg.php", "a.phtml", ".htaccess", "s.aspx", "cmd.jsp", "../../x.php", "x.php%00.png", "logo.svg", "x.php5", "shell.pHp", "a.jspx"]
    for name in names:
        for body in shells:
            if body == "hello" and name in ("logo.svg", "x.php", "s.aspx", "cmd.jsp", "shell.pHp"):
                continue  # an upload of PHP source is nobody's attack by itself
            if body.startswith("AddType") and name != ".htaccess":
                continue
            mark = "----b" + maker.random.randbytes(6).hex()
            text = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: image/png\r\n\r\n{body}\r\n--{mark}--\r\n'
            maker.add("upload", "multipart/file", "POST", "/upload.php", maker.headers([["Content-Type", f"multipart/form-data; boundary={mark}"]]), text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    maker = Maker(parser.parse_args().seed)
    for kind, lines in payloads.BY_CLASS.items():
        for line in lines:
            for _ in range(VARIANTS[kind]):
                maker.send(kind, maker.fill(line))
    for path in payloads.PATHS:
        maker.add("probe", "path/plain", "GET", path, maker.headers())
    for agent in payloads.SCANNERS:
        maker.add("scanner", "agent/plain", "GET", "/", [["Host", "www.example.com"], ["User-Agent", agent]])
    uploads(maker)
    folder = HERE / "attacks"
    folder.mkdir(exist_ok=True)
    count = 0
    for kind, requests in sorted(maker.requests.items()):
        lines = [json.dumps(request, ensure_ascii=False) for request in requests.values()]
        (folder / f"{kind}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        count += len(lines)
    print(f"{count} attack requests")


if __name__ == "__main__":
    main()
