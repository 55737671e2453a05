#!/usr/bin/env python3
"""Fail if a built site loads anything from another host by itself; links that a reader clicks are fine."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

FOREIGN = re.compile(r"\s*(https?:)?//", re.IGNORECASE)
STYLE_URL = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)
UNLOADED = {"canonical", "next", "prev", "alternate", "license", "author"}
"""Values of a link element's `rel` for which browsers load nothing."""


class Loads(HTMLParser):
    """Addresses on other hosts that a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element loads: scripts, styles, fonts, pictures, frames, media."""
        given = {name: value or "" for name, value in attrs}
        values = [given[name] for name in ("src", "srcset", "poster", "data") if name in given]
        if tag == "link" and not set(given.get("rel", "").lower().split()) <= UNLOADED:
            values.append(given.get("href", ""))
        self.found += [value for value in values if FOREIGN.match(value)]
        self.found += STYLE_URL.findall(given.get("style", ""))


def foreign_loads(path: Path) -> list[str]:
    """Return the addresses on other hosts that an HTML or CSS file loads."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".css":
        return STYLE_URL.findall(text)
    page = Loads()
    page.feed(text)
    inline = re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL)
    return page.found + [url for style in inline for url in STYLE_URL.findall(style)]


def main() -> None:
    """Check the site in the folder given; exit with a message if there is none or it loads foreign things."""
    pages = [path for path in Path(sys.argv[1]).rglob("*") if path.suffix in {".html", ".css"}]
    if not pages:
        sys.exit(f"no pages in {sys.argv[1]}")
    found = [f"{path}: {url}" for path in pages for url in foreign_loads(path)]
    if found:
        sys.exit("loaded from other hosts:\n" + "\n".join(found))


if __name__ == "__main__":
    main()
