"""One server of each kind for a test module, all tools published, its directory emptied for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.mcp.door import OUTSIDE, Door, empty, http_door, http_server, stdio_door

#: Each transport and each era once; what depends on both asks for all four.
DOORS = ("stdio-handshake", "http-modern")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory around ``box``, which is served, with a secret beside it."""
    ground = tmp_path_factory.mktemp("ground") / OUTSIDE
    (ground / "box").mkdir(parents=True)
    (ground / "secret.txt").write_text("not yours")
    (ground / "box-evil").mkdir()
    (ground / "box-evil" / "secret.txt").write_text("not yours either")
    return ground


@pytest.fixture(scope="module")
def options() -> list[str]:
    """Options of the servers; a module may have its own."""
    return ["--toolsets", "all"]


@pytest.fixture(scope="module")
def url(ground: Path, options: list[str]) -> Iterator[str]:
    """An HTTP server on the box."""
    with http_server(ground / "http.log", str(ground / "box"), *options) as url:
        yield url


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let a module name the doors that its tests come in by, as ``DOORS``."""
    if "opened" in metafunc.fixturenames:
        metafunc.parametrize("opened", getattr(metafunc.module, "DOORS", DOORS), indirect=True, scope="module")


@pytest.fixture(scope="module")
async def opened(request: pytest.FixtureRequest, ground: Path, options: list[str]) -> AsyncIterator[Door]:
    """A client that came in by the door asked for."""
    transport, era = request.param.split("-")
    mode = "legacy" if era == "handshake" else "auto"
    box = ground / "box"
    if transport == "stdio":
        async with stdio_door(box, ground / f"{request.param}.log", *options, mode=mode) as door:
            yield door
    else:
        async with http_door(box, request.getfixturevalue("url"), mode=mode) as door:
            yield door


@pytest.fixture
def door(opened: Door) -> Door:
    """An open door and an empty box behind it."""
    empty(opened.box)
    return opened
