"""Resumable uploads over connections that break: what is told to have arrived has, and the rest can be added."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.errors import Unavailable
from devbox_mcp.paths import SandboxPath
from devbox_mcp.session.calls import ConnectionLost

from .conftest import CutTransport, leftovers

OpenBackend = Callable[..., ExecBackend]
F = SandboxPath("f")
NEVER = float("inf")
MIB = 1 << 20
TOKEN = "0123456789abcdef"
#: The guest's source and the greetings, roughly.
OPENING = 200_000
DATA = random.Random(1).randbytes(8 * MIB)


async def pieces(data: bytes, size: int = 300_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("cut", [1, MIB - 1, MIB + 70_000, 4 * MIB, 7 * MIB + 500_000])
async def test_a_part_goes_on_after_a_cut(open_backend: OpenBackend, root: Path, cut: int) -> None:
    transport = CutTransport((OPENING + cut, NEVER), (NEVER, NEVER))
    backend = open_backend(transport)
    await backend.upload_begin(F, TOKEN)
    assert await backend.upload_add(F, TOKEN, 0, pieces(DATA)) == len(DATA)
    written = await backend.upload_finish(F, TOKEN, len(DATA))
    assert written.info.sha256 == hashlib.sha256(DATA).hexdigest()
    assert (root / "f").read_bytes() == DATA
    assert len(transport.channels) == 2
    assert leftovers(root) == []


async def test_an_answer_that_gets_lost_is_found_out(open_backend: OpenBackend, root: Path) -> None:
    # far enough for the greetings, and then for some of the answers only
    for received in range(1000, 1600, 60):
        transport = CutTransport((NEVER, received), (NEVER, NEVER))
        backend = open_backend(transport)
        await backend.upload_begin(F, TOKEN)
        assert await backend.upload_add(F, TOKEN, 0, pieces(DATA)) == len(DATA)
        written = await backend.upload_finish(F, TOKEN, len(DATA), sha256=hashlib.sha256(DATA).hexdigest())
        assert written.info.size == len(DATA)
        assert (root / "f").read_bytes() == DATA
        await backend.aclose()


async def test_a_connection_that_never_holds_says_so_and_keeps_what_arrived(
    open_backend: OpenBackend, root: Path
) -> None:
    backend = open_backend(CutTransport((OPENING + 5 * MIB, NEVER), (OPENING, NEVER)), deadline=2)
    await backend.upload_begin(F, TOKEN)
    with pytest.raises((ConnectionLost, Unavailable)):
        await backend.upload_add(F, TOKEN, 0, pieces(DATA))
    other = open_backend(CutTransport())
    arrived = await other.upload_size(F, TOKEN)
    assert 4 * MIB <= arrived < len(DATA)
    await other.upload_add(F, TOKEN, arrived, pieces(DATA[arrived:]))
    await other.upload_finish(F, TOKEN, len(DATA))
    assert (root / "f").read_bytes() == DATA
