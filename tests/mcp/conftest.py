"""One server of each kind for all modules, every tool published, its directory emptied for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.mcp.door import OUTSIDE, Door, empty, http_server, open_door

#: Each transport and each era once; a module that depends on both asks for all four.
DOORS = ("stdio-handshake", "http-modern")
OPTIONS = ("--toolsets", "all")


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory around ``box``, which is served, with secrets beside it."""
    ground = tmp_path_factory.mktemp("ground") / OUTSIDE
    (ground / "box").mkdir(parents=True)
    (ground / "secret.txt").write_text("not yours")
    (ground / "box-evil").mkdir()
    (ground / "box-evil" / "secret.txt").write_text("not yours either")
    return ground


@pytest.fixture(scope="session")
def url(ground: Path) -> Iterator[str]:
    """An HTTP server on the box."""
    with http_server(ground / "http.log", str(ground / "box"), *OPTIONS) as url:
        yield url


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let a module name the doors that its tests come in by, as ``DOORS``."""
    if "opened" in metafunc.fixturenames:
        metafunc.parametrize("opened", getattr(metafunc.module, "DOORS", DOORS), indirect=True, scope="session")


@pytest.fixture(scope="session")
async def opened(request: pytest.FixtureRequest, ground: Path) -> AsyncIterator[Door]:
    """A client that came in by the door asked for."""
    url = request.getfixturevalue("url") if request.param.startswith("http") else None
    async with open_door(request.param, ground / "box", ground / f"{request.param}.log", url, *OPTIONS) as door:
        yield door


@pytest.fixture
def door(opened: Door) -> Door:
    """An open door and an empty box behind it."""
    empty(opened.box)
    return opened
