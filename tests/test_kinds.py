"""Devboxes by URL: which backend a place gets, and that the operator's rules hold there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from devbox_mcp import kinds
from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.backends.shell import ShellBackend
from devbox_mcp.errors import (
    Denied,
    DevboxError,
    InvalidArgument,
    NotFound,
    ReadOnly,
    Timeout,
    Unavailable,
    Unsupported,
)
from devbox_mcp.kinds import KINDS, Opening, open_directory
from devbox_mcp.paths import SandboxPath
from devbox_mcp.session import opening as session_opening

pytestmark = pytest.mark.anyio


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "a root"
    root.mkdir()
    (root / "f").write_text("here")
    (root / "secret").write_text("not for you")
    return root


@pytest.fixture
def without_python(tmp_path: Path) -> str:
    """A command that starts programs where there are a shell and tools, and no Python."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is missing")
    tools = tmp_path / "tools"
    tools.mkdir()
    os.system(f"{busybox} --install -s '{tools}'")
    return f"env PATH={tools}"


@pytest.fixture
def nothing_there(tmp_path: Path) -> str:
    (tmp_path / "empty").mkdir()
    return f"env PATH={tmp_path / 'empty'}"


def program(path: str, script: str) -> None:
    Path(path).unlink(missing_ok=True)
    Path(path).write_text(f"#!/bin/sh\n{script}\n")
    Path(path).chmod(0o755)


async def opened(url: str, **rules: Any) -> Backend:
    kind, _, target = url.partition(":")
    return await KINDS[kind].open(target, Opening(**rules))


def exec_url(command: str, root: Path) -> str:
    return f"exec:{command}?root={str(root).replace(' ', '%20')}"


async def test_where_there_is_python_the_guest_works(root: Path) -> None:
    backend = await opened(exec_url("", root))
    try:
        assert isinstance(backend, ExecBackend)
        assert await backend.root() == str(root)
        assert await (await backend.read(SandboxPath("f"))).read() == b"here"
    finally:
        await backend.aclose()


async def test_where_there_is_none_the_shell_does(root: Path, without_python: str) -> None:
    backend = await opened(exec_url(without_python, root))
    try:
        assert isinstance(backend, ShellBackend)
        assert await backend.root() == str(root)
        assert await (await backend.read(SandboxPath("f"))).read() == b"here"
    finally:
        await backend.aclose()


@pytest.mark.parametrize(
    ("python", "why"),
    [
        ("echo Python 3.4 is here; cat > /dev/null", "something else"),
        ("exec yes", "something else"),
        ("exec sleep 3600", "nothing there for 1 seconds"),
        ("echo; exec sleep 3600", "nothing there for 1 seconds"),  # a line's end is the kind of a frame
    ],
)
async def test_where_python_is_something_else_the_shell_works_and_says_why(
    root: Path, without_python: str, python: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "nothing" in why:
        monkeypatch.setattr(session_opening, "_GREETING", 1.0)
    program(f"{without_python.partition('=')[2]}/python3", python)
    backend = await opened(exec_url(without_python, root))
    try:
        assert isinstance(backend, ShellBackend)
        assert await (await backend.read(SandboxPath("f"))).read() == b"here"
        assert why in (await backend.describe()).lacks["python"]
    finally:
        await backend.aclose()


async def test_where_nothing_says_anything_the_shell_is_not_waited_for_much_longer(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_opening, "_GREETING", 1.0)
    monkeypatch.setattr(kinds, "_SHELL", 2.0)
    program(f"{tmp_path}/hangs", "exec sleep 3600")
    with pytest.raises(Timeout, match="python3 said nothing there for 1 seconds, and a shell nothing for 2"):
        await opened(exec_url(f"{tmp_path}/hangs", root))


async def test_where_whatever_starts_programs_prints_something_the_error_says_so(root: Path, tmp_path: Path) -> None:
    program(f"{tmp_path}/greets", 'echo Welcome; exec "$@"')
    with pytest.raises(Unavailable, match="says something else") as caught:
        await opened(exec_url(f"{tmp_path}/greets", root))
    assert "must print nothing" in caught.value.hint


async def test_where_there_is_neither_the_error_says_what_would_help(root: Path, nothing_there: str) -> None:
    with pytest.raises(Unsupported, match="neither Python nor a shell") as caught:
        await opened(exec_url(nothing_there, root))
    assert "an image that has one" in caught.value.hint


@pytest.mark.parametrize("place", ["", "without_python"])
async def test_rules_hold_there(root: Path, place: str, request: pytest.FixtureRequest) -> None:
    command = request.getfixturevalue(place) if place else ""
    backend = await opened(exec_url(command, root), deny=("secret",))
    try:
        with pytest.raises(Denied):
            await backend.read(SandboxPath("secret"))
    finally:
        await backend.aclose()
    backend = await opened(exec_url(command, root), read_only=True)
    try:
        with pytest.raises(ReadOnly):
            await backend.write(SandboxPath("f"), b"other")
    finally:
        await backend.aclose()
    assert (root / "f").read_text() == "here"


@pytest.mark.parametrize("place", ["", "without_python"])
async def test_a_root_that_is_not_there(root: Path, place: str, request: pytest.FixtureRequest) -> None:
    command = request.getfixturevalue(place) if place else ""
    with pytest.raises(NotFound):
        await opened(exec_url(command, root / "none"))


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("exec:sh 'x", ValueError),
        ("exec:sh?root=relative", ValueError),
        ("k8s://shop", InvalidArgument),
        ("k8s://shop/web?color=red", InvalidArgument),
        ("exec:no-such-command-at-all -x?root=/", DevboxError),
    ],
)
async def test_what_cannot_be_opened(url: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await opened(url)


async def test_a_directory_of_this_machine(root: Path) -> None:
    backend = open_directory(str(root))
    assert isinstance(backend, LocalBackend)
    await backend.aclose()
