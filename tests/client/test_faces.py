"""The two faces are one: same names, same types, same words; and what type checkers and programs see of them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import devbox_mcp
from devbox_mcp.client import AsyncDevbox, AsyncFiles, Devbox, Files
from tools import sync_face

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", sync_face.MODULES)
def test_the_sync_face_is_what_its_tool_makes(name: str) -> None:
    made = (sync_face.CLIENT / "blocking" / f"{name}.py").read_text()
    assert sync_face.face(name) == made, "run python -m tools.sync_face"


@pytest.mark.parametrize(("sync", "other"), [(Files, AsyncFiles), (Devbox, AsyncDevbox)])
def test_both_faces_have_the_same_methods_with_the_same_arguments(sync: type, other: type) -> None:
    def methods(face: type) -> dict[str, list[str]]:
        names = [name for name in dir(face) if not name.startswith("_")]
        return {name.removeprefix("a"): list(inspect.signature(getattr(face, name)).parameters) for name in names}

    closing = {"close": ["self"]}
    assert methods(sync) | closing == methods(other) | closing


@pytest.mark.parametrize("face", [Files, AsyncFiles, Devbox, AsyncDevbox])
def test_every_method_is_documented(face: type) -> None:
    for name in dir(face):
        if not name.startswith("_"):
            assert inspect.getdoc(getattr(face, name)), name


def test_the_package_exports_late_and_all_of_it() -> None:
    program = """
import sys
import devbox_mcp
assert not [name for name in sys.modules if name.startswith("devbox_mcp.")], sys.modules
assert "pydantic" not in sys.modules and "asyncio" not in sys.modules
from devbox_mcp import Devbox
assert "pydantic" not in sys.modules and "fsspec" not in sys.modules and "mcp" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    for name in devbox_mcp.__all__:
        assert getattr(devbox_mcp, name).__name__ == name
    assert set(devbox_mcp.__all__) <= set(dir(devbox_mcp))
    with pytest.raises(AttributeError):
        devbox_mcp.no_such_name  # noqa: B018


def test_strict_type_checkers_see_every_type(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        """
import asyncio
from typing import TextIO, BinaryIO, assert_type
from devbox_mcp import Archived, AsyncDevbox, Devbox, Event, FileInfo, Written
from devbox_mcp.client import AsyncFile

with Devbox("x") as box:
    assert_type(box.fs.read_file("a"), str)
    assert_type(box.fs.list_dir(), list[FileInfo])
    assert_type(box.fs.write_file("a", b""), Written)
    assert_type(box.fs.download_files(["a"]), bytes)
    assert_type(box.fs.download_files(["a"], to="x"), Archived)
    assert_type(box.fs.open("a"), TextIO)
    assert_type(box.fs.open("a", "rb"), BinaryIO)
    for event in box.fs.watch():
        assert_type(event, Event)
    for path, directories, files in box.fs.walk():
        assert_type(directories, list[str])

    @box.fs.watch(".")
    def on_change(event: Event) -> int:
        return 1

    assert_type(on_change(Event("created", "a")), int)
    box.fs.upload_large_file("a", "b", on_progress=print)
    box.fs.upload_files({"data.csv": b"", "config.json": ""})


async def main() -> None:
    async with AsyncDevbox("x", api_key="k") as box:
        assert_type(await box.fs.read_file("a"), str)
        assert_type(await box.fs.open("a"), AsyncFile[str])
        assert_type(await box.fs.open("a", "wb"), AsyncFile[bytes])
        async for entry in box.fs.iter_dir():
            assert_type(entry, FileInfo)
"""
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "--follow-imports=silent",
         "--config-file", "", str(tmp_path / "program.py")],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
