"""What the operator forbids, asked about where a path really leads."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from devbox_mcp.errors import Denied, DevboxError, ReadOnly
from devbox_mcp.models import Capability

from ..box import Box, at
from ..inside import DIRECTORY, Link
from .operations import CHANGES, NAMES, all_refuse, offered
from .topic import Topic

Open = Callable[..., Awaitable[Box]]

DENY = ["*.key", "secret", "/conf/prod.env", "private/**"]
HIDDEN = {
    "a.key": b"needle",
    "d/b.key": b"needle",
    "secret/f": b"needle",
    "d/secret/e/f": b"needle",
    "conf/prod.env": b"needle",
    "private/f": b"needle",
}
SHOWN = {"f": b"needle", "d/f": b"needle", "conf/dev.env": b"needle", "d/conf/prod.env": b"needle", "key": b"needle"}


class TestDenied(Topic):
    @pytest.fixture
    async def box(self, open_box: Open) -> Box:
        box = await open_box(deny=DENY)
        box.make({**HIDDEN, **SHOWN, "source": b"mine"})
        return box

    async def test_by_name(self, box: Box) -> None:
        await all_refuse(
            box, [*HIDDEN, "secret", "d/secret", "private", "secret/new/f", "new.key", "new/x.key"], Denied
        )

    async def test_by_absolute_paths_beneath_the_root(self, open_box: Open) -> None:
        root = await (await open_box()).backend.root()
        box = await open_box(deny=[f"{root}/top", f"{root}/d/*.pem"])
        box.make({"top/f": b"1", "d/a.pem": b"2", "d/top": b"3", "a.pem": b"4"})
        await all_refuse(box, ["top", "top/f", "d/a.pem"], Denied)
        names = set(await box.names(depth=2))
        assert {"a.pem", "d/top"} <= names
        assert not {"top", "top/f", "d/a.pem"} & names

    async def test_through_a_link(self, box: Box) -> None:
        targets = ["secret", "d/secret", "d/../secret", "{root}/secret", "to-secret", "secret/../secret"]
        box.make({"to-secret": Link("secret"), "d/secret/f": b""})
        for number, target in enumerate(targets):
            box.make({f"l{number}": Link(target.format(root=await box.backend.root()))})
        paths = [f"l{number}/{name}" for number in range(len(targets)) for name in ("f", "new")]
        await all_refuse(box, paths, Denied)

    async def test_through_a_last_link(self, box: Box) -> None:
        box.make({"l": Link("a.key"), "m": Link("l"), "n": Link("new.key")})
        names = {"stat", "hash", "read", "write", "append", "in place", "mkdir", "chmod", "lines", "batch"}
        await all_refuse(box, ["l", "m", "n"], Denied, names=names)

    async def test_lists_hide_it(self, box: Box) -> None:
        names = await box.names(depth=5)
        assert names == ["conf", "conf/dev.env", "d", "d/conf", "d/conf/prod.env", "d/f", "f", "key", "source"]

    async def test_finding_and_searching_hide_it(self, box: Box) -> None:
        if Capability.SEARCH not in box.backend.capabilities:
            pytest.skip("not offered")
        found = await box.backend.find(at("."), "*", ignored=True)
        assert not {entry.path.text for entry in found.entries} & set(HIDDEN)
        matches = await box.backend.search(at("."), "needle", ignored=True)
        assert {match.path.text for match in matches.matches} == set(SHOWN)

    async def test_archives_omit_it(self, box: Box) -> None:
        if Capability.ARCHIVE not in box.backend.capabilities:
            pytest.skip("not offered")
        archive = await box.backend.archive([at(".")], max_bytes=1 << 20, max_files=100)
        data = b"".join([chunk async for chunk in archive])
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            names = {name for name in packed.namelist() if not name.endswith("/")}
        assert names == {*SHOWN, "source"}

    async def test_watches_do_not_tell_it(self, box: Box) -> None:
        if Capability.WATCH not in box.backend.capabilities:
            pytest.skip("not offered")
        cursor = (await box.backend.watch(at("."), timeout=0)).cursor
        box.make({"b.key": b"", "secret/new": b"", "d/secret/new": b"", "d/last": b""})
        box.inside.rename("f", "f.key")
        box.inside.rename("a.key", "a")
        seen: set[str] = set()
        for _ in range(20):
            found = await box.backend.watch(at("."), cursor=cursor, timeout=1)
            cursor = found.cursor
            seen |= {event.path.text for event in found.events}
            seen |= {event.source.text for event in found.events if event.source is not None}
            if {"d/last", "f", "a"} <= seen:
                break
        assert {"d/last", "f", "a"} <= seen
        assert not {path for path in seen if path.endswith(".key") or "secret" in path}

    async def test_a_directory_that_holds_it_stays(self, box: Box) -> None:
        backend = box.backend
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: backend.delete(at("d"), recursive=True),
            lambda: backend.delete(at("conf"), recursive=True),
            lambda: backend.move(at("d"), at("e")),
            lambda: backend.move(at("f"), at("conf"), overwrite=True),
        ]
        for call in calls:
            with box.refuses(*DevboxError.__subclasses__()):
                await call()
        with box.refuses(Denied):
            await backend.delete(at("d"), recursive=True)
        with box.refuses(Denied):
            await backend.move(at("d"), at("e"))

    async def test_a_copy_does_not_bring_it_out(self, box: Box) -> None:
        for source in ("d", "conf"):
            try:
                await box.backend.copy(at(source), at("e"))
            except Denied:
                continue
            copied = box.snapshot("e")
            assert not {path for path in copied if path.endswith(".key") or "secret" in path}
            box.inside.remove("e")

    async def test_a_move_does_not_bring_it_under_another_rule(self, box: Box) -> None:
        # conf/prod.env is denied where it is; moved with its directory it would be open
        with box.refuses(Denied):
            await box.backend.move(at("conf"), at("elsewhere"))

    async def test_modes_of_what_is_denied_stay(self, box: Box) -> None:
        before = {path: box.look(path) for path in HIDDEN}
        with suppress(Denied):
            await box.backend.chmod(at("."), 0o777, recursive=True)
        assert {path: box.look(path) for path in HIDDEN} == before

    async def test_the_rest_is_free(self, box: Box) -> None:
        await box.backend.write(at("d/new"), b"x")
        await box.backend.move(at("d/new"), at("d/newer"))
        await box.backend.delete(at("d/newer"))
        assert await box.read("d/conf/prod.env") == b"needle"


class TestReadOnly(Topic):
    @pytest.fixture
    async def box(self, open_box: Open) -> Box:
        box = await open_box(read_only=True)
        box.make({"d/f": b"needle", "f": b"needle", "source": b"", "l": Link("f"), "e": DIRECTORY})
        return box

    async def test_no_change(self, box: Box) -> None:
        box.inside.give("f", mode=0o604)
        await all_refuse(box, ["f", "d", "d/f", "l", "new", "new/f", "e"], ReadOnly, names=CHANGES)
        assert box.look("f").mode == 0o604

    async def test_looking_is_free(self, box: Box) -> None:
        for operation in offered(box, NAMES - CHANGES):
            await operation.run(box, "d" if operation.name in ("list", "names", "find", "watch") else "f")
