"""What lies in deploy/ names metrics and labels that the service has."""

import json
import re
from collections.abc import Iterator

import yaml

from tests import ROOT
from tests.service.conftest import Api, api  # noqa: F401 - a fixture
from workers.queue.tallies import METRICS

DEPLOY = ROOT / "deploy"
METRIC = re.compile(r"\bdarefine_[a-z_]+")
PARTS = re.compile(r"_(total|bucket|count|sum)$")


def expressions() -> Iterator[tuple[str, str]]:
    """Title and PromQL of every panel and alert."""
    dashboard = json.loads((DEPLOY / "grafana" / "darefine.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}, rule
            assert rule["annotations"]["summary"]
            yield rule["alert"], rule["expr"]


def test_every_metric_of_dashboard_and_alerts_is_one_that_the_service_shows(api: Api) -> None:  # noqa: F811
    text = api.http.get("/metrics").text
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    asked = {(title, name) for title, expression in expressions() for name in METRIC.findall(expression)}
    assert len(asked) > 30
    for title, name in sorted(asked):
        family = PARTS.sub("", name)
        kind = kinds.get(name) or kinds.get(family)
        assert kind is not None, f"{title}: the service shows no {name}"
        if kind == "counter":
            assert name.endswith("_total"), f"{title}: {name} is a counter"
        if kind == "histogram":
            assert name != family, f"{title}: {name} is a histogram"


def test_labels_are_those_of_the_metrics() -> None:
    known = {label for metric in METRICS for label in metric.labels}
    known |= {"state", "method", "route", "status", "worker", "device"}  # of gauges and requests
    for title, expression in expressions():
        named = re.findall(r"(\w+) *(?:=~|!=|=) *\"", expression)
        named += [
            name.strip() for by in re.findall(r"(?:by|on) \(([^)]*)\)", expression) for name in by.split(",")
        ]
        assert set(named) <= known | {"instance", "job", "le"}, title
