"""Metrics of the code: sizes, arrows, cycles and docstrings of each package.

`python -m benchmarks.code_metrics` prints Markdown tables. It reads the measured code and does not run
it. Terms:

- arrow: one file that imports another;
- length of a function: from `def` to its last line, without decorators;
- cycle: a set of files that import each other, or of neighbours in one package that do (sub-packages, and the
  files beside them).

It needs grimp (installed with import-linter) and, for the docstrings, ruff.
"""

import ast
import importlib.util
import json
import math
import shutil
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import click

from model.evaluation.report import markdown

ROOMS = ("wsi", "model", "workers", "service", "darefine")

HEADING = (
    "package",
    "files",
    "lines",
    "function lines: median",
    "p90",
    "largest",
    "largest file",
    "arrows inside",
    "arrows out",
    "file cycles",
    "package cycles",
    "summaries not imperative",
)

Arrows = Mapping[str, Set[str]]
"""Module -> modules that it imports, of the measured packages."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """Size of a module's file."""

    module: str
    """Dotted name; a package stands for its `__init__.py`."""
    path: Path
    lines: int
    functions: tuple[int, ...]
    """Lines of each function, nested ones too."""


@dataclass(frozen=True, slots=True)
class CodeBase:
    """Files of the measured packages, and what they import of each other."""

    roots: tuple[str, ...]
    files: Mapping[str, SourceFile]
    """By module."""
    arrows: Arrows
    not_imperative: Mapping[Path, int] | None
    """Docstring summaries that are not imperative, by file. None: unknown, as ruff is missing."""

    @classmethod
    def load(cls, roots: Sequence[str]) -> "CodeBase":
        """Read packages that can be imported, with all that is below them.

        Raises:
            ClickException: when grimp is missing, or there is no such package.
        """
        folders = {root: _folder_of(root) for root in roots}
        graph = _grimp().build_graph(*roots, cache_dir=None)
        files = {name: _read_file(name, folders) for name in sorted(graph.modules)}
        arrows = {name: frozenset(graph.find_modules_directly_imported_by(name)) for name in files}
        return cls(tuple(roots), files, arrows, count_not_imperative(folders.values()))

    def packages(self) -> list[str]:
        """List the packages, each before its sub-packages."""
        return [name for name, file in self.files.items() if file.path.name == "__init__.py"]

    def within(self, package: str) -> set[str]:
        """Return the modules of a package and all that is below it."""
        return {name for name in self.files if _is_within(name, package)}


@click.command()
@click.argument("packages", nargs=-1)
@click.option(
    "--most", type=click.IntRange(min=1), default=10, show_default=True, help="Modules by importers."
)
def main(packages: tuple[str, ...], most: int) -> None:
    """Print the metrics of PACKAGES, by default of this repository's. Exit code 1 if there is a cycle."""
    code = CodeBase.load(packages or ROOMS)
    importers = [
        ["module", "files that import it"],
        *([n, str(c)] for n, c in most_imported(code.arrows, most)),
    ]
    names = [
        ["file name", "times"],
        *([name, str(times)] for name, times in repeated_names(code.files.values())),
    ]
    cycles = [*find_cycles(code.arrows), *sibling_cycles(code.arrows)]
    found = "\n".join(f"- {', '.join(sorted(cycle))}" for cycle in cycles) or "None."
    click.echo(f"## Packages\n\n{markdown(package_table(code))}\n")
    click.echo(f"## Most imported files\n\n{markdown(importers)}\n")
    click.echo(f"## File names that occur more than once\n\n{markdown(names)}\n")
    click.echo(f"## Cycles\n\n{found}")
    sys.exit(bool(cycles))


def package_table(code: CodeBase) -> list[list[str]]:
    """Return heading and a row for each package, with its sub-packages, and one for all."""
    rows = [package_row(code, package, code.within(package)) for package in code.packages()]
    return [list(HEADING), *rows, package_row(code, "all", set(code.files))]


def package_row(code: CodeBase, title: str, modules: Set[str]) -> list[str]:
    """Return the cells of some modules, in the order of HEADING."""
    files = [code.files[name] for name in sorted(modules)]
    functions = sorted(length for file in files for length in file.functions)
    largest = max(files, key=lambda file: file.lines)
    inside = {name: code.arrows[name] & modules for name in modules}
    out = sum(len(code.arrows[name] - modules) for name in modules)
    return [
        title,
        str(len(files)),
        str(sum(file.lines for file in files)),
        f"{statistics.median(functions):g}" if functions else "-",
        str(percentile(functions, 0.9)) if functions else "-",
        str(functions[-1]) if functions else "-",
        f"{largest.module} ({largest.lines})",
        str(sum(map(len, inside.values()))),
        str(out),
        str(len(find_cycles(inside))),
        str(len(sibling_cycles(inside))),
        _sum_not_imperative(code, files),
    ]


def percentile(values: Sequence[int], share: float) -> int:
    """Return the smallest of sorted values that at least `share` of them do not exceed."""
    return values[max(0, math.ceil(share * len(values)) - 1)]


def find_cycles(arrows: Arrows) -> list[frozenset[str]]:
    """Return the sets of modules that reach each other by arrows, also a module that imports itself."""
    reached = {name: _reached_from(name, arrows) for name in arrows}
    cycles = {
        frozenset(other for other in reached[name] if name in reached.get(other, ()))
        for name in arrows
        if name in reached[name]
    }
    return sorted(cycles, key=sorted)


def sibling_cycles(arrows: Arrows) -> list[frozenset[str]]:
    """Return the cycles between neighbours in one package, at least one of which is a package.

    What an `__init__.py` imports of its own package, and what imports it from there, does not count.
    """
    lifted: dict[str, set[str]] = defaultdict(set)
    for name, imported in arrows.items():
        for source, target in (_neighbours(name, other) for other in imported):
            if source is not None and target is not None:
                lifted[source].add(target)
    files = set(find_cycles(arrows))
    return [cycle for cycle in find_cycles(lifted) if cycle not in files]


def most_imported(arrows: Arrows, most: int) -> list[tuple[str, int]]:
    """Return the modules that the most files import, with the number of those files."""
    counts = Counter(other for imported in arrows.values() for other in imported)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]


def repeated_names(files: Iterable[SourceFile]) -> list[tuple[str, int]]:
    """Return the file names that occur more than once, without those that Python prescribes."""
    counts = Counter(file.path.name for file in files)
    repeated = [(name, times) for name, times in counts.items() if times > 1 and not name.startswith("__")]
    return sorted(repeated, key=lambda item: (-item[1], item[0]))


def count_not_imperative(folders: Iterable[Path]) -> dict[Path, int] | None:
    """Count the docstring summaries that ruff's D401 finds not imperative, by file; None without ruff."""
    program = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if program is None:
        return None
    options = ("--isolated", "--no-cache", "--exit-zero", "--select=D401", "--output-format=json")
    told = subprocess.run(
        [program, "check", *options, *map(str, folders)], capture_output=True, text=True, check=True
    )
    return Counter(Path(finding["filename"]).resolve() for finding in json.loads(told.stdout))


def _grimp() -> ModuleType:
    if importlib.util.find_spec("grimp") is None:
        raise click.ClickException(
            "grimp is missing, which reads imports. Install it with: pip install import-linter"
        )
    return importlib.import_module("grimp")


def _folder_of(root: str) -> Path:
    spec = importlib.util.find_spec(root)
    if spec is None or spec.origin is None or not spec.submodule_search_locations:
        raise click.ClickException(
            f"There is no package {root!r} here. Run this in the folder that holds it."
        )
    return Path(spec.origin).resolve().parent


def _read_file(module: str, folders: Mapping[str, Path]) -> SourceFile:
    root, *rest = module.split(".")
    stem = folders[root].joinpath(*rest)
    path = stem / "__init__.py" if stem.is_dir() else stem.with_name(f"{stem.name}.py")
    text = path.read_text(encoding="utf-8")
    nodes = (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    functions = tuple((node.end_lineno or node.lineno) - node.lineno + 1 for node in nodes)
    return SourceFile(module, path, len(text.splitlines()), functions)


def _is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _reached_from(start: str, arrows: Arrows) -> set[str]:
    reached: set[str] = set()
    ahead = [start]
    while ahead:
        new = arrows.get(ahead.pop(), frozenset()) - reached
        reached |= new
        ahead.extend(new)
    return reached


def _neighbours(name: str, other: str) -> tuple[str | None, str | None]:
    """Return the neighbours in one package that hold two modules; None where one module is that package."""
    own, its = name.split("."), other.split(".")
    depth = 0
    while depth < min(len(own), len(its)) and own[depth] == its[depth]:
        depth += 1
    if depth in {len(own), len(its)}:
        return None, None
    return ".".join(own[: depth + 1]), ".".join(its[: depth + 1])


def _sum_not_imperative(code: CodeBase, files: Iterable[SourceFile]) -> str:
    if code.not_imperative is None:
        return "-"
    return str(sum(code.not_imperative.get(file.path, 0) for file in files))


if __name__ == "__main__":
    main()
