"""Mutants are many and the same again; an outcome is judged by what a client may meet."""

from collections import Counter

import httpx
import pytest

from benchmarks.hostile.mutants import ARCHIVES, MUTATIONS, mutants
from benchmarks.hostile.sender import BROKEN, STUCK, is_clear, outcome

GOOD = {"a.tif": b"II*\0\x08\0\0\0\x02\0" + bytes(range(256)) * 20, "b.dcm": b"D" * 5000}


def test_every_kind_is_made_and_made_again() -> None:
    made = list(mutants(GOOD, 300, seed=5))
    assert set(Counter(mutant.kind for mutant in made)) == {*MUTATIONS, *ARCHIVES}
    assert made == list(mutants(GOOD, 300, seed=5))
    changed = [mutant for mutant in made if mutant.content not in GOOD.values()]
    assert len(changed) > 0.9 * len(made)


def service(upload: httpx.Response, state: str) -> httpx.Client:
    """A service that answers every upload so, and whose jobs are in this state."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            return upload
        problem = {"type": "urn:darefine:problem:slide-unreadable"}
        return httpx.Response(200, json={"id": "x", "state": state, "error": problem})

    return httpx.Client(base_url="http://service", transport=httpx.MockTransport(answer))


TAKEN = httpx.Response(201, json={"id": "s"})
REFUSED = httpx.Response(
    422,
    json={"type": "urn:darefine:problem:archive"},
    headers={"content-type": "application/problem+json"},
)


@pytest.mark.parametrize(
    ("upload", "state", "expected"),
    [
        (TAKEN, "succeeded", "succeeded"),
        (TAKEN, "failed", "job failed: slide-unreadable"),
        (REFUSED, "", "422 archive"),
        (httpx.Response(500, text="oh"), "", "500 without a problem document"),
    ],
)
def test_an_outcome_is_named(upload: httpx.Response, state: str, expected: str) -> None:
    assert outcome(service(upload, state), next(mutants(GOOD, 1, seed=5))) == expected


def test_only_refusals_in_words_and_ended_jobs_are_clear() -> None:
    clear = ["422 archive", "413 slide-too-large", "succeeded", "job failed: slide-unreadable"]
    unclear = [
        "500 internal",
        "422 without a problem document",
        STUCK,
        f"{BROKEN}: ReadError",
        "job cancelled",
    ]
    assert [what for what in clear + unclear if is_clear(what)] == clear
