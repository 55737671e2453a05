"""The sweeper goes on, whatever a sweep fails of."""

import asyncio

import pytest

from service.slides import sweeper


def test_a_sweep_that_fails_ends_neither_the_others_nor_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "EVERY_S", 0.001)
    seen: list[str] = []

    def fail() -> None:
        seen.append("fails")
        raise ValueError(seen)

    async def sweep_twice() -> None:
        with sweeper.sweeping(fail, lambda: seen.append("works")):
            while len(seen) < 4:
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(sweep_twice(), 10))
    assert seen[:4] == ["fails", "works"] * 2
