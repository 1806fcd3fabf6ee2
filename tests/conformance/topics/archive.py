"""Archives: a zip of what is there, with modes, times and links."""

from __future__ import annotations

import io
import stat
import time
import zipfile

import pytest

from devbox_mcp.errors import Conflict, EscapesRoot, NotFound, TooLarge
from devbox_mcp.guest.names import OWN_PREFIX
from devbox_mcp.models import Archive, Capability

from ..box import Box, at
from ..inside import DIRECTORY, MADE, Entry, Link
from .topic import Topic

LARGE = bytes(range(256)) * 20_000


async def _pack(box: Box, *paths: str, max_bytes: int = 1 << 30, max_files: int = 1000) -> tuple[Archive, bytes]:
    archive = await box.backend.archive([at(path) for path in paths], max_bytes=max_bytes, max_files=max_files)
    return archive, b"".join([chunk async for chunk in archive])


def _unpack(data: bytes) -> dict[str, Entry]:
    """Return what is in a zip as a snapshot shows it."""
    found: dict[str, Entry] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        assert packed.testzip() is None
        assert len(set(packed.namelist())) == len(packed.namelist())
        for member in packed.infolist():
            content = packed.read(member)
            if stat.S_ISLNK(member.external_attr >> 16):
                found[member.filename] = Link(content.decode())
            elif member.is_dir():
                found[member.filename.rstrip("/")] = DIRECTORY
            else:
                found[member.filename] = content
    return found


class TestArchive(Topic):
    capability = Capability.ARCHIVE

    async def test_everything(self, box: Box) -> None:
        box.make({"a/f": b"x", "a/empty": DIRECTORY, "b": LARGE, "none": b"", "a/l": Link("f"), "a/m": Link("gone")})
        archive, data = await _pack(box, ".")
        assert _unpack(data) == box.snapshot()
        assert archive.skipped == []
        assert archive.bytes >= len(LARGE)

    async def test_some_paths_by_their_names_from_the_root(self, box: Box) -> None:
        box.make({"a/b/f": b"x", "a/c/g": b"y", "d": b"z", "e": b"not asked for"})
        _, data = await _pack(box, "a/b", "d")
        found = _unpack(data)
        assert {path: entry for path, entry in found.items() if entry is not DIRECTORY} == {"a/b/f": b"x", "d": b"z"}

    async def test_one_path_twice_is_packed_once(self, box: Box) -> None:
        box.make({"a/f": b"x", "b": b"y"})
        _, data = await _pack(box, "a", "a/f", "b", "a", "b")
        assert _unpack(data) == {"a": DIRECTORY, "a/f": b"x", "b": b"y"}

    async def test_modes_and_times(self, box: Box) -> None:
        box.make({"f": b"x", "run": b"y", "d": DIRECTORY})
        box.inside.give("run", mode=0o755)
        box.inside.give("f", mode=0o640)
        box.inside.give("d", mode=0o750)
        _, data = await _pack(box, ".")
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            modes = {member.filename.rstrip("/"): member.external_attr >> 16 for member in packed.infolist()}
            assert modes == {"f": 0o100640, "run": 0o100755, "d": 0o040750}
            shown = time.mktime((*packed.getinfo("f").date_time, 0, 0, -1))
        # a zip counts in steps of two seconds, in a time zone that it does not tell
        assert (shown - MADE) % 900 <= 2 or (MADE - shown) % 900 <= 2

    async def test_links_are_stored_never_followed(self, box: Box) -> None:
        box.make({"../beside/f": b"theirs", "d/l": Link("../../beside"), "d/m": Link("../../beside/f")})
        _, data = await _pack(box, "d")
        assert _unpack(data) == {"d": DIRECTORY, "d/l": Link("../../beside"), "d/m": Link("../../beside/f")}
        assert b"theirs" not in data

    async def test_through_a_link_out(self, box: Box) -> None:
        box.make({"../beside/f": b"theirs", "l": Link("../beside")})
        with box.refuses(EscapesRoot):
            await _pack(box, "l/f")

    async def test_temporaries_are_left_out(self, box: Box) -> None:
        box.make({"d/f": b"x", f"d/{OWN_PREFIX}part-1": b"half"})
        _, data = await _pack(box, "d")
        assert _unpack(data) == {"d": DIRECTORY, "d/f": b"x"}

    async def test_empty_directory(self, box: Box) -> None:
        archive, data = await _pack(box, ".")
        assert (_unpack(data), archive.skipped) == ({}, [])

    async def test_too_many_bytes(self, box: Box) -> None:
        box.make({"a": b"x" * 600, "b": b"x" * 600})
        with box.refuses(TooLarge):
            await _pack(box, ".", max_bytes=1000)
        await _pack(box, ".", max_bytes=1200)

    async def test_too_many_files(self, box: Box) -> None:
        box.make({f"f{number}": b"" for number in range(5)})
        with box.refuses(TooLarge):
            await _pack(box, ".", max_files=4)
        await _pack(box, ".", max_files=5)

    async def test_missing(self, box: Box) -> None:
        box.make({"f": b"x"})
        with box.refuses(NotFound):
            await _pack(box, "f", "gone")

    async def test_given_up(self, box: Box) -> None:
        box.make({"d/f": LARGE * 3})
        for chunks in (0, 1):
            archive = await box.backend.archive([at("d")], max_bytes=1 << 30, max_files=10)
            stream = aiter(archive)
            for _ in range(chunks):
                await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]

    async def test_progress(self, box: Box) -> None:
        box.make({"a": LARGE, "b": LARGE})
        calls: list[int] = []
        archive = await box.backend.archive(
            [at(".")], max_bytes=1 << 30, max_files=10, on_progress=lambda done, _: calls.append(done)
        )
        async for _ in archive:
            pass
        assert calls == sorted(calls)
        assert calls[-1] > 0

    @pytest.mark.parametrize("change", [b"less", LARGE + b"and more"], ids=["shrinks", "grows"])
    async def test_a_file_that_changes_meanwhile_is_whole_or_an_error(self, box: Box, change: bytes) -> None:
        box.make({"a": LARGE, "b": LARGE})
        archive = await box.backend.archive([at(".")], max_bytes=1 << 30, max_files=10)
        stream = aiter(archive)
        data = await anext(stream)
        box.make({"b": change})
        try:
            data += b"".join([chunk async for chunk in stream])
        except Conflict:
            return
        assert _unpack(data)["b"] in (LARGE, change)
