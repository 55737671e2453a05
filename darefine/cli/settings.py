"""Command `darefine settings`: list the environment variables that are read, with defaults and meaning."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Column, Table

from service.settings import ServiceSettings
from workers.queue.connection import without_password
from workers.settings import PREFIX, LogSettings, WorkerSettings

COMPUTED = {
    "data_dir": "`~/.local/share/darefine`",
    "queue_dir": "`queue` in the data folder",
    "weights_dir": "the demo's",
    "inspections": "cores",
}
"""Words for defaults that depend on the machine."""

OWN_DEFAULTS = {"data_dir", "redis_url"}
"""Settings whose default is the workers' in the API too: whoever starts both gives it on."""

CLIENT = {
    "URL": ("`http://127.0.0.1:8000`", "The service that client commands talk to; `--url` says the same."),
    "KEY": ("none", "The key that client commands send."),
}
"""Variables of the client commands, with default and meaning; no class of settings holds them."""

ALIASES = {"redis_url": "`REDIS_URL` is read too, after it."}

HEAD = """\
# Settings

Environment variables, all beginning with `DAREFINE_`. `darefine settings` lists them with the values here.
One that nothing reads is an error that names the nearest; a value that cannot be, one that says what can.
This page is made by `darefine settings --markdown`.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: which part reads it, its default as Markdown, and its meaning."""

    variable: str
    part: str
    default: str
    meaning: str


@click.command()
@click.option("--markdown", is_flag=True, help="Print the page of the documentation.")
def settings(markdown: bool) -> None:
    """List the environment variables that are read: value here, default and meaning."""
    if markdown:
        click.echo(page(), nl=False)
        return
    table = Table("variable", "here", "default", Column("meaning", overflow="fold"))
    for one in all_settings():
        here = os.environ.get(one.variable, "")
        shown = "***" if one.variable == f"{PREFIX}KEY" and here else without_password(here)
        table.add_row(one.variable, shown, one.default.replace("`", ""), one.meaning.replace("`", ""))
    Console().print(table)


def page() -> str:
    """Return the page of the documentation: a table for each part."""
    found = list(all_settings())
    parts = dict.fromkeys(one.part for one in found)
    sections = [HEAD]
    for part in parts:
        rows = [f"`{s.variable}` | {s.default} | {s.meaning}" for s in found if s.part == part]
        sections.append("\n".join([f"## {part}\n", "variable | default | meaning", "---|---|---", *rows, ""]))
    return "\n".join(sections)


def all_settings() -> Iterator[Setting]:
    """Yield every variable once, under the parts that read it."""
    workers, service = WorkerSettings.model_fields, ServiceSettings.model_fields
    for name, field in {**workers, **service}.items():
        if name in LogSettings.model_fields or (name in workers and name in service):
            part = "All processes"
        else:
            part = "Workers and supervisor" if name in workers else "The API"
        told = workers.get(name, field) if name in OWN_DEFAULTS else field
        yield Setting(f"{PREFIX}{name.upper()}", part, default_of(name, told), meaning_of(name, told))
    for name, (default, meaning) in CLIENT.items():
        yield Setting(f"{PREFIX}{name}", "Client commands", default, meaning)


def default_of(name: str, field: FieldInfo) -> str:
    """Return a setting's default as Markdown.

    Raises:
        KeyError: it depends on the machine, and COMPUTED has no words for it.
    """
    if field.default_factory is not None:
        return COMPUTED[name]
    value = field.default
    if value is None or value == ():
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def meaning_of(name: str, field: FieldInfo) -> str:
    """Return what a setting means, in one line, with the words that it takes if it takes only some."""
    words = [" ".join((field.description or "").split())]
    if get_origin(field.annotation) is Literal:
        words.append(f"One of {', '.join(f'`{choice}`' for choice in get_args(field.annotation))}.")
    return " ".join([*words, ALIASES.get(name, "")]).strip().replace("|", "\\|")
