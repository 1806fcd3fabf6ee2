"""A file that arrives in parts, over several connections and servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import anyio
import pytest

from devbox_mcp.errors import (
    Busy,
    Conflict,
    Denied,
    EscapesRoot,
    Exists,
    Integrity,
    InvalidArgument,
    IsDirectory,
    NotFound,
    ReadOnly,
)
from devbox_mcp.models import Capability

from ..box import Box, at, sha256, stream
from ..inside import DIRECTORY, Link
from .topic import Topic

Open = Callable[..., Awaitable[Box]]

TOKEN = "0123456789abcdef"
MIB = 1 << 20
LARGE = bytes(range(256)) * 4096 * 3 + b"the end"


def _hidden(box: Box) -> list[str]:
    return [path for path in box.snapshot() if ".devbox-mcp-" in path]


async def _begun(box: Box, path: str, data: bytes, token: str = TOKEN) -> None:
    await box.backend.upload_begin(at(path), token)
    assert await box.backend.upload_add(at(path), token, 0, data) == len(data)


class Broken(Exception):
    """What breaks a body."""


async def _breaking(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    raise Broken


class TestUploads(Topic):
    capability = Capability.UPLOAD

    async def test_parts_become_the_file_and_nothing_is_seen_before(self, box: Box) -> None:
        await box.backend.upload_begin(at("d/f"), TOKEN)
        assert await box.backend.upload_size(at("d/f"), TOKEN) == 0
        assert await box.backend.upload_add(at("d/f"), TOKEN, 0, b"one ") == 4
        assert await box.backend.upload_add(at("d/f"), TOKEN, 4, stream([b"tw", b"o"])) == 7
        assert await box.backend.upload_size(at("d/f"), TOKEN) == 7
        assert await box.names("d") == []
        written = await box.backend.upload_finish(at("d/f"), TOKEN, 7)
        assert (written.created, written.info.size, written.info.sha256) == (True, 7, sha256(b"one two"))
        assert box.snapshot() == {"d": DIRECTORY, "d/f": b"one two"}
        assert box.look("d/f").mode == 0o666 & ~box.inside.umask()
        for call in (box.backend.upload_size(at("d/f"), TOKEN), box.backend.upload_finish(at("d/f"), TOKEN, 7)):
            with box.refuses(NotFound):
                await call

    async def test_large_parts(self, box: Box) -> None:
        await box.backend.upload_begin(at("f"), TOKEN)
        half = len(LARGE) // 2
        pieces = [LARGE[start : min(start + 300_000, half)] for start in range(0, half, 300_000)]
        assert await box.backend.upload_add(at("f"), TOKEN, 0, stream(pieces)) == half
        assert await box.backend.upload_add(at("f"), TOKEN, half, LARGE[half:]) == len(LARGE)
        written = await box.backend.upload_finish(at("f"), TOKEN, len(LARGE), sha256=sha256(LARGE))
        assert written.info.sha256 == sha256(LARGE)
        assert box.snapshot() == {"f": LARGE}

    async def test_the_empty_file(self, box: Box) -> None:
        await box.backend.upload_begin(at("f"), TOKEN)
        assert await box.backend.upload_add(at("f"), TOKEN, 0, stream([])) == 0
        await box.backend.upload_finish(at("f"), TOKEN, 0)
        assert box.snapshot() == {"f": b""}

    async def test_beginning_twice_keeps_what_arrived(self, box: Box) -> None:
        await _begun(box, "f", b"one")
        await box.backend.upload_begin(at("f"), TOKEN)
        assert await box.backend.upload_size(at("f"), TOKEN) == 3

    async def test_another_server_goes_on(self, box: Box, open_box: Open) -> None:
        other = await open_box()
        await _begun(box, "f", b"one ")
        assert await other.backend.upload_size(at("f"), TOKEN) == 4
        await other.backend.upload_add(at("f"), TOKEN, 4, b"two ")
        await box.backend.upload_add(at("f"), TOKEN, 8, b"three")
        await other.backend.upload_finish(at("f"), TOKEN, 13)
        assert box.snapshot() == {"f": b"one two three"}

    @pytest.mark.parametrize("offset", [0, 2, 4])
    async def test_a_part_for_another_place_is_told_where_it_stands(self, box: Box, offset: int) -> None:
        await _begun(box, "f", b"one")
        for data in (b"more", stream([b"more"]), stream([])):
            with box.refuses(Conflict) as found:
                await box.backend.upload_add(at("f"), TOKEN, offset, data)
            assert found[0].data["size"] == 3
        with box.refuses(Conflict) as found:
            await box.backend.upload_finish(at("f"), TOKEN, offset)
        assert found[0].data["size"] == 3

    async def test_of_a_stream_that_breaks_stays_what_had_come(self, box: Box) -> None:
        await _begun(box, "f", b"one")
        with pytest.raises(Broken):
            await box.backend.upload_add(at("f"), TOKEN, 3, _breaking(LARGE, b"rest"))
        arrived = await box.backend.upload_size(at("f"), TOKEN)
        assert arrived == 3 + len(LARGE) + 4
        await box.backend.upload_finish(at("f"), TOKEN, arrived)
        assert box.snapshot() == {"f": b"one" + LARGE + b"rest"}

    async def test_of_what_is_to_be_added_whole_a_break_drops_all(self, box: Box) -> None:
        await _begun(box, "f", b"one")
        with pytest.raises(Broken):
            await box.backend.upload_add(at("f"), TOKEN, 3, _breaking(LARGE), whole=True)
        assert await box.backend.upload_size(at("f"), TOKEN) == 3
        assert await box.backend.upload_add(at("f"), TOKEN, 3, stream([b"tw", LARGE]), whole=True) == 5 + len(LARGE)
        assert await box.backend.upload_add(at("f"), TOKEN, 5 + len(LARGE), b"o", whole=True) == 6 + len(LARGE)
        await box.backend.upload_finish(at("f"), TOKEN, 6 + len(LARGE))
        assert box.snapshot() == {"f": b"onetw" + LARGE + b"o"}

    async def test_who_comes_while_another_adds_is_told_so(self, box: Box, open_box: Open) -> None:
        other = await open_box()
        await _begun(box, "f", b"one")
        adding, done = anyio.Event(), anyio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield LARGE
            adding.set()
            await done.wait()

        async with anyio.create_task_group() as group:
            group.start_soon(lambda: box.backend.upload_add(at("f"), TOKEN, 3, body(), whole=True))
            await adding.wait()
            for backend in (box.backend, other.backend):
                with pytest.raises(Busy):
                    await backend.upload_add(at("f"), TOKEN, 3, b"x")
                with pytest.raises(Busy):
                    await backend.upload_finish(at("f"), TOKEN, 3)
            done.set()
        assert await box.backend.upload_size(at("f"), TOKEN) == 3 + len(LARGE)

    async def test_of_two_senders_only_one_goes_on(self, box: Box, open_box: Open) -> None:
        other = await open_box()
        await _begun(box, "f", b"one")
        waiting, passed = anyio.Event(), anyio.Event()

        async def body() -> AsyncIterator[bytes]:
            waiting.set()
            await passed.wait()
            yield b"slow"

        async def slow() -> None:
            with pytest.raises(Conflict) as caught:
                await box.backend.upload_add(at("f"), TOKEN, 3, body())
            assert caught.value.data["size"] == 7

        async with anyio.create_task_group() as group:
            group.start_soon(slow)
            await waiting.wait()
            await other.backend.upload_add(at("f"), TOKEN, 3, b"fast")
            passed.set()
        await box.backend.upload_finish(at("f"), TOKEN, 7)
        assert box.snapshot() == {"f": b"onefast"}

    async def test_the_end_is_a_write_like_any_other(self, box: Box) -> None:
        box.make({"f": b"old", "l": Link("f")})
        box.inside.give("f", mode=0o640)
        await _begun(box, "l", b"new")
        written = await box.backend.upload_finish(
            at("l"), TOKEN, 3, if_match=sha256(b"old"), executable=True, sha256=sha256(b"new")
        )
        assert (written.created, written.previous) == (False, sha256(b"old"))
        assert box.snapshot() == {"f": b"new", "l": Link("f")}
        assert box.look("f").mode == 0o750
        await _begun(box, "f", b"er")
        await box.backend.upload_finish(at("f"), TOKEN, 2, mode="append")
        assert box.snapshot()["f"] == b"newer"

    async def test_what_is_not_as_it_was_stays(self, box: Box) -> None:
        box.make({"f": b"old"})
        for error, options in (
            (Conflict, {"if_match": sha256(b"other")}),
            (Exists, {"mode": "create"}),
            (Integrity, {"sha256": sha256(b"other")}),
        ):
            await _begun(box, "f", b"new")
            with pytest.raises(error):
                await box.backend.upload_finish(at("f"), TOKEN, 3, **options)  # type: ignore[arg-type]
            assert box.snapshot() == {"f": b"old"}

    async def test_what_changed_where_it_lies_is_no_success(self, box: Box) -> None:
        await _begun(box, "f", b"one")
        [hidden] = _hidden(box)
        box.make({hidden: b"two"})
        with pytest.raises(Integrity):
            await box.backend.upload_finish(at("f"), TOKEN, 3)
        assert box.snapshot() == {}

    async def test_what_can_be_refused_is_refused_before_anything_arrives(self, box: Box) -> None:
        box.make({"f": b"old", "d": DIRECTORY, "l": Link("../beside")})
        begin = box.backend.upload_begin
        for error, call in (
            (Exists, lambda: begin(at("f"), TOKEN, mode="create")),
            (Conflict, lambda: begin(at("f"), TOKEN, if_match=sha256(b"other"))),
            (Conflict, lambda: begin(at("none"), TOKEN, if_match=sha256(b"other"))),
            (IsDirectory, lambda: begin(at("d"), TOKEN)),
            (EscapesRoot, lambda: begin(at("l"), TOKEN)),
            (InvalidArgument, lambda: begin(at("f"), TOKEN, mode="sideways")),  # type: ignore[arg-type]
        ):
            with box.refuses(error):
                await call()

    @pytest.mark.parametrize("token", ["", "..", "0" * 15, "0" * 17, "G" * 16, "../../../../x", "0" * 16 + "\n"])
    async def test_a_token_is_no_path(self, box: Box, token: str) -> None:
        for call in _calls(box, "f", token):
            with box.refuses(InvalidArgument):
                await call()

    async def test_what_was_never_begun_is_not_there(self, box: Box) -> None:
        for path in ("f", "new/d/f"):
            *rest, abandon = list(_calls(box, path, TOKEN))[1:]
            for call in rest:
                with box.refuses(NotFound):
                    await call()
            await abandon()
            assert box.snapshot() == {}

    async def test_an_abandoned_upload_is_gone(self, box: Box) -> None:
        await _begun(box, "f", b"one")
        for _ in range(2):
            await box.backend.upload_abandon(at("f"), TOKEN)
        assert box.snapshot() == {}
        with box.refuses(NotFound):
            await box.backend.upload_add(at("f"), TOKEN, 3, b"x")

    async def test_a_cancelled_part_leaves_whole_pieces(self, box: Box) -> None:
        await _begun(box, "f", b"one")
        waiting = anyio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield LARGE
            waiting.set()
            await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            group.start_soon(box.backend.upload_add, at("f"), TOKEN, 3, body())
            await waiting.wait()
            group.cancel_scope.cancel()
        arrived = await box.backend.upload_size(at("f"), TOKEN)
        await box.backend.upload_add(at("f"), TOKEN, arrived, LARGE[arrived - 3 :])
        await box.backend.upload_finish(at("f"), TOKEN, 3 + len(LARGE))
        assert box.snapshot() == {"f": b"one" + LARGE}

    async def test_rules_hold_for_uploads_too(self, open_box: Open) -> None:
        box = await open_box(deny=["secret"])
        for call in _calls(box, "secret", TOKEN):
            with box.refuses(Denied):
                await call()
        frozen = await open_box(read_only=True)
        begin, _, *changes = _calls(frozen, "f", TOKEN)
        for call in (begin, *changes):
            with frozen.refuses(ReadOnly):
                await call()


def _calls(box: Box, path: str, token: str) -> Iterator[Callable[[], Awaitable[object]]]:
    """Every method: begin, size, and those that change what was begun."""
    backend = box.backend
    yield lambda: backend.upload_begin(at(path), token)
    yield lambda: backend.upload_size(at(path), token)
    yield lambda: backend.upload_add(at(path), token, 0, b"x")
    yield lambda: backend.upload_add(at(path), token, 0, stream([b"x"]), whole=True)
    yield lambda: backend.upload_finish(at(path), token, 0)
    yield lambda: backend.upload_abandon(at(path), token)
