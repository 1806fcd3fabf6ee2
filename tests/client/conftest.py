"""A directory, and two ways to it: in process, and by the guest in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devbox_mcp import Devbox


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "box"
    root.mkdir()
    return root


@pytest.fixture(params=["directory", "exec"])
def devbox(request: pytest.FixtureRequest, root: Path) -> str:
    """What is written for the directory."""
    return str(root) if request.param == "directory" else f"exec:env?root={root}"


@pytest.fixture
def box(devbox: str) -> Iterator[Devbox]:
    with Devbox(devbox) as box:
        yield box


def guests() -> str:
    """Return the processes that this one has started and that still run."""
    assert sys.platform == "linux"
    return "".join(path.read_text() for path in Path("/proc/self/task").glob("*/children"))
