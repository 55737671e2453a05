"""What lies in deploy/ names metrics, settings, commands and files that there are, in valid forms."""

import json
import re
import runpy
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from darefine.cli.environment import known_variables
from darefine.cli.main import main
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


FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
RUN_BY = [*FILES, ROOT / "Dockerfile", *ROOT.glob("docker-compose*.yml")]
PAGES = sorted((ROOT / "docs" / "deploy").glob("*.md"))
KUBERNETES = "1.31"


def test_every_setting_named_is_one_that_is_read() -> None:
    for path in (*RUN_BY, *PAGES):
        named = set(re.findall(r"\bDAREFINE_[A-Z][A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
        assert named <= known_variables() | {"DAREFINE_NAME"}, path


def commands(text: str) -> Iterator[list[str]]:
    """The calls of `darefine` in a file, as their words, in prose and in lists."""
    for listed in re.findall(r"\[\"?darefine\"?,([^\]]*)\]", text):
        yield [word.strip().strip('"') for word in listed.split(",")]
    for line in re.findall(
        r"(?:bin/|`|exec |-- |^)darefine ((?:worker|probe|serve|keys|run|recover)[^`\n|;)]*)", text
    ):
        yield shlex.split(line, posix=False)


@pytest.mark.parametrize("path", [*RUN_BY, *PAGES], ids=lambda path: path.name)
def test_every_command_named_is_one_with_these_options(path: Path) -> None:
    for words in commands(path.read_text(encoding="utf-8")):
        names = [word for word in words[:2] if re.fullmatch("[a-z]+", word)]
        names = names[:2] if words[0] in ("probe", "keys") else names[:1]
        told = CliRunner().invoke(main, [*names, "--help"]).output
        assert "Usage" in told, words
        options = [word for word in words if word.startswith("--")]
        assert [option for option in options if option not in told] == [], words


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def test_manifests_are_what_kubernetes_takes() -> None:
    kinds = set()
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for document in documents(path):
            kinds.add(document["kind"])
            if document["kind"] == "ScaledJob":
                job = {"apiVersion": "batch/v1", "kind": "Job", "spec": document["spec"]["jobTargetRef"]}
                document = {**job, "metadata": document["metadata"]}  # noqa: PLW2901
            if not document["apiVersion"].startswith(("keda.sh/", "kustomize.")):
                kubernetes_validate.validate(document, KUBERNETES, strict=True)
    assert kinds >= {"Deployment", "StatefulSet", "Service", "PersistentVolumeClaim", "ScaledJob"}


def test_containers_of_manifests_have_no_rights() -> None:
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for document in documents(path):
            spec = document.get("spec", {})
            template = spec.get("jobTargetRef", spec).get("template")
            if template is None:
                continue
            pod = template["spec"]
            assert pod["securityContext"]["runAsNonRoot"] is True
            for container in pod["containers"]:
                assert container["securityContext"]["allowPrivilegeEscalation"] is False
                volumes = {volume["name"] for volume in pod.get("volumes", ())}
                volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", ())}
                assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_compose_builds_targets_that_the_dockerfile_has() -> None:
    check = runpy.run_path(str(ROOT / ".ci" / "image_check.py"))
    stages = check["read_stages"]((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    targets = set()
    for path in (*ROOT.glob("docker-compose*.yml"), *(DEPLOY / "compose").glob("*.yml")):
        (composed,) = documents(path)
        for service in composed["services"].values():
            targets |= {service["build"]["target"]} if "target" in service.get("build", {}) else set()
    assert targets == {"api", "worker"}
    assert targets <= stages.keys()
    assert not [rest for instruction, rest in stages["packages"] + stages["api"] if "torch" in rest.lower()]
    for name in targets:
        assert check["command_of"](stages[name], "HEALTHCHECK") == ["darefine", "probe", name]
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    for instruction, rest in stages["packages"] + stages["worker-packages"]:
        for source in rest.split()[:-1] if instruction == "COPY" else ():
            inside = Path(source, "x.py") if (ROOT / source).is_dir() else Path(source)
            assert (ROOT / source).exists()
            assert check["let_through"](inside, patterns), f".dockerignore keeps {source} out"
    assert not check["let_through"](Path("workers/__pycache__/x.pyc"), patterns)
    assert not check["let_through"](Path("service/viewer/vendor/x.js"), patterns)


def test_apptainer_takes_the_same_steps_as_the_worker_image() -> None:
    definition = (DEPLOY / "apptainer" / "darefine.def").read_text(encoding="utf-8")
    check = runpy.run_path(str(ROOT / ".ci" / "image_check.py"))
    stages = check["read_stages"]((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    steps = stages["packages"] + stages["worker-packages"]
    copied = {source for kind, rest in steps if kind == "COPY" for source in rest.split()[:-1]}
    assert copied == set(re.findall(r"^    (\S+) /src/\1$", definition, re.MULTILINE))
    run = [rest.replace("TORCH_INDEX", "torch_index") for kind, rest in steps if kind == "RUN"]
    assert [step for step in run if step not in definition] == []


@pytest.mark.parametrize("unit", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda path: path.name)
def test_units_are_what_systemd_takes(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    program = tmp_path / "darefine"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / unit.name
    text = unit.read_text(encoding="utf-8")
    copy.write_text(text.replace("/opt/darefine/.venv/bin/darefine", str(program)), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    told = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, told) == (0, [])
