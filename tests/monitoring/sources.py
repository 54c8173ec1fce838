"""Where the queries are: dashboards and rules of config/monitoring, read as Grafana and Prometheus read them."""

import json
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
MONITORING = ROOT / "config" / "monitoring"
# What Grafana puts in for its variables before Prometheus sees the query.
VARIABLES = {"$__rate_interval": "1m", "$instance": ".*"}


class Query:
    """A query, where it stands, and the labels that its legend or texts use."""

    def __init__(self, place, text, labels=(), shown=False):
        for name, value in VARIABLES.items():
            text = text.replace(name, value)
        if "$" in text:
            raise ValueError(f"{place}: a variable is not known: {text}")
        self.place = place
        self.text = text
        self.labels = set(labels)
        # A panel, in contrast to an alert, which is silent as a rule.
        self.shown = shown


def legend_labels(text):
    """Labels in {{label}}."""
    return re.findall(r"{{\s*(\w+)\s*}}", text or "")


def alert_labels(texts):
    """Labels in {{ $labels.label }}."""
    return [label for text in texts for label in re.findall(r"\$labels\.(\w+)", text)]


def dashboards():
    """Queries of all panels, annotations and variables."""
    for path in sorted((MONITORING / "grafana" / "dashboards").glob("*.json")):
        page = json.loads(path.read_text())
        for mark in page["annotations"]["list"]:
            yield Query(f"{path.name}: {mark['name']}", mark["target"]["expr"], legend_labels(mark["titleFormat"]))
        for variable in page["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()
                yield Query(f"{path.name}: variable {variable['name']}", metric, [label], shown=True)
        for panel in page["panels"]:
            for target in panel.get("targets", []):
                place = f"{path.name}: {panel['title']}"
                labels = legend_labels(target["legendFormat"])
                yield Query(place, target["expr"], labels, shown=True)


def rules():
    """Queries of recording and alerting rules."""
    for path in sorted((MONITORING / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                name = rule.get("alert") or rule["record"]
                labels = alert_labels(rule.get("annotations", {}).values())
                yield Query(f"{path.name}: {name}", rule["expr"], labels)


def alerts():
    """Names of all alerts."""
    for path in sorted((MONITORING / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from (rule["alert"] for rule in group["rules"] if "alert" in rule)
