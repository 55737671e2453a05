#!/usr/bin/env python3
"""Hook of mkdocs: pages that lie outside docs/, a reference page for each package, and links that hold."""

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("darefine", "service", "workers", "model", "wsi")
OUTSIDE = ("ARCHITECTURE.md", "benchmarks/README.md", "benchmarks/results/study-first-edition.md")
"""Pages of the site that lie where readers of the repository look for them."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """List the pages of the folders `decisions/` and `reference/` in the navigation."""
    folders = {
        "decisions/": [
            f"decisions/{page.name}" for page in sorted((ROOT / "docs" / "decisions").glob("*.md"))
        ],
        "reference/": ["reference/index.md", *(f"reference/{package}.md" for package in packages())],
    }
    folders["decisions/"].sort(key=lambda page: (not page.endswith("README.md"), page))
    config.nav = [expanded(entry, folders) for entry in config.nav]
    return config


def expanded(entry: Any, folders: dict[str, list[str]]) -> Any:
    """Return an entry of the navigation with the name of a folder replaced by its pages."""
    if isinstance(entry, dict):
        return {
            title: folders.get(page, page) if isinstance(page, str) else page for title, page in entry.items()
        }
    return entry


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/: some of the repository's, and the reference."""
    from mkdocs.structure.files import File  # noqa: PLC0415  (the linter's environment has no mkdocs)

    for name in OUTSIDE:
        files.append(File.generated(config, name, content=(ROOT / name).read_text(encoding="utf-8")))
    for package in packages():
        files.append(File.generated(config, f"reference/{package}.md", content=reference_page(package)))
    return files


def packages() -> list[str]:
    """Return the dotted names of all packages, rooms in the order of the architecture."""
    found = (path.parent for room in ROOMS for path in sorted((ROOT / room).rglob("__init__.py")))
    return [".".join(folder.relative_to(ROOT).parts) for folder in found]


def reference_page(package: str) -> str:
    """Return the page of a package: each of its modules, from the docstrings."""
    folder = ROOT.joinpath(*package.split("."))
    modules = sorted(path.stem for path in folder.glob("*.py") if path.stem not in {"__init__", "__main__"})
    own = f"::: {package}\n    options:\n      members: false\n      show_root_heading: false\n"
    return f"# {package}\n\n{own}\n" + "\n".join(f"::: {package}.{module}\n" for module in modules)


def on_page_markdown(markdown: str, *, page: Any, files: Any, **_: Any) -> str:
    """Point links at pages of the site; a link to any other file of the repository becomes its name."""
    here = page.file.src_uri
    in_docs = here not in OUTSIDE

    def held(link: re.Match[str]) -> str:
        picture, text, target, anchor = link.group(1), link.group(2), link.group(3), link.group(4) or ""
        if "://" in target:
            return link.group(0)
        path = posixpath.normpath(posixpath.join("docs" if in_docs else "", posixpath.dirname(here), target))
        on_site = path.removeprefix("docs/")
        if files.get_file_from_path(on_site) is not None:
            relative = posixpath.relpath(on_site, posixpath.dirname(here) or ".")
            return f"{picture}[{text}]({relative}{anchor})"
        if not (ROOT / path).exists():
            return link.group(0)  # a dead link: mkdocs says so
        return text if text.strip("`") == path else f"{text} (`{path}`)"

    return LINK.sub(held, markdown)
