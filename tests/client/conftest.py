"""A directory, and three ways to it: in process, by the guest in a process of its own, and through a gateway."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devbox_mcp import Devbox
from tests.mcp.door import http_server

NAME = "box"


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URL of a devbox behind a gateway on a real socket, and its directory."""
    ground = tmp_path_factory.mktemp("gateway")
    (ground / NAME).mkdir()
    with http_server(ground / "server.log", f"{NAME}={ground / NAME}", "--max-file-size", "4G") as url:
        yield f"{url.removesuffix('/mcp')}/v1/devboxes/{NAME}", ground / NAME


@pytest.fixture(params=["directory", "exec", "gateway"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def root(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The directory, empty."""
    if kind != "gateway":
        (tmp_path / NAME).mkdir()
        return tmp_path / NAME
    root: Path = request.getfixturevalue("gateway")[1]
    for entry in root.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return root


@pytest.fixture
def devbox(kind: str, root: Path, request: pytest.FixtureRequest) -> str:
    """What is written for the directory."""
    if kind == "gateway":
        return str(request.getfixturevalue("gateway")[0])
    return str(root) if kind == "directory" else f"exec:env?root={root}"


@pytest.fixture
def box(devbox: str) -> Iterator[Devbox]:
    with Devbox(devbox) as box:
        yield box


def guests() -> str:
    """Return the processes that this one has started and that still run."""
    assert sys.platform == "linux"
    return "".join(path.read_text() for path in Path("/proc/self/task").glob("*/children"))
