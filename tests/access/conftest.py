"""One server with every kind of caller for all modules, its devboxes put back for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.access.matrix import Ground
from tests.mcp.door import http_server


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground.make(tmp_path_factory.mktemp("access"))


@pytest.fixture(scope="session")
def log(laid_out: Ground) -> Path:
    """What the server writes to stderr."""
    return laid_out.directory / "log"


@pytest.fixture(scope="session")
def url(laid_out: Ground, log: Path) -> Iterator[str]:
    """The address of the MCP door."""
    with http_server(log, *laid_out.options) as url:
        yield url


@pytest.fixture
def ground(laid_out: Ground, url: str) -> Ground:
    """The devboxes as they were in the beginning, and a server on them."""
    laid_out.reset()
    return laid_out
