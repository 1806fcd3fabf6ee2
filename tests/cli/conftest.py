from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shell import shells

from .command import Command


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory, which is the working directory too, with two projects in it."""
    (tmp_path / "a" / "src").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "src" / "app.py").write_text("import os\n\n\ndef main():\n    return os\n")
    (tmp_path / "a" / "README.md").write_text("Read me\n")
    (tmp_path / "a" / "data.bin").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "a" / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "a" / "run.sh").chmod(0o755)
    return tmp_path


@pytest.fixture
def command(home: Path) -> Iterator[Command]:
    command = Command(home)
    yield command
    command.end_all()


@pytest.fixture(scope="session")
def applets() -> Iterator[Path]:
    with shells.tools_of_busybox() as directory:
        yield directory


@pytest.fixture(params=["local", "guest", "shell"])
def box(request: pytest.FixtureRequest, home: Path) -> str:
    """The directory ``a`` as a DEVBOX of each kind, ready for a path behind its colon."""
    if request.param == "local":
        return str(home / "a")
    if request.param == "guest":
        return f"exec:?root={home}/a"
    applets = request.getfixturevalue("applets")
    return f"exec:{' '.join(shells.with_path(applets))}?root={home}/a"


def names(directory: Path) -> set[str]:
    """Everything beneath a directory, by its path below it."""
    return {os.path.relpath(os.path.join(top, name), directory) for top, dirs, files in os.walk(directory)
            for name in dirs + files}  # fmt: skip
