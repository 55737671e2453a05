"""Read what a client accepts and prefers from the headers of its request."""

import re

WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)

LONGEST_WAIT_S = 60
"""Seconds for which an answer is held back at most, whatever `Prefer: wait` says."""


def takes_gzip(accept_encoding: str) -> bool:
    """Return whether an `Accept-Encoding` header allows gzip."""
    codings = [part.replace(" ", "").lower().partition(";") for part in accept_encoding.split(",")]
    weights = {name: weight for name, _, weight in codings}
    weight = weights.get("gzip", weights.get("*", "q=0"))
    return weight.removeprefix("q=").strip("0.") != "" if weight else True


def wait_preferred(prefer: str | None) -> int | None:
    """Return for how many seconds a `Prefer` header (RFC 7240) wants to wait, at most LONGEST_WAIT_S."""
    found = WAIT.search(prefer or "")
    return min(int(found[1]), LONGEST_WAIT_S) if found else None
