#!/usr/bin/env python3
"""Checks that every query of dashboards and rules asks for what the programs really export.

    tests/monitoring/queries.py ADDRESS [--without PREFIX]...

ADDRESS: a Prometheus that scrapes real nodes and an orchestrator and evaluates the shipped rules. Of each query,
parsed: every selector (name, labels and their values) matches a series; every label it groups by, joins on, or shows is one
that those series have; it runs; and a panel shows something. --without: metrics that cannot be there in this run.
"""

import argparse
import collections
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

import promql_parser as promql

import sources


class Prometheus:
    """Its HTTP API."""

    def __init__(self, address):
        self.address = address

    def get(self, path, **values):
        """The data of an answer; an error that it names is raised as ValueError."""
        url = f"http://{self.address}/api/v1/{path}"
        data = urllib.parse.urlencode(values).encode() if values else None
        try:
            with urllib.request.urlopen(url, data=data, timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error).get("error", str(error))) from error

    def query(self, text):
        """Result of an instant query, as a list of series."""
        data = self.get("query", query=text)
        return data["result"] if data["resultType"] == "vector" else [{"metric": {}}]


def walk(node):
    """All nodes of a parsed query."""
    yield node
    if isinstance(node, promql.MatrixSelector):
        yield node.vector_selector if hasattr(node, "vector_selector") else node.vs
    for name in ("expr", "lhs", "rhs", "param"):
        child = getattr(node, name, None)
        if isinstance(child, promql.Expr):
            yield from walk(child)
    for child in getattr(node, "args", None) or []:
        yield from walk(child)


def selector_text(node):
    """The selector alone, without range and offset: series an hour ago are of the same names."""
    text = node.prettify() if hasattr(node, "prettify") else str(node)
    return re.sub(r"\[[^\]]*\]|\s+offset\s+\S+", "", text).strip()


def grouping(node):
    """Labels that aggregations group by and operators join on."""
    found = set()
    for each in walk(node):
        for modifier in (getattr(each, "modifier", None), getattr(getattr(each, "modifier", None), "matching", None)):
            labels = getattr(modifier, "labels", None)
            found.update(labels or [])
    return found


def check(server, query, left_out):
    """Faults of one query."""
    tree = promql.parse(query.text)
    selectors = {selector_text(node) for node in walk(tree) if isinstance(node, promql.VectorSelector)}
    if not selectors and "vector(" not in query.text:
        return ["no selector found in it"]
    faults, known = [], set()
    absent = [text for text in selectors if any(prefix in text for prefix in left_out)]
    for text in selectors - set(absent):
        series = server.query(text)
        if not series:
            faults.append(f"nothing is exported that matches {text}")
        for one in series:
            known.update(one["metric"])
    wanted = grouping(tree) | query.labels
    if not faults and not absent:
        faults += [f"label {label} is on none of its series" for label in sorted(wanted - known)]
    result = server.query(query.text)
    if query.shown and not absent and not faults:
        # A panel that shows only what is not nought: asked again without that.
        result = result or server.query(re.sub(r" > 0$|( > 0)(?=\)$)", "", query.text))
        if not result:
            faults.append("the panel shows nothing")
        missing = query.labels - {label for one in result for label in one["metric"]}
        faults += [f"its legend uses label {label}, which the result has not" for label in sorted(missing) if result]
    return faults


def main():
    """Says what is wrong and ends with 1, or says how much was looked at."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--without", action="append", default=[])
    options = parser.parse_args()
    server = Prometheus(options.address)
    counts, faults = collections.Counter(), []
    for query in [*sources.dashboards(), *sources.rules()]:
        counts["panels' queries" if query.shown else "rules"] += 1
        try:
            found = check(server, query, options.without)
        except ValueError as error:
            found = [f"does not run: {error}"]
        faults += [f"{query.place}: {fault}\n    {query.text}" for fault in found]
    for group in server.get("rules")["groups"]:
        for rule in group["rules"]:
            counts["rules evaluated by Prometheus"] += 1
            if rule["health"] != "ok":
                faults.append(f"{rule['name']}: {rule['health']}: {rule.get('lastError')}")
    print(", ".join(f"{number} {what}" for what, number in counts.items()))
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
