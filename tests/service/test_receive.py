"""Bodies on their way to the disk: in order, all of them, and none after a write that failed."""

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.receive import ALL_BUFFERS, BUFFER, COPIED_BYTES, WriteBehind

SIZES = [1, 7, COPIED_BYTES - 1, COPIED_BYTES, 100_000, BUFFER, BUFFER + 1]


@given(sizes=st.lists(st.sampled_from(SIZES), max_size=12))
def test_all_is_written_in_order(sizes: list[int]) -> None:
    written = bytearray()
    chunks = [bytes([index + 1]) * size for index, size in enumerate(sizes)]

    async def receive() -> None:
        behind = WriteBehind(written.extend)
        for chunk in chunks:
            await behind.add(chunk)
        await behind.close()

    asyncio.run(receive())
    assert written == b"".join(chunks)
    assert WriteBehind.unwritten == 0


def test_more_is_received_while_it_is_written_but_not_without_bounds() -> None:
    may_write = threading.Event()

    async def receive() -> None:
        behind = WriteBehind(lambda _: may_write.wait(20))
        await behind.add(bytes(BUFFER))
        assert WriteBehind.unwritten == BUFFER
        others = [WriteBehind(lambda _: None) for _ in range(ALL_BUFFERS // BUFFER * 2)]
        for other in others:
            await other.add(bytes(BUFFER // 2 + 1))
        assert WriteBehind.unwritten <= ALL_BUFFERS + BUFFER
        may_write.set()
        for one in (behind, *others):
            await one.close()

    asyncio.run(receive())
    assert WriteBehind.unwritten == 0


def test_nothing_is_written_after_a_write_that_failed() -> None:
    tried: list[int] = []

    def fail(piece: bytes) -> None:
        tried.append(len(piece))
        raise OSError("the disk is gone")

    async def receive() -> None:
        behind = WriteBehind(fail)
        await behind.add(bytes(BUFFER))
        with pytest.raises(OSError, match="gone"):
            await behind.add(bytes(BUFFER))
        await behind.close()

    asyncio.run(receive())
    assert tried == [BUFFER]
    assert WriteBehind.unwritten == 0
