"""Compare-and-set: a change happens only to the version that the caller has seen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

from devbox_mcp.errors import Conflict, InvalidArgument

from ..box import Box, at, sha256, stream
from ..inside import Link
from .topic import Topic

OLD = b"old\n"
CURRENT = sha256(OLD)

Change = Callable[[Box, str], Awaitable[object]]

#: Every way to change the file ``f`` under the condition that it is this version.
CHANGES: dict[str, Change] = {
    "overwrite": lambda box, version: box.backend.write(at("f"), b"new", if_match=version),
    "stream": lambda box, version: box.backend.write(at("f"), stream([b"n", b"ew"]), if_match=version),
    "append": lambda box, version: box.backend.write(at("f"), b"new", mode="append", if_match=version),
    "in place": lambda box, version: box.backend.write(at("f"), b"new", in_place=True, if_match=version),
    "delete": lambda box, version: box.backend.delete(at("f"), if_match=version),
    "move": lambda box, version: box.backend.move(at("f"), at("g"), if_match=version),
}


class TestVersions(Topic):
    @pytest.fixture(params=list(CHANGES.values()), ids=list(CHANGES))
    def change(self, request: pytest.FixtureRequest) -> Change:
        chosen: Change = request.param
        return chosen

    async def test_a_prefix_of_the_hash_matches(self, box: Box, change: Change) -> None:
        for length in (12, 13, 40, 64):
            box.make({"f": OLD})
            await change(box, CURRENT[:length])
            assert box.snapshot() in ({"f": b"new"}, {"f": b"old\nnew"}, {}, {"g": OLD})
            for path in box.snapshot():
                box.inside.remove(path)

    async def test_another_version_is_a_conflict(self, box: Box, change: Change) -> None:
        box.make({"f": OLD})
        last = "1" if CURRENT[-1] == "0" else "0"
        for version in (sha256(b"other"), CURRENT[:12] + "0" * 52, CURRENT[:-1] + last):
            with box.refuses(Conflict) as found:
                await change(box, version)
            assert found[0].data["sha256"] == CURRENT

    async def test_a_missing_file_is_a_conflict(self, box: Box, change: Change) -> None:
        with box.refuses(Conflict) as found:
            await change(box, CURRENT)
        assert found[0].data["sha256"] is None

    async def test_what_is_no_version_is_refused(self, box: Box, change: Change) -> None:
        box.make({"f": OLD})
        short, odd = CURRENT[:11], CURRENT[:11] + "g"
        for version in (
            "",
            short,
            odd,
            CURRENT.upper(),
            CURRENT + "0",
            f'"{CURRENT}"',
            f" {CURRENT}",
            CURRENT + "\n",
            "*",
        ):
            with box.refuses(InvalidArgument):
                await change(box, version)

    async def test_the_empty_file_has_a_version_too(self, box: Box, change: Change) -> None:
        box.make({"f": b""})
        await change(box, sha256(b"")[:12])
        assert box.snapshot() in ({"f": b"new"}, {}, {"g": b""})

    async def test_through_a_link_the_target_counts(self, box: Box) -> None:
        box.make({"f": OLD, "l": Link("f")})
        with box.refuses(Conflict):
            await box.backend.write(at("l"), b"new", if_match=sha256(b"f"))
        await box.backend.write(at("l"), b"new", if_match=CURRENT)
        assert box.snapshot() == {"f": b"new", "l": Link("f")}

    async def test_a_conflict_makes_no_parents(self, box: Box) -> None:
        with box.refuses(Conflict):
            await box.backend.write(at("a/b/f"), b"new", if_match=CURRENT)

    async def test_the_answer_of_a_write_is_the_next_version(self, box: Box) -> None:
        version = (await box.backend.write(at("f"), b"1")).info.sha256
        for data in (b"2", b"3"):
            version = (await box.backend.write(at("f"), data, if_match=version)).info.sha256
        assert box.snapshot() == {"f": b"3"}

    async def test_no_update_is_lost(self, box: Box) -> None:
        box.make({"f": b""})
        acknowledged: list[bytes] = []

        async def writer(name: int) -> None:
            for number in range(8):
                line = b"%d.%d\n" % (name, number)
                while line not in acknowledged:
                    data = await box.read("f")
                    try:
                        await box.backend.write(at("f"), data + line, if_match=sha256(data))
                    except Conflict:
                        continue
                    acknowledged.append(line)

        async with anyio.create_task_group() as group:
            for name in range(4):
                group.start_soon(writer, name)
        data = box.snapshot()["f"]
        assert isinstance(data, bytes)
        # in whatever order the answers came
        assert sorted(data.splitlines(keepends=True)) == sorted(acknowledged)
        assert len(acknowledged) == 32
