"""What comes from the sandbox is not believed: it is an error, at once, and never a success with other bytes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.errors import Integrity, NotFound, Timeout, Unavailable
from devbox_mcp.guest.frames import WINDOW
from devbox_mcp.paths import SandboxPath
from devbox_mcp.session.bundle import bundle
from devbox_mcp.session.opening import Wanted, open_session
from devbox_mcp.transports.process import ProcessTransport

from .liar import SCENARIOS

LIES = set(SCENARIOS) - {
    "the truth",
    "the truth in a stream",
    "an error about the host",
    "more than was allowed",
}
LIAR = os.path.join(os.path.dirname(__file__), "liar.py")
PROJECT = Path(__file__).parents[2]
OpenBackend = Callable[..., ExecBackend]


def liar(scenario: str) -> ProcessTransport:
    return ProcessTransport(["env", f"PYTHONPATH={PROJECT}", sys.executable, LIAR, scenario, str(len(bundle()))])


async def read(backend: ExecBackend) -> bytes:
    content = await backend.read(SandboxPath("f"))
    return await content.read()


@pytest.mark.parametrize("scenario", sorted(LIES))
async def test_a_liar(open_backend: OpenBackend, scenario: str) -> None:
    backend = open_backend(liar(scenario))
    with anyio.fail_after(60), pytest.raises((Integrity, Unavailable)) as caught:
        await read(backend)
    assert caught.value.op == "read"
    assert "/etc" not in f"{caught.value} {caught.value.data}"


async def test_more_than_was_allowed(open_backend: OpenBackend) -> None:
    """Nobody takes anything yet, so no more than a window may come, however much there is."""
    backend = open_backend(liar("more than was allowed"))
    reply = await backend._session.call("read", {"path": "f"}, op="read", path="f")
    link = backend._session._link
    assert link is not None
    assert reply.stream is not None
    with anyio.fail_after(60):
        while link.alive:  # noqa: ASYNC110  it is about what another process sends
            await anyio.sleep(0.02)
    with pytest.raises(Unavailable):
        _ = [chunk async for chunk in reply.stream]


async def test_an_error_names_nothing_outside(open_backend: OpenBackend) -> None:
    with pytest.raises(NotFound) as caught:
        await read(open_backend(liar("an error about the host")))
    assert caught.value.path == "f"


async def test_nothing_is_left_of_a_guest_that_has_no_root() -> None:
    before = asyncio.all_tasks()
    with pytest.raises(Unavailable):
        await open_session(liar("a lost root"), Wanted(python=sys.executable))
    assert asyncio.all_tasks() == before


async def test_the_same_program_telling_the_truth(open_backend: OpenBackend) -> None:
    assert await read(open_backend(liar("the truth"))) == b"0123456789"
    assert await read(open_backend(liar("the truth in a stream"))) == bytes(WINDOW)


async def test_a_guest_that_was_there_is_not_taken_for_missing(open_backend: OpenBackend, tmp_path: Path) -> None:
    """The second program that is started is another one."""
    script = 'if test -e "$0"; then echo Python; exec cat > /dev/null; fi; touch "$0"; exec "$@"'
    backend = open_backend(ProcessTransport(["sh", "-c", script, str(tmp_path / "started")]))
    await backend.stat(SandboxPath("."))
    link = backend._session._link
    assert link is not None
    await link.aclose()
    with anyio.fail_after(60), pytest.raises(Integrity, match="something else there than the guest"):
        await backend.stat(SandboxPath("."))


@pytest.mark.parametrize("said", ["Last login: yesterday", "\\001", "\\003\\000", "login: "])
async def test_a_greeting_before_the_first_frame(open_backend: OpenBackend, said: str) -> None:
    chatty = ProcessTransport(["sh", "-c", 'printf "$0"; exec "$@"', said])
    with anyio.fail_after(60), pytest.raises((Integrity, Timeout)):
        await open_backend(chatty, deadline=3).stat(SandboxPath("."))
