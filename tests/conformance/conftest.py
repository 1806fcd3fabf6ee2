"""The fixtures of the suite. A backend's own test file adds one: ``harness``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.guest.policy import Policy

from .box import Box, Harness


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """An empty directory where a flush costs nothing, if there is such a place."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.fixture
async def open_box(harness: Harness) -> AsyncIterator[Callable[..., Awaitable[Box]]]:
    """Opens the backend with a policy, read-only or with deny-globs, and closes it afterwards."""
    opened: list[Backend] = []

    async def open_(deny: Sequence[str] = (), read_only: bool = False) -> Box:
        backend = await harness.open(Policy(deny, read_only))
        opened.append(backend)
        return Box(backend, harness.inside)

    yield open_
    for backend in opened:
        await backend.aclose()


@pytest.fixture
async def box(open_box: Callable[..., Awaitable[Box]]) -> Box:
    """The backend with nothing forbidden, on an empty root."""
    return await open_box()
