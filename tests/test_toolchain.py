"""Locks, hooks and the documentation's check: what the make targets rest on."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import ROOT

HASHED = ["requirements.lock", "requirements-dev.lock", "requirements-docs.lock"]
PIN = re.compile(r"^([a-z0-9-]+)==([^ ]+)")


def pins(name: str) -> dict[str, set[str]]:
    """Versions of each package that a lock names."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if match := PIN.match(line):
            found.setdefault(match[1], set()).add(match[2])
    return found


@pytest.mark.parametrize("name", HASHED)
def test_every_locked_package_has_a_hash_and_no_lock_names_a_host(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[a-z])", text)[1:]
    assert len(entries) >= len(pins(name)) > 0
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert re.findall(r"https?://|file:|--(?:extra-)?index-url|--find-links", text) == []


def test_locks_agree_on_what_several_of_them_name() -> None:
    runtime, *others = map(pins, HASHED)
    for other in others:
        assert {name: other[name] for name in runtime.keys() & other.keys()} == {
            name: runtime[name] for name in runtime.keys() & other.keys()
        }
    assert "torch" not in runtime


def test_hooks_use_the_locked_versions() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0][
        "hooks"
    ]
    asked = {pin for hook in hooks for pin in hook.get("additional_dependencies", [])}
    locked = {f"{name}=={version}" for name, versions in pins(HASHED[1]).items() for version in versions}
    assert {pin for pin in asked if pin.startswith(("ruff", "codespell"))} <= locked
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("page", "loads"),
    [
        ('<a href="https://else.where/">read</a><link rel="canonical" href="https://else.where/">', None),
        (
            '<script src="js/own.js"></script><img src="own.png"><style>a{background:url(own.png)}</style>',
            None,
        ),
        ('<script src="https://else.where/x.js"></script>', "https://else.where/x.js"),
        ('<link rel="stylesheet" href="//else.where/x.css">', "//else.where/x.css"),
        ("<style>@import url(https://else.where/f.css)</style>", "https://else.where/f.css"),
        ('<p style="background: url(https://else.where/p.png)">', "https://else.where/p.png"),
    ],
)
def test_a_site_that_loads_from_other_hosts_is_refused(tmp_path: Path, page: str, loads: str | None) -> None:
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    command = [sys.executable, str(ROOT / ".ci" / "foreign_hosts.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (loads is not None)
    assert (loads or "") in done.stderr
