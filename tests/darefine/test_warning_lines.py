"""Warnings on the command line."""

import io

from rich.console import Console

from darefine.cli.warning_lines import print_warnings


def test_warnings_are_yellow_and_whole() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system="standard", width=200)
    print_warnings(console, [{"code": "blurred", "words": "Out of focus [sharpness 0.1]."}])
    assert screen.getvalue() == "\x1b[33mwarning (blurred): Out of focus [sharpness 0.1].\x1b[0m\n"
