"""Code blocks of documentation pages, and a shell in which their commands run as a reader's would."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests import ROOT

Run = Callable[..., str]
"""Runs a command, given as its words, and returns what it prints."""


def code_blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language on a page, in their order."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def command_runner(folder: Path, programs: Path, **variables: str) -> Run:
    """Return what runs commands in `folder`, with `darefine` on the PATH; each must succeed.

    `programs` is an empty folder for that; `variables` are added to the environment.
    """
    program = programs / "darefine"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m darefine "$@"\n')
    program.chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **variables}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
