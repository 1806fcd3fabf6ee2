"""Names are bytes: whatever a file system takes, every operation takes, and nothing reads more into it."""

from __future__ import annotations

import io
import os
import zipfile

import pytest

from devbox_mcp.errors import InvalidArgument
from devbox_mcp.guest.names import OWN_PREFIX
from devbox_mcp.models import BatchItem, Capability

from ..box import Box, at
from ..inside import DIRECTORY, Link
from .operations import all_refuse
from .topic import Topic

#: Each would leave a file ``canary`` behind, or fail, if it ever met a shell or an option parser.
ODD = [
    "a b",
    " ",
    "\t",
    "two\nlines",
    "\n",
    "\r",
    "\x1b[31mred\x07",
    "-rf",
    "--help",
    "-",
    "'quote'",
    '"double"',
    "$(touch canary)",
    "`touch canary`",
    "; touch canary #",
    "&& touch canary",
    "| tee canary",
    "> canary",
    "$HOME",
    "~",
    "*",
    "?[a-z]{b,c}",
    "!",
    "#",
    "%s%n",
    "%2e%2e",
    "back\\slash",
    "C:",
    "...",
    "..a",
    ".hidden",
    "trailing.",
    "trailing ",
    "nul",
    "é",
    "e\u0301",
    "\uff0e\uff0e",
    "\u2024\u2024",
    "\u202egnp.exe",
    "\U0001f600",
    os.fsdecode(b"\xff\xfe"),
    os.fsdecode(b"caf\xe9"),
    "x" * 255,
    "é" * 127,
]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class TestNames(Topic):
    async def test_files(self, box: Box) -> None:
        for name in ODD:
            await box.backend.write(at(name), b"one")
            await box.backend.write(at(name), b"two", mode="append")
        assert box.snapshot() == dict.fromkeys(ODD, b"onetwo")
        assert set(await box.names()) == set(ODD)
        for name in ODD:
            assert await box.read(name) == b"onetwo"
            assert (await box.backend.stat(at(name), sha256=True)).path == at(name)
            await box.backend.chmod(at(name), 0o700)
            assert box.look(name).mode == 0o700
            await box.backend.delete(at(name))
            assert name not in box.snapshot()

    async def test_directories(self, box: Box) -> None:
        for name in ODD:
            await box.backend.mkdir(at(f"{name}/{name}"))
            await box.backend.write(at(f"{name}/{name}/{name}"), b"x")
            assert await box.names(name, depth=2) == [f"{name}/{name}", f"{name}/{name}/{name}"]
            await box.backend.copy(at(name), at("copy"))
            await box.backend.move(at(f"copy/{name}/{name}"), at(f"{name}/{name}/moved"))
            assert box.snapshot() == {
                name: DIRECTORY,
                f"{name}/{name}": DIRECTORY,
                f"{name}/{name}/{name}": b"x",
                f"{name}/{name}/moved": b"x",
                "copy": DIRECTORY,
                f"copy/{name}": DIRECTORY,
            }
            await box.backend.delete(at(name), recursive=True)
            await box.backend.delete(at("copy"), recursive=True)

    async def test_links(self, box: Box) -> None:
        for number, name in enumerate(ODD):
            box.make({f"d/{name}": b"x", f"l{number}": Link(f"d/{name}")})
            assert (await box.backend.stat(at(f"l{number}"), follow=False)).target == f"d/{name}"
            assert await box.read(f"l{number}") == b"x"

    async def test_lines(self, box: Box) -> None:
        if Capability.LINES not in box.backend.capabilities:
            pytest.skip("not offered")
        box.make(dict.fromkeys(ODD, b"needle\n"))
        for name in ODD:
            lines = await box.backend.read_lines(at(name), first=1, count=None, max_bytes=100)
            assert (lines.data, lines.info.path) == (b"needle\n", at(name))

    async def test_search(self, box: Box) -> None:
        if Capability.SEARCH not in box.backend.capabilities:
            pytest.skip("not offered")
        box.make({f"d/{name}/{name}": b"needle\n" for name in ODD})
        expected = {at(f"d/{name}/{name}") for name in ODD}
        assert {entry.path for entry in (await box.backend.find(at("d"), "*/*", limit=1000)).entries} == expected
        assert {match.path for match in (await box.backend.search(at("d"), "needle")).matches} == expected
        for name in ("-rf", "two\nlines", "$(touch canary)", "*", os.fsdecode(b"\xff\xfe")):
            assert [entry.path for entry in (await box.backend.find(at(f"d/{name}"), "*")).entries] == [
                at(f"d/{name}/{name}")
            ]

    async def test_archive(self, box: Box) -> None:
        if Capability.ARCHIVE not in box.backend.capabilities:
            pytest.skip("not offered")
        box.make(dict.fromkeys(ODD, b"x"))
        archive = await box.backend.archive([at(".")], max_bytes=1 << 20, max_files=100)
        data = b"".join([chunk async for chunk in archive])
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            names = set(packed.namelist())
        assert len(names) + len(archive.skipped) == len(ODD)
        assert {name for name in ODD if _is_text(name)} <= names

    async def test_batch(self, box: Box) -> None:
        if Capability.BATCH not in box.backend.capabilities:
            pytest.skip("not offered")
        outcomes = await box.backend.write_batch([BatchItem(at(name), name.encode(errors="replace")) for name in ODD])
        assert [(outcome.path, outcome.error) for outcome in outcomes] == [(at(name), None) for name in ODD]
        assert box.snapshot() == {name: name.encode(errors="replace") for name in ODD}

    async def test_names_that_differ_only_in_form_are_two(self, box: Box) -> None:
        for one, other in (("é", "e\u0301"), ("a", "a "), ("%41", "A"), ("..\uff0e", "...")):
            await box.backend.write(at(one), b"one")
            await box.backend.write(at(other), b"other")
            assert (await box.read(one), await box.read(other)) == (b"one", b"other")

    async def test_too_long(self, box: Box) -> None:
        box.make({"source": b"", "d": DIRECTORY})
        await all_refuse(box, ["x" * 256, "d/" + "é" * 128, "x" * 256 + "/y"], InvalidArgument)

    async def test_reserved(self, box: Box) -> None:
        own = f"{OWN_PREFIX}part-1"
        box.make({"source": b"", own: b"half", f"d/{own}/f": b"half", "l": Link(f"d/{own}")})
        paths = [own, f"d/{own}", f"d/{own}/f", f"{OWN_PREFIX}new", OWN_PREFIX, f"{OWN_PREFIX}new/f", "l/f"]
        await all_refuse(box, paths, InvalidArgument)
