#!/usr/bin/env python3
"""The runner's own parts: what is read, what is sent, what is attributed, what is judged. No network."""

import json
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True

import case  # noqa: E402
import origin  # noqa: E402
from attribution import Records  # noqa: E402
from request import Answer, build, encode_form  # noqa: E402
from verdict import Seen, reasons  # noqa: E402

FILE = """
rule_id: 942100
tests:
  - test_id: 3
    stages:
      - input: {method: POST, uri: /post, headers: {User-Agent: x, Accept: yes, Host: localhost}, data: "a=1 or 2&b="}
        output: {log: {expect_ids: [942100, 942101]}, status: 200}
  - test_id: 4
    stages:
      - input: {encoded_request: "R0VUIC8gSFRUUC8xLjANCg0K"}
        output: {log: {no_expect_ids: [942100]}}
  - test_id: 5
    stages:
      - input: {autocomplete_headers: false, data: '{{ "ab" | repeat 3 }}{{7*7}}'}
        output: {expect_error: true}
"""


def cases():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "942100.yaml"
        path.write_text(FILE)
        return case.read_folder(folder)[0]


class Reading(unittest.TestCase):
    def test_names_kinds_and_text(self):
        found = cases()
        self.assertEqual([one.name for one in found], ["942100-3", "942100-4", "942100-5"])
        self.assertEqual([one.kind for one in found], ["positive", "negative", "other"])
        self.assertIn(("Accept", "yes"), found[0].stages[0].fields)

    def test_only_known_templates_are_expanded(self):
        self.assertEqual(cases()[2].stages[0].data, b"ababab{{7*7}}")
        self.assertEqual(case.expand('{{ repeat 2 "x" }}'), "xx")
        with self.assertRaises(ValueError):
            case.expand('{{ "1" | repeat 99999999999 }}')


class Sending(unittest.TestCase):
    def test_what_is_missing_is_completed(self):
        sent = build(cases()[0].stages[0], (("X-CRS-Test", "n"),))
        self.assertEqual(
            sent,
            b"POST /post HTTP/1.1\r\nAccept: yes\r\nConnection: close\r\nContent-Length: 11\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nHost: localhost\r\nUser-Agent: x\r\n"
            b"X-CRS-Test: n\r\n\r\na=1+or+2&b=",
        )

    def test_raw_requests_stay_but_for_the_name(self):
        self.assertEqual(build(cases()[1].stages[0]), b"GET / HTTP/1.0\r\n\r\n")
        named = build(cases()[1].stages[0], (("X-CRS-Test", "n"),))
        self.assertEqual(named, b"GET / HTTP/1.0\r\nX-CRS-Test: n\r\n\r\n")

    def test_nothing_is_completed_when_not_asked(self):
        self.assertEqual(build(cases()[2].stages[0]), b"GET / HTTP/1.1\r\n\r\nababab{{7*7}}")

    def test_forms_that_are_encoded_stay(self):
        self.assertEqual(encode_form(b"a=%20 b"), b"a=%20 b")
        self.assertEqual(encode_form(b"a=<b>&c"), b"a=%3Cb%3E&c")


class Judging(unittest.TestCase):
    def test_ids(self):
        stage = cases()[0].stages[0]
        self.assertEqual(reasons(stage, Answer(200), Seen({942100, 942101, 1}, "", True)), [])
        self.assertEqual(len(reasons(stage, Answer(200), Seen({942100}, "", True))), 1)
        self.assertEqual(len(reasons(stage, Answer(403), Seen({942100}, "", True))), 2)
        self.assertEqual(len(reasons(cases()[1].stages[0], Answer(200), Seen({942100}, "", True))), 1)

    def test_errors(self):
        self.assertEqual(len(reasons(cases()[1].stages[0], Answer(error="reset"), Seen())), 1)
        self.assertEqual(reasons(cases()[2].stages[0], Answer(error="reset"), Seen()), [])
        self.assertEqual(len(reasons(cases()[2].stages[0], Answer(200), Seen())), 1)


class Attributing(unittest.TestCase):
    def read(self, *records):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            source = Records(file.name, 0.1)
            for record in records:
                file.write((record if isinstance(record, str) else json.dumps(record)) + "\n")
            file.flush()
            source.collect(["a", "b", "c", "d"])
        return source

    def test_every_shape_of_record(self):
        source = self.read(
            {"request": {"headers": {"x-crs-test": "a"}}, "matches": [{"id": 1, "msg": "m", "data": "x\ny"}]},
            {"headers": [["X-CRS-Test", "b"]], "matches": [{"id": "2"}, 3]},
            {"matches": [{"id": 999999, "msg": "X-CRS-Test c"}, {"id": 4}]},
            {"transaction": {"request": {"headers": {"X-CRS-Test": "d"}}, "messages": [{"details": {"ruleId": "5"}}]}},
            "no JSON",
        )
        self.assertEqual(source.seen("a").ids, {1})
        self.assertEqual(source.seen("a").text, '[id "1"] [msg "m"] [data "x\\x0ay"]\n')
        self.assertEqual(source.seen("b").ids, {2, 3})
        self.assertEqual(source.seen("c").ids, {4, 999999})
        self.assertEqual(source.seen("d").ids, {5})
        self.assertEqual(source.broken_lines, 1)
        self.assertFalse(source.seen("e").recorded)


class Reflecting(unittest.TestCase):
    def test_what_is_asked_comes_back(self):
        asked = {"status": 503, "headers": {"X-A": "1"}, "encodedBody": "PGh0bWw+"}
        head, body = origin.answer("POST", "/reflect?x", json.dumps(asked).encode())
        self.assertEqual(body, b"<html>")
        self.assertIn("HTTP/1.1 503", head)
        self.assertIn("X-A: 1\r\n", head)
        self.assertIn("Content-Type: text/html", head)
        self.assertIn("HTTP/1.1 400", origin.answer("POST", "/reflect", b"[1]")[0])
        self.assertEqual(origin.answer("GET", "/reflect", b"")[1], b"")


if __name__ == "__main__":
    unittest.main()
