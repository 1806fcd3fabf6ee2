"""Lines over real pipes: in any pieces, of any length, to slow readers and to none."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from devbox_mcp.servers.mcp.pipes import LineReader, LineWriter

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe whose ends the test may close or give away."""
    ends = os.pipe()
    seen = [os.fstat(end).st_ino for end in ends]
    yield ends
    for end, inode in zip(ends, seen, strict=True):
        try:
            if os.fstat(end).st_ino == inode:
                os.close(end)
        except OSError:
            continue


class Heard:
    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.ends = 0
        self._ended = asyncio.Event()

    def end(self) -> None:
        self.ends += 1
        self._ended.set()

    async def until_ended(self) -> None:
        await asyncio.wait_for(self._ended.wait(), 20)


async def heard(read_end: int, write_end: int, pieces: list[bytes], longest: int = 1000) -> Heard:
    listener = Heard()
    reader = LineReader(read_end, listener.lines.append, listener.end, longest)
    for piece in pieces:
        os.write(write_end, piece)
        await asyncio.sleep(0.002)
    os.close(write_end)
    await listener.until_ended()
    reader.close()
    return listener


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\n"], [b"a"]),
        ([b"a\nb\nc\n"], [b"a", b"b", b"c"]),
        ([b"a", b"b", b"\n", b"c\n"], [b"ab", b"c"]),
        ([b"a\nb", b"c\nd"], [b"a", b"bc", b"d"]),
        ([b"\n\n", b"  \n", b"\r\n", b"a\n"], [b"a"]),
        ([b"a\r\n"], [b"a\r"]),
        ([b"no end"], [b"no end"]),
        ([], []),
    ],
)
async def test_lines_arrive_whole_and_blank_ones_not(
    pipe: tuple[int, int], pieces: list[bytes], lines: list[bytes]
) -> None:
    listener = await heard(*pipe, pieces)
    assert (listener.lines, listener.ends) == (lines, 1)


async def test_a_line_that_is_too_long_is_the_end(pipe: tuple[int, int]) -> None:
    listener = Heard()
    LineReader(pipe[0], listener.lines.append, listener.end, 1000)
    os.write(pipe[1], b"short\n" + b"x" * 600)
    await asyncio.sleep(0.01)
    assert not listener.ends
    os.write(pipe[1], b"x" * 600)
    await listener.until_ended()
    assert (listener.lines, listener.ends) == ([b"short"], 1)


async def test_a_big_line_comes_through_whole(pipe: tuple[int, int]) -> None:
    lost = Heard()
    writer = LineWriter(pipe[1], lost.end)
    listener = Heard()
    reader = LineReader(pipe[0], listener.lines.append, listener.end, 1 << 30)
    sent = [os.urandom(1 << 20).replace(b"\n", b"\0") * 5, b"small", b"y" * (3 << 20)]
    for line in sent:
        await writer.write(line)
    await writer.flush()
    writer.close()
    await listener.until_ended()
    reader.close()
    assert listener.lines == sent
    assert not lost.ends


async def test_order_is_kept_while_the_pipe_is_full(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1], Heard().end)
    sent = [b"%d:" % number + b"z" * 50_000 for number in range(15)]
    for line in sent:  # together less than what makes a sender wait
        async with asyncio.timeout(20):
            await writer.write(line)
    listener = Heard()
    reader = LineReader(pipe[0], listener.lines.append, listener.end, 1 << 20)
    await writer.flush()
    writer.close()
    await listener.until_ended()
    reader.close()
    assert listener.lines == sent


async def test_a_sender_waits_for_a_slow_reader(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1], Heard().end)
    sending = asyncio.create_task(writer.write(b"x" * (4 << 20)))
    await asyncio.sleep(0.05)
    assert not sending.done()
    listener = Heard()
    reader = LineReader(pipe[0], listener.lines.append, listener.end, 1 << 30)
    async with asyncio.timeout(20):
        await sending
    writer.close()
    await listener.until_ended()
    reader.close()
    assert [len(line) for line in listener.lines] == [4 << 20]


async def test_pieces_of_a_line_are_made_when_there_is_room_for_them(pipe: tuple[int, int]) -> None:
    made = 0

    def pieces() -> Iterator[bytes]:
        nonlocal made
        for made in range(1, 65):
            yield b"%02d" % made * 50_000

    writer = LineWriter(pipe[1], Heard().end)
    await writer.write(b"before")
    sending = asyncio.create_task(writer.write(pieces()))
    await asyncio.sleep(0.05)
    assert 0 < made < 10
    behind = asyncio.create_task(writer.write(b"behind"))
    await asyncio.sleep(0)
    listener = Heard()
    reader = LineReader(pipe[0], listener.lines.append, listener.end, 1 << 30)
    async with asyncio.timeout(20):
        await asyncio.gather(sending, behind)
        await writer.flush()
    writer.close()
    await listener.until_ended()
    reader.close()
    assert listener.lines == [b"before", b"".join(b"%02d" % number * 50_000 for number in range(1, 65)), b"behind"]


@pytest.mark.parametrize("gone", ["reader", "writer"])
async def test_a_line_in_pieces_ends_where_nobody_reads_it(pipe: tuple[int, int], gone: str) -> None:
    writer = LineWriter(pipe[1], Heard().end)
    sending = asyncio.create_task(writer.write(iter([b"x" * 100_000] * 100)))
    await asyncio.sleep(0.01)
    if gone == "reader":
        os.close(pipe[0])
    else:
        writer.close()
    async with asyncio.timeout(20):
        await sending
    writer.close()


async def test_a_reader_that_is_gone_is_told_and_nobody_waits(pipe: tuple[int, int]) -> None:
    lost = Heard()
    writer = LineWriter(pipe[1], lost.end)
    sending = asyncio.create_task(writer.write(b"x" * (4 << 20)))
    await asyncio.sleep(0.01)
    os.close(pipe[0])
    async with asyncio.timeout(20):
        await sending
        await writer.write(b"dropped")
        await writer.flush()
    writer.close()
    assert lost.ends == 1


async def test_a_writer_that_is_closed_wakes_who_waits(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1], Heard().end)
    sending = asyncio.create_task(writer.write(b"x" * (4 << 20)))
    await asyncio.sleep(0.01)
    writer.close()
    async with asyncio.timeout(20):
        await sending
