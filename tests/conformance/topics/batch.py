"""Many files in one call."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from devbox_mcp.errors import Conflict, DevboxError, EscapesRoot, InvalidArgument, IsDirectory, NotDirectory
from devbox_mcp.models import BatchItem, BatchOutcome, Capability

from ..box import Box, at, sha256
from ..inside import DIRECTORY, Hard, Link
from .topic import Topic


async def _write(box: Box, files: dict[str, bytes], atomic: bool = False) -> Sequence[BatchOutcome]:
    return await box.backend.write_batch([BatchItem(at(path), data) for path, data in files.items()], atomic=atomic)


def _codes(outcomes: Sequence[BatchOutcome]) -> list[str | None]:
    """Return the error code of each, None where it went well."""
    codes: list[str | None] = []
    for outcome in outcomes:
        assert (outcome.written is None) != (outcome.error is None)
        assert outcome.error is None or isinstance(outcome.error, DevboxError)
        codes.append(None if outcome.error is None else outcome.error.code)
    return codes


@pytest.mark.parametrize("atomic", [False, True])
class TestBatch(Topic):
    capability = Capability.BATCH

    async def test_all_well(self, box: Box, atomic: bool) -> None:
        box.make({"old": b"old", "d": DIRECTORY})
        outcomes = await _write(box, {"old": b"new", "d/a": b"", "e/f/g": b"x" * 100_000}, atomic)
        assert _codes(outcomes) == [None] * 3
        assert [outcome.path.text for outcome in outcomes] == ["old", "d/a", "e/f/g"]
        created = [outcome.written.created for outcome in outcomes if outcome.written is not None]
        hashes = [outcome.written.info.sha256 for outcome in outcomes if outcome.written is not None]
        assert created == [False, True, True]
        assert hashes == [sha256(b"new"), sha256(b""), sha256(b"x" * 100_000)]
        assert box.snapshot() == {
            "old": b"new",
            "d": DIRECTORY,
            "d/a": b"",
            "e": DIRECTORY,
            "e/f": DIRECTORY,
            "e/f/g": b"x" * 100_000,
        }

    async def test_nothing(self, box: Box, atomic: bool) -> None:
        assert await box.backend.write_batch([], atomic=atomic) == []

    async def test_many(self, box: Box, atomic: bool) -> None:
        files = {f"d{number % 7}/f{number}": b"%d" % number for number in range(100)}
        assert set(_codes(await _write(box, files, atomic))) == {None}
        assert {path: entry for path, entry in box.snapshot().items() if entry is not DIRECTORY} == files

    async def test_executable(self, box: Box, atomic: bool) -> None:
        items = [BatchItem(at("run"), b"", executable=True), BatchItem(at("f"), b"")]
        assert _codes(await box.backend.write_batch(items, atomic=atomic)) == [None, None]
        umask = box.inside.umask()
        assert (box.look("run").mode, box.look("f").mode) == (0o777 & ~umask, 0o666 & ~umask)

    async def test_old_files_keep_their_mode_and_links_their_place(self, box: Box, atomic: bool) -> None:
        box.make({"f": b"old", "l": Link("f")})
        box.inside.give("f", mode=0o600)
        assert _codes(await _write(box, {"l": b"new"}, atomic)) == [None]
        assert box.snapshot() == {"f": b"new", "l": Link("f")}
        assert box.look("f").mode == 0o600

    async def test_versions(self, box: Box, atomic: bool) -> None:
        box.make({"a": b"a", "b": b"b"})
        items = [BatchItem(at(name), b"new", if_match=sha256(name.encode())[:12]) for name in "ab"]
        assert _codes(await box.backend.write_batch(items, atomic=atomic)) == [None, None]
        assert box.snapshot() == {"a": b"new", "b": b"new"}

    async def test_a_refused_file(self, box: Box, atomic: bool) -> None:
        box.make({"old": b"old", "d": DIRECTORY, "l": Link("../beside"), "stale": b"now", "hard": Hard("old")})
        box.inside.give("old", mode=0o640)
        before = box.snapshot("..")
        items = [
            BatchItem(at("old"), b"new"),
            BatchItem(at("d"), b"x"),
            BatchItem(at("old/f"), b"x"),
            BatchItem(at("l"), b"x"),
            BatchItem(at("stale"), b"x", if_match=sha256(b"then")),
            BatchItem(at("gone"), b"x", if_match=sha256(b"then")),
            BatchItem(at("f"), b"x", if_match="nonsense"),
            BatchItem(at("new/f"), b"y"),
        ]
        outcomes = await box.backend.write_batch(items, atomic=atomic)
        errors = [None, IsDirectory, NotDirectory, EscapesRoot, Conflict, Conflict, InvalidArgument, None]
        codes = _codes(outcomes)
        if atomic:
            assert None not in codes
            assert set(codes) & {error.code for error in errors if error is not None}
            assert box.snapshot("..") == before
            assert (box.look("old").mode, box.look("old").links) == (0o640, 2)
        else:
            assert codes == [None if error is None else error.code for error in errors]
            assert box.snapshot("..") == {
                **before,
                "root/old": b"new",
                "root/new": DIRECTORY,
                "root/new/f": b"y",
            }

    @pytest.mark.parametrize("position", [0, 3, 6])
    async def test_wherever_the_refused_one_stands(self, box: Box, atomic: bool, position: int) -> None:
        box.make({f"old{number}": b"old" for number in range(3)})
        names = [f"old{number}" for number in range(3)] + [f"new{number}/f" for number in range(3)]
        items = [BatchItem(at(name), b"new") for name in names]
        items.insert(position, BatchItem(at("."), b"x"))
        before = box.snapshot()
        codes = _codes(await box.backend.write_batch(items, atomic=atomic))
        assert codes[position] == "is_directory"
        if atomic:
            assert None not in codes
            assert box.snapshot() == before
        else:
            assert codes.count(None) == 6
            assert {box.snapshot()[name] for name in names} == {b"new"}

    async def test_one_path_twice(self, box: Box, atomic: bool) -> None:
        items = [BatchItem(at("f"), b"one"), BatchItem(at("g"), b"x"), BatchItem(at("f"), b"two")]
        codes = _codes(await box.backend.write_batch(items, atomic=atomic))
        # either the later one wins, or the double is refused: never a success that is not there
        if codes[2] is None:
            assert box.snapshot() == {"f": b"two", "g": b"x"}
        else:
            assert codes[2] == "invalid_argument"
            assert box.snapshot() == ({} if atomic else {"f": b"one", "g": b"x"})
