"""What breaks: connections, disks, shells. Never a success with wrong bytes, never half a file."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from devbox_mcp.backends.shell import ShellBackend
from devbox_mcp.errors import DevboxError, NoSpace, NotDirectory, NotFound, ReadOnly, Unavailable, Unsupported
from devbox_mcp.paths import SandboxPath
from devbox_mcp.transports.base import ExecTransport
from devbox_mcp.transports.process import ProcessTransport

from . import shells
from .conftest import Make
from .wires import Wires, lose, only

F = SandboxPath("f")
OLD, NEW = b"old" * 1000, b"new!" * 20_000
LARGE = os.urandom(3 << 20)


def leftovers(root: Path) -> list[str]:
    return [name for name in os.listdir(root) if name.startswith(".devbox-mcp-")]


async def whole(backend: ShellBackend) -> bytes:
    return await (await backend.read(F)).read()


class TestConnection:
    @pytest.mark.parametrize("position", [60, 75, 90, 100, 110, 120, 130, 140, 150, 200, 300, 1000, 5000, 70_000])
    async def test_an_answer_is_cut(self, make: Make, root: Path, position: int) -> None:
        (root / "f").write_bytes(OLD)
        backend = make(lambda inner: Wires(inner, only(position), cuts=True))
        written = False
        try:
            await backend.write(F, NEW)
            written = True
        except Unavailable:
            pass
        # reading is repeated with another shell where the first one was lost
        assert await whole(backend) == (root / "f").read_bytes()
        assert (root / "f").read_bytes() in ([NEW] if written else [OLD, NEW])

    @pytest.mark.parametrize("position", [0, 100, 20_000, 30_000, 60_000, 100_000, 1_000_000, 2_500_000])
    async def test_a_request_is_cut(self, make: Make, root: Path, position: int) -> None:
        (root / "f").write_bytes(OLD)
        backend = make(lambda inner: Wires(inner, last=position))
        for data in (NEW, LARGE):
            try:
                await backend.write(F, data)
            except Unavailable:
                assert (root / "f").read_bytes() in (OLD, NEW)
            else:
                assert (root / "f").read_bytes() == data
        await asyncio.sleep(0)
        assert await whole(backend) == (root / "f").read_bytes()

    @pytest.mark.parametrize("position", range(70, 420, 11))
    async def test_a_byte_is_lost(self, make: Make, root: Path, position: int) -> None:
        (root / "f").write_bytes(OLD)
        backend = make(lambda inner: Wires(inner, lose(position)), patience=0.5)
        try:
            assert await whole(backend) == OLD
        except DevboxError as error:
            assert isinstance(error, Unavailable)

    async def test_what_breaks_off_leaves_nothing(self, make: Make, root: Path) -> None:
        backend = make(lambda inner: Wires(inner, last=2_500_000))
        with pytest.raises(Unavailable):
            await backend.write(SandboxPath("new/f"), LARGE)
        assert os.listdir(root) == []

    async def test_what_cannot_be_cleared_away_at_once_is_when_there_is_a_shell_again(
        self, make: Make, root: Path
    ) -> None:
        wires: list[Wires] = []

        def around(inner: ExecTransport) -> Wires:
            wires.append(Wires(inner, last=2_500_000))
            return wires[0]

        backend = make(around)
        await backend.root()
        wires[0].down = True
        with pytest.raises(Unavailable):
            await backend.write(F, LARGE)
        assert leftovers(root)
        wires[0].down = False
        (root / "f").write_bytes(OLD)
        assert await whole(backend) == OLD
        assert leftovers(root) == []

    async def test_a_shell_that_died_idle_is_replaced(self, make: Make, root: Path) -> None:
        (root / "f").write_bytes(OLD)
        wires: list[Wires] = []

        def around(inner: ProcessTransport) -> Wires:
            wires.append(Wires(inner))
            return wires[0]

        backend = make(around)
        assert await whole(backend) == OLD
        await wires[0].channels[0].aclose()
        assert await whole(backend) == OLD

    @pytest.mark.parametrize("answer", ["x", "x ok 0\\n", "\\377\\n", "x ok 99999999999 y\\n"])
    async def test_nonsense_is_an_error(self, root: Path, answer: str) -> None:
        backend = ShellBackend(ProcessTransport(["sh", "-c", f"while :; do printf '{answer}'; done"]), str(root))
        try:
            with pytest.raises(Unavailable):
                await backend.stat(F)
        finally:
            await backend.aclose()

    async def test_a_shell_that_says_nothing_is_not_said_to_have_ended(self, root: Path) -> None:
        backend = ShellBackend(ProcessTransport(["sh", "-c", "exec sleep 1000"]), str(root), patience=0.2)
        try:
            with pytest.raises(Unavailable, match=r"said nothing for 0\.2 s"):
                await backend.stat(F)
        finally:
            await backend.aclose()

    async def test_no_process_is_left(self, make: Make, root: Path) -> None:
        backend = make()
        await backend.write(F, LARGE)
        running = set(_processes_in(root))
        assert running
        await backend.aclose()
        for _ in range(200):
            if not set(_processes_in(root)) & running:
                return
            await asyncio.sleep(0.02)
        raise AssertionError("a shell is still there")


def _processes_in(root: Path) -> Iterator[int]:
    """Yield the processes that have the root open."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(directory / "fd/9") == str(root):
                yield int(directory.name)
        except OSError:
            continue


class TestPlaces:
    async def test_no_root(self, make: Make, tmp_path: Path) -> None:
        with pytest.raises(NotFound):
            await make(at=tmp_path / "gone").root()

    async def test_a_file_as_root(self, make: Make, tmp_path: Path) -> None:
        (tmp_path / "f").touch()
        with pytest.raises(NotDirectory):
            await make(at=tmp_path / "f").root()

    async def test_a_file_that_does_not_tell_its_size(self, make: Make) -> None:
        with pytest.raises(Unsupported) as caught:
            await make(at=Path("/proc")).read(SandboxPath("version"))
        assert "does not tell its size" in caught.value.detail
        assert caught.value.hint

    async def test_no_shell(self, tmp_path: Path) -> None:
        backend = ShellBackend(ProcessTransport(shells.with_path(tmp_path)), str(tmp_path))
        with pytest.raises(Unsupported) as caught:
            await backend.stat(F)
        await backend.aclose()
        assert "shell" in caught.value.detail
        assert caught.value.hint

    @pytest.mark.parametrize("tool", ["sha256sum", "stat", "dd", "find"])
    async def test_a_missing_tool_is_named(self, tmp_path: Path, tool: str) -> None:
        shells.tools_of_this_machine(tmp_path, without=tool)
        backend = ShellBackend(ProcessTransport(shells.with_path(tmp_path)), str(tmp_path))
        with pytest.raises(Unsupported) as caught:
            await backend.stat(F)
        await backend.aclose()
        assert tool in caught.value.detail


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a megabyte."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no right to mount")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


class TestDisks:
    @pytest.mark.parametrize("data", [LARGE, LARGE[: 200 << 10]], ids=["pieces", "at once"])
    async def test_full(self, make: Make, small_disk: Path, data: bytes) -> None:
        (small_disk / "f").write_bytes(OLD)
        (small_disk / "filler").write_bytes(b"x" * (900 << 10))
        backend = make(at=small_disk)
        for path in ("f", "new/g"):
            with pytest.raises(NoSpace):
                await backend.write(SandboxPath(path), data)
        with pytest.raises(NoSpace):
            await backend.write(F, data, mode="append")
        with pytest.raises(NoSpace):
            await backend.copy(SandboxPath("filler"), SandboxPath("copy"))
        assert (small_disk / "f").read_bytes() == OLD
        assert sorted(os.listdir(small_disk)) == ["f", "filler"]

    async def test_read_only(self, make: Make, small_disk: Path) -> None:
        (small_disk / "f").write_bytes(OLD)
        (small_disk / "d").mkdir()
        make_read_only(small_disk)
        backend = make(at=small_disk)
        assert await whole(backend) == OLD
        new = SandboxPath("new")
        for work in (
            lambda: backend.write(F, NEW),
            lambda: backend.write(F, LARGE),
            lambda: backend.write(new, NEW, mode="create"),
            lambda: backend.mkdir(new),
            lambda: backend.delete(F),
            lambda: backend.delete(SandboxPath("d")),
            lambda: backend.move(F, new),
            lambda: backend.copy(F, new),
            lambda: backend.chmod(F, 0o600),
        ):
            with pytest.raises(ReadOnly):
                await work()


async def test_a_read_does_not_wait_for_an_upload(backend: ShellBackend, root: Path) -> None:
    (root / "f").write_bytes(OLD)
    flowing, read = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield LARGE
        flowing.set()
        await read.wait()
        yield LARGE

    upload = asyncio.create_task(backend.write(SandboxPath("g"), body()))
    await flowing.wait()
    assert await whole(backend) == OLD
    read.set()
    assert (await upload).info.size == 2 * len(LARGE)
    assert (root / "g").read_bytes() == LARGE * 2
    assert leftovers(root) == []
