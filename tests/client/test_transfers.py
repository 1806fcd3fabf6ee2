"""Zips and big files: streamed, verified, told about, given up."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from devbox_mcp import AsyncDevbox, Devbox, errors

LARGE = os.urandom(1 << 20) * 24


@pytest.fixture
def here(tmp_path: Path) -> Path:
    here = tmp_path / "here"
    here.mkdir()
    return here


def test_a_zip_comes_as_bytes_or_is_saved(box: Devbox, here: Path) -> None:
    box.fs.upload_files({"out.txt": "x", "d/result.csv": "1,2"})
    data = box.fs.download_files(["out.txt", "d"])
    assert sorted(zipfile.ZipFile(io.BytesIO(data)).namelist()) == ["d/", "d/result.csv", "out.txt"]
    saved = box.fs.download_files(["."], to=here / "all.zip")
    assert (saved.files, saved.size, saved.skipped) == (2, (here / "all.zip").stat().st_size, [])
    into = io.BytesIO()
    box.fs.download_files(["out.txt"], to=into)
    assert zipfile.ZipFile(into).read("out.txt") == b"x"
    with pytest.raises(errors.NotFound):
        box.fs.download_files(["missing"], to=here / "all.zip")
    assert (here / "all.zip").stat().st_size == saved.size
    with pytest.raises(errors.InvalidArgument):
        box.fs.download_files([])


def test_a_large_file_goes_up_and_comes_down(box: Devbox, root: Path, here: Path) -> None:
    (here / "data").write_bytes(LARGE)
    os.chmod(here / "data", 0o755)
    told: list[tuple[int, int | None]] = []
    sent = box.fs.upload_large_file(here / "data", "d/data", on_progress=lambda done, total: told.append((done, total)))
    assert (sent.path, sent.size, sent.created) == ("d/data", len(LARGE), True)
    assert sent.sha256 == hashlib.sha256(LARGE).hexdigest()
    assert (root / "d" / "data").read_bytes() == LARGE
    assert os.access(root / "d" / "data", os.X_OK)
    assert told[-1] == (len(LARGE), len(LARGE))
    assert told == sorted(told)
    told.clear()
    got = box.fs.download_large_file(
        "d/data", here / "back", on_progress=lambda done, total: told.append((done, total))
    )
    assert (here / "back").read_bytes() == LARGE
    assert got.sha256 == sent.sha256
    assert told[-1] == (len(LARGE), len(LARGE))


def test_open_files_are_taken_too(box: Devbox, root: Path) -> None:
    assert box.fs.upload_large_file(io.BytesIO(LARGE), "data").size == len(LARGE)
    into = io.BytesIO()
    box.fs.download_large_file("data", into)
    assert into.getvalue() == LARGE


def test_what_on_progress_raises_ends_the_transfer(box: Devbox, root: Path, here: Path) -> None:
    (here / "data").write_bytes(LARGE)
    (root / "data").write_bytes(b"old")

    def stop(done: int, total: int | None) -> None:
        if done > 5_000_000:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        box.fs.upload_large_file(here / "data", "data", on_progress=stop)
    assert (root / "data").read_bytes() == b"old"
    (root / "big").write_bytes(LARGE)
    (here / "data").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        box.fs.download_large_file("big", here / "data", on_progress=stop)
    assert (here / "data").read_bytes() == b"old"
    assert os.listdir(here) == ["data"]
    assert sorted(os.listdir(root)) == ["big", "data"]


def test_errors_tell_which_end_they_are_of(box: Devbox, root: Path, here: Path) -> None:
    with pytest.raises(errors.NotFound, match="on this machine") as caught:
        box.fs.upload_large_file(here / "missing", "x")
    assert caught.value.path == str(here / "missing")
    with pytest.raises(errors.NotFound) as caught:
        box.fs.download_large_file("missing", here / "x")
    assert caught.value.path == "missing"
    box.fs.write_file("a", "x")
    with pytest.raises(errors.NotFound, match="on this machine"):
        box.fs.download_large_file("a", here / "no" / "directory")
    (here / "a").write_text("new")
    with pytest.raises(errors.Exists):
        box.fs.upload_large_file(here / "a", "a", create=True)
    with pytest.raises(errors.Conflict):
        box.fs.upload_large_file(here / "a", "a", if_match="0" * 64)
    assert (root / "a").read_text() == "x"


@pytest.mark.anyio
async def test_the_asynchronous_face_moves_files_too(devbox: str, root: Path, here: Path) -> None:
    (here / "data").write_bytes(LARGE)
    async with AsyncDevbox(devbox) as box:
        await box.fs.upload_large_file(here / "data", "data")
        await box.fs.download_large_file("data", here / "back")
        assert [entry.path async for entry in box.fs.iter_dir()] == ["data"]
    assert (here / "back").read_bytes() == LARGE


def test_memory_stays_flat_however_large_the_file(devbox: str, here: Path) -> None:
    with (here / "data").open("wb") as file:
        for _ in range(8):
            file.write(LARGE)
    program = f"""
from devbox_mcp import Devbox
with Devbox({devbox!r}) as box:
    box.fs.upload_large_file({str(here / "data")!r}, "small", on_progress=None)
    box.fs.download_large_file("small", {str(here / "back")!r})
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 130 * 1024  # KiB; the file alone is 192 MiB
