"""A root, and a backend on it by way of each shell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from devbox_mcp.backends.shell import ShellBackend
from devbox_mcp.transports.base import ExecTransport
from devbox_mcp.transports.process import ProcessTransport

from . import shells

Make = Callable[..., ShellBackend]


@pytest.fixture(scope="session")
def applets() -> Iterator[Path]:
    with shells.tools_of_busybox() as directory:
        yield directory


@pytest.fixture(params=["dash", "busybox"])
def shell(request: pytest.FixtureRequest) -> str:
    """Each kind of tools: bash has the same as dash."""
    name: str = request.param
    return name


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    directory.mkdir()
    return directory


@pytest.fixture
async def make(shell: str, root: Path, applets: Path) -> AsyncIterator[Make]:
    """Make a backend; ``around`` gets to wrap the transport, ``at`` is another root."""
    made: list[ShellBackend] = []

    def make_(
        around: Callable[[ExecTransport], ExecTransport] | None = None, at: Path | None = None, patience: float = 20
    ) -> ShellBackend:
        before, name = shells.command(shell, applets)
        transport: ExecTransport = ProcessTransport(before)
        backend = ShellBackend(
            transport if around is None else around(transport), str(at or root), shell=[name], patience=2
        )
        made.append(backend)
        return backend

    yield make_
    for backend in made:
        await backend.aclose()


@pytest.fixture
def backend(make: Make) -> ShellBackend:
    return make()
