"""Writing files: atomic, verified, and gentle with what was there."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import anyio
import pytest

from devbox_mcp.errors import EscapesRoot, Exists, IsDirectory, NotDirectory, PermissionDenied

from ..box import Box, at, sha256, stream
from ..inside import DIRECTORY, Hard, Link
from .topic import Topic

LARGE = random.Random(8).randbytes(5 * 1024 * 1024 + 3)


class BodyBroke(Exception):
    """The sender's stream failed."""


class TestWrite(Topic):
    @pytest.mark.parametrize("data", [b"", b"x", b"a\r\nb\x00\xff", LARGE], ids=["empty", "one", "binary", "large"])
    async def test_new_file(self, box: Box, data: bytes) -> None:
        written = await box.backend.write(at("f"), data)
        assert box.snapshot() == {"f": data}
        assert (written.created, written.previous, written.unlinked) == (True, None, 0)
        info = written.info
        assert (info.path, info.type, info.size, info.sha256) == (at("f"), "file", len(data), sha256(data))
        assert info.mode == box.look("f").mode == 0o666 & ~box.inside.umask()

    async def test_replaced_file(self, box: Box) -> None:
        box.make({"f": b"old and longer"})
        written = await box.backend.write(at("f"), b"new")
        assert box.snapshot() == {"f": b"new"}
        assert (written.created, written.info.sha256) == (False, sha256(b"new"))
        assert written.previous in (None, sha256(b"old and longer"))

    @pytest.mark.parametrize("sizes", [[], [0], [0, 1, 0], [1] * 50, [1 << 20, 1 << 20, 7], [3 << 20]], ids=str)
    async def test_streamed_body(self, box: Box, sizes: list[int]) -> None:
        chunks, start = [], 0
        for size in sizes:
            chunks.append(LARGE[start : start + size])
            start += size
        written = await box.backend.write(at("f"), stream(chunks))
        assert box.snapshot() == {"f": LARGE[:start]}
        assert (written.info.size, written.info.sha256) == (start, sha256(LARGE[:start]))

    async def test_missing_parents_are_made(self, box: Box) -> None:
        await box.backend.write(at("a/b/c"), b"x")
        assert box.snapshot() == {"a": DIRECTORY, "a/b": DIRECTORY, "a/b/c": b"x"}
        assert box.look("a/b").mode == 0o777 & ~box.inside.umask()

    async def test_parent_is_a_file(self, box: Box) -> None:
        box.make({"f": b"x"})
        for path in ("f/g", "f/g/h"):
            with box.refuses(NotDirectory):
                await box.backend.write(at(path), b"y")

    @pytest.mark.parametrize("mode", ["overwrite", "append"])
    async def test_directory(self, box: Box, mode: str) -> None:
        box.make({"d": DIRECTORY, "l": Link("d")})
        for path in ("d", "l", "."):
            with box.refuses(IsDirectory):
                await box.backend.write(at(path), b"y", mode=mode)  # type: ignore[arg-type]

    async def test_create(self, box: Box) -> None:
        written = await box.backend.write(at("a/f"), b"x", mode="create")
        assert written.created
        assert box.snapshot() == {"a": DIRECTORY, "a/f": b"x"}

    async def test_create_refuses_whatever_is_there(self, box: Box) -> None:
        box.make({"f": b"x", "d": DIRECTORY, "l": Link("f")})
        for path in ("f", "d", "l"):
            with box.refuses(Exists):
                await box.backend.write(at(path), b"y", mode="create")

    async def test_append(self, box: Box) -> None:
        box.make({"f": b"one\n", "l": Link("f")})
        box.inside.give("f", mode=0o640)
        written = await box.backend.write(at("f"), b"two\n", mode="append")
        assert (written.created, written.info.sha256) == (False, sha256(b"one\ntwo\n"))
        await box.backend.write(at("l"), stream([b"th", b"ree\n"]), mode="append")
        assert box.snapshot() == {"f": b"one\ntwo\nthree\n", "l": Link("f")}
        assert box.look("f").mode == 0o640

    async def test_append_makes_the_file(self, box: Box) -> None:
        written = await box.backend.write(at("f"), b"one", mode="append")
        assert (written.created, box.snapshot()) == (True, {"f": b"one"})

    async def test_append_to_a_large_file(self, box: Box) -> None:
        box.make({"f": LARGE})
        written = await box.backend.write(at("f"), b"end", mode="append")
        assert written.info.sha256 == sha256(LARGE + b"end")
        assert box.snapshot() == {"f": LARGE + b"end"}

    @pytest.mark.parametrize("mode", ["overwrite", "create", "append"])
    async def test_body_that_breaks_leaves_nothing(self, box: Box, mode: str) -> None:
        if mode != "create":
            box.make({"f": b"old"})

        async def body() -> AsyncIterator[bytes]:
            yield LARGE
            raise BodyBroke

        before = box.snapshot()
        for path in ("f", "new/parents/f"):
            with pytest.raises(BodyBroke):
                await box.backend.write(at(path), body(), mode=mode)  # type: ignore[arg-type]
            assert box.snapshot() == before

    async def test_two_writers_never_mix(self, box: Box) -> None:
        async with anyio.create_task_group() as group:
            for letter in b"abcdef":
                body = stream([bytes([letter]) * 100_000] * 3)
                group.start_soon(box.backend.write, at("f"), body)
        (data,) = box.snapshot().values()
        assert isinstance(data, bytes)
        assert (len(data), len(set(data))) == (300_000, 1)


class TestOldFiles(Topic):
    """What a replacement keeps of the file that was there."""

    @pytest.mark.parametrize("mode", [0o600, 0o755, 0o640, 0o666])
    async def test_mode(self, box: Box, mode: int) -> None:
        box.make({"f": b"old"})
        box.inside.give("f", mode=mode)
        written = await box.backend.write(at("f"), b"new")
        assert written.info.mode == box.look("f").mode == mode

    async def test_owner(self, box: Box) -> None:
        box.make({"f": b"old"})
        box.inside.give("f", owner=(1234, 2345))
        await box.backend.write(at("f"), b"new")
        assert (box.look("f").uid, box.look("f").gid) == (1234, 2345)

    async def test_attributes(self, box: Box) -> None:
        box.make({"f": b"old"})
        box.inside.give("f", attributes={"user.note": b"kept \x00 whole"})
        await box.backend.write(at("f"), b"new")
        assert box.look("f").attributes == {"user.note": b"kept \x00 whole"}

    async def test_the_time_moves(self, box: Box) -> None:
        box.make({"f": b"old"})
        before = box.look("f").modified
        await box.backend.write(at("f"), b"new")
        assert box.look("f").modified > before

    async def test_executable_adds_x_where_r_is(self, box: Box) -> None:
        box.make({"f": b"old"})
        box.inside.give("f", mode=0o640)
        await box.backend.write(at("f"), b"new", executable=True)
        assert box.look("f").mode & 0o100
        assert not box.look("f").mode & 0o001

    async def test_a_new_file_may_be_executable(self, box: Box) -> None:
        await box.backend.write(at("f"), b"#!/bin/sh\n", executable=True)
        assert box.look("f").mode == 0o777 & ~box.inside.umask()

    async def test_a_new_file_of_root_belongs_to_the_directory(self, box: Box) -> None:
        box.make({"d": DIRECTORY})
        box.inside.give("d", owner=(1234, 2345))
        await box.backend.write(at("d/new/f"), b"x")
        for path in ("d/new", "d/new/f"):
            assert (box.look(path).uid, box.look(path).gid) == (1234, 2345)

    async def test_setgid_directory_hands_on_its_group(self, box: Box) -> None:
        box.make({"d": DIRECTORY})
        box.inside.give("d", owner=(0, 2345), mode=0o2775)
        await box.backend.write(at("d/f"), b"x")
        await box.backend.mkdir(at("d/e"))
        assert box.look("d/f").gid == box.look("d/e").gid == 2345
        assert box.look("d/e").mode & 0o2000

    async def test_a_link_is_written_through(self, box: Box) -> None:
        box.make({"d/f": b"old", "l": Link("d/f"), "ll": Link("l")})
        written = await box.backend.write(at("ll"), b"new")
        assert box.snapshot() == {"d": DIRECTORY, "d/f": b"new", "l": Link("d/f"), "ll": Link("l")}
        assert not written.created

    async def test_a_dangling_link_is_written_through(self, box: Box) -> None:
        box.make({"d": DIRECTORY, "l": Link("d/new/f")})
        written = await box.backend.write(at("l"), b"x")
        assert written.created
        assert box.snapshot()["d/new/f"] == b"x"
        assert box.snapshot()["l"] == Link("d/new/f")

    async def test_a_link_out_is_not_written_through(self, box: Box) -> None:
        box.make({"../beside/f": b"theirs", "l": Link("../beside/f"), "m": Link("../beside/new")})
        for path in ("l", "m"):
            with box.refuses(EscapesRoot):
                await box.backend.write(at(path), b"x")

    async def test_replacement_breaks_hard_links_and_says_so(self, box: Box) -> None:
        box.make({"f": b"old", "g": Hard("f"), "h": Hard("f")})
        written = await box.backend.write(at("f"), b"new")
        assert written.unlinked == 2
        assert box.snapshot() == {"f": b"new", "g": b"old", "h": b"old"}

    @pytest.mark.parametrize("data", [b"new", b"new and longer"])
    async def test_in_place_keeps_hard_links(self, box: Box, data: bytes) -> None:
        box.make({"f": b"old one", "g": Hard("f")})
        inode = box.look("f").inode
        written = await box.backend.write(at("f"), stream([data[:2], data[2:]]), in_place=True)
        assert (written.unlinked, written.info.sha256, written.info.links) == (0, sha256(data), 2)
        assert box.snapshot() == {"f": data, "g": data}
        assert box.look("f").inode == inode

    async def test_in_place_append(self, box: Box) -> None:
        box.make({"f": b"one", "g": Hard("f")})
        written = await box.backend.write(at("f"), b"two", mode="append", in_place=True)
        assert written.info.sha256 == sha256(b"onetwo")
        assert box.snapshot() == {"f": b"onetwo", "g": b"onetwo"}

    async def test_in_place_makes_a_new_file(self, box: Box) -> None:
        assert (await box.backend.write(at("d/f"), b"x", in_place=True)).created
        assert box.snapshot() == {"d": DIRECTORY, "d/f": b"x"}

    async def test_a_directory_that_takes_no_files(self, box: Box) -> None:
        box.make({"d/f": b"old"})
        box.inside.give("d", mode=0o555)
        with box.inside.unprivileged(), pytest.raises(PermissionDenied):
            await box.backend.write(at("d/g"), b"new")
        assert box.snapshot() == {"d": DIRECTORY, "d/f": b"old"}
