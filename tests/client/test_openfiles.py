"""File objects: what is read is of one version, what is written is there as a whole or not at all."""

from __future__ import annotations

import csv
import gc
import io
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest

from devbox_mcp import AsyncDevbox, Devbox, errors


def test_text_by_lines(box: Devbox, root: Path) -> None:
    (root / "a.csv").write_text("x,y\r\n1,2\r\n")
    with box.fs.open("a.csv", newline="") as file:
        assert list(csv.reader(file)) == [["x", "y"], ["1", "2"]]
    with box.fs.open("a.csv") as file:
        assert file.read() == "x,y\n1,2\n"


def test_reads_anywhere_are_those_of_a_local_file(box: Devbox, root: Path) -> None:
    chance = random.Random(7)
    data = chance.randbytes(3_000_000)
    (root / "data").write_bytes(data)
    model = io.BytesIO(data)
    with box.fs.open("data", "rb") as file:
        for _ in range(60):
            if chance.random() < 0.5:
                whence = chance.choice([os.SEEK_SET, os.SEEK_END])
                place = chance.randrange(len(data)) - (len(data) if whence == os.SEEK_END else 0)
                assert file.seek(place, whence) == model.seek(place, whence)
            size = chance.choice([0, 1, 100, 70_000, 900_000])
            assert file.read(size) == model.read(size)
            assert file.tell() == model.tell()
        assert file.read() == model.read()
        assert file.seek(0) == 0
        assert file.read() == data
        assert file.seek(10_000_000) == 10_000_000
        assert file.read(10) == b""


def test_what_is_read_is_of_one_version(box: Devbox, root: Path) -> None:
    box.fs.write_file("data", b"a" * 1_000_000)
    with box.fs.open("data", "rb") as file:
        assert file.read(10) == b"a" * 10
        box.fs.write_file("data", b"b" * 1_000_000)
        file.seek(900_000)
        with pytest.raises(errors.Conflict, match="changed since it was opened"):
            file.read(10)
    with pytest.raises(errors.Conflict):
        box.fs.open("data", "rb", if_match="0" * 64)
    sha256 = box.fs.stat("data", sha256=True).sha256
    with box.fs.open("data", "rb", if_match=sha256) as file:
        assert file.read(1) == b"b"


def test_what_is_written_becomes_the_file_at_its_close(box: Devbox, root: Path) -> None:
    (root / "a").write_text("old")
    with box.fs.open("a", "w") as file:
        file.write("new\n")
        file.flush()
        assert (root / "a").read_text() == "old"
    assert (root / "a").read_text() == "new\n"
    with box.fs.open("a", "ab") as binary:
        assert binary.tell() == 4
        binary.write(b"more")
        assert binary.tell() == 8
        assert not binary.seekable()
    assert (root / "a").read_text() == "new\nmore"


@pytest.mark.parametrize("mode", ["w", "wb", "a", "ab"])
def test_a_block_that_raises_leaves_the_old_file(box: Devbox, root: Path, mode: Any) -> None:
    (root / "a").write_text("old")

    def write_half() -> None:
        with box.fs.open("a", mode) as file:
            file.write(b"half" if "b" in mode else "half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert (root / "a").read_text() == "old"


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_what_nobody_closes_is_not_written(box: Devbox, root: Path, mode: Any) -> None:
    held: list[Any] = [box.fs.open("a", mode)]
    held[0].write(b"half" if "b" in mode else "half")

    def forget() -> None:
        held.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match="a was never closed, and so not written"):
        forget()
    assert not (root / "a").exists()


def test_a_large_file_is_spooled(box: Devbox, root: Path) -> None:
    data = random.Random(3).randbytes(1 << 20)
    with box.fs.open("big", "wb") as file:
        for _ in range(20):
            file.write(data)
    assert (root / "big").read_bytes() == data * 20


def test_programs_that_seek_while_they_write(box: Devbox) -> None:
    with box.fs.open("a.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.txt", "hello")
    with box.fs.open("a.zip", "rb") as file, zipfile.ZipFile(file) as archive:
        assert archive.read("x.txt") == b"hello"


def test_exclusive_and_conditional_writing(box: Devbox, root: Path) -> None:
    with box.fs.open("a", "x") as file:
        file.write("one")
    with pytest.raises(errors.Exists):
        box.fs.open("a", "x")
    other = box.fs.open("a", "w", if_match="0" * 64)
    other.write("two")
    with pytest.raises(errors.Conflict):
        other.close()
    assert other.closed
    assert (root / "a").read_text() == "one"


@pytest.mark.parametrize("mode", ["", "rw", "r+", "rr", "btr", "U"])
def test_other_modes_are_refused(box: Devbox, mode: str) -> None:
    box.fs.write_file("a", "")
    with pytest.raises(errors.InvalidArgument):
        box.fs.open("a", mode)  # type: ignore[call-overload]


def test_bytes_have_no_encoding(box: Devbox) -> None:
    box.fs.write_file("a", "")
    with pytest.raises(errors.InvalidArgument):
        box.fs.open("a", "rb", encoding="utf-8")  # type: ignore[call-overload]


@pytest.mark.anyio
async def test_file_objects_whose_methods_are_awaited(devbox: str, root: Path) -> None:
    async def write_half(box: AsyncDevbox) -> None:
        async with await box.fs.open("a.txt", "wb") as file:
            await file.write(b"half")
            raise ZeroDivisionError

    async with AsyncDevbox(devbox) as box:
        async with await box.fs.open("a.txt", "w") as file:
            await file.write("one\ntwo\n")
            assert not (root / "a.txt").exists()
        async with await box.fs.open("a.txt") as file:
            assert [line async for line in file] == ["one\n", "two\n"]
        with pytest.raises(ZeroDivisionError):
            await write_half(box)
        async with await box.fs.open("a.txt", "rb") as binary:
            assert await binary.seek(4) == 4
            assert await binary.read() == b"two\n"


@pytest.mark.anyio
async def test_a_file_object_of_the_loop_cannot_block_it(devbox: str) -> None:
    async with AsyncDevbox(devbox) as box, await box.fs.open("a.txt", "wb") as file:
        await file.write(b"x")
        with pytest.raises(RuntimeError, match="await its methods"):
            file.wrapped.close()
