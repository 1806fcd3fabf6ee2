"""Batches: together where that can be, one by one where it cannot, and the same either way."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from devbox_mcp.backends.shell import ShellBackend
from devbox_mcp.errors import Unavailable
from devbox_mcp.guest.policy import Policy
from devbox_mcp.models import BatchItem, BatchOutcome
from devbox_mcp.paths import SandboxPath
from devbox_mcp.transports.base import Channel, ExecTransport
from devbox_mcp.transports.process import ProcessTransport

from . import shells
from .conftest import Make
from .wires import Wire, Wires, only

NAMES = [f"f{number}" for number in range(20)] + [".hidden", "a b ", "-rf", "*", "$(x)", "ä\udcff", "x" * 90]
LONG = "y" * 200


def items(names: Sequence[str], directory: str = ".", data: str = "new {}") -> list[BatchItem]:
    at = SandboxPath(directory)
    return [BatchItem(at.child(name), os.fsencode(data.format(name))) for name in names]


def codes(outcomes: Sequence[BatchOutcome]) -> list[str | None]:
    return [getattr(outcome.error, "code", None) for outcome in outcomes]


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


class _Heard(Wire):
    """A channel that counts the requests that go through it, by operation."""

    def __init__(self, inner: Channel, asked: Counter[str]) -> None:
        super().__init__(inner, lambda data, _: data, cuts=False, last=None)
        self._asked = asked

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        head = re.match(rb"[0-9a-f]+ ([a-z]+) \d+ \d+\n", bytes(data))
        if head is not None:
            self._asked[head[1].decode()] += 1
        await super().send(data)


class Heard(Wires):
    """Counts requests: ``stage`` and ``land`` for a directory at once, ``put`` for each file by itself."""

    def __init__(self, inner: ExecTransport) -> None:
        super().__init__(inner)
        self._heard = inner
        self.asked: Counter[str] = Counter()

    async def start(self, argv: Sequence[str]) -> Channel:
        return _Heard(await self._heard.start(argv), self.asked)

    def together(self) -> tuple[int, int]:
        """How many directories were written at once, and how many files by themselves."""
        assert self.asked["stage"] == self.asked["land"]
        return self.asked["land"], self.asked["put"]


@pytest.fixture
def counted(make: Make) -> tuple[ShellBackend, Heard]:
    """A backend, and what it asks."""
    heard: list[Heard] = []

    def around(inner: ExecTransport) -> ExecTransport:
        heard.append(Heard(inner))
        return heard[0]

    return make(around), heard[0]


class TestTogether:
    async def test_new_and_old(self, counted: tuple[ShellBackend, Heard], root: Path) -> None:
        backend, heard = counted
        for name in NAMES[::2]:
            (root / name).write_bytes(b"old")
            (root / name).chmod(0o640 if len(name) == 2 else 0o604)
        outcomes = await backend.write_batch(items(NAMES))
        assert codes(outcomes) == [None] * len(NAMES)
        assert content(root) == {name: os.fsencode(f"new {name}") for name in NAMES}
        assert heard.together() == (1, 0)
        umask = os.umask(0)
        os.umask(umask)
        for number, (name, outcome) in enumerate(zip(NAMES, outcomes, strict=True)):
            found = (root / name).stat()
            old = 0o640 if len(name) == 2 else 0o604
            assert found.st_mode & 0o7777 == (0o666 & ~umask if number % 2 else old)
            assert outcome.written is not None
            assert outcome.written.created == bool(number % 2)
            assert outcome.written.info == await backend.stat(SandboxPath(name), sha256=True)

    async def test_every_directory_and_executables(self, counted: tuple[ShellBackend, Heard], root: Path) -> None:
        backend, heard = counted
        batch = [
            BatchItem(item.path, item.data, executable=True if number % 2 else None)
            for directory in ("a/b", "c")
            for number, item in enumerate(items(NAMES[:16], directory))
        ]
        assert set(codes(await backend.write_batch(batch))) == {None}
        assert heard.together() == (2, 0)
        umask = os.umask(0)
        os.umask(umask)
        for number, name in enumerate(NAMES[:16]):
            wanted = (0o777 if number % 2 else 0o666) & ~umask
            assert (root / "a/b" / name).stat().st_mode & 0o7777 == wanted

    async def test_the_directory_is_moved_to_by_links(self, counted: tuple[ShellBackend, Heard], root: Path) -> None:
        backend, heard = counted
        (root / "real").mkdir()
        (root / "l").symlink_to("real")
        assert set(codes(await backend.write_batch(items(NAMES, "l/new")))) == {None}
        assert heard.together() == (1, 0)
        assert len(content(root / "real/new")) == len(NAMES)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
    async def test_owners(self, backend: ShellBackend, root: Path) -> None:
        for name in NAMES[:10]:
            (root / name).write_bytes(b"old")
            os.chown(root / name, 1002, 1003)
            (root / name).chmod(0o600)
        os.chown(root, 1000, 1001)
        assert set(codes(await backend.write_batch(items(NAMES)))) == {None}
        for number, name in enumerate(NAMES):
            found = (root / name).stat()
            assert (found.st_uid, found.st_gid) == ((1002, 1003) if number < 10 else (1000, 1001))
            assert (number >= 10) or found.st_mode & 0o7777 == 0o600

    async def test_more_than_one_archive(self, counted: tuple[ShellBackend, Heard], root: Path) -> None:
        backend, heard = counted
        large = [BatchItem(item.path, os.urandom(400_000)) for item in items(NAMES)]
        assert set(codes(await backend.write_batch(large))) == {None}
        assert content(root) == {item.path.text: item.data for item in large}
        assert heard.together() == (2, 0)  # ten files each; the last seven by themselves, in pieces


class TestOneByOne:
    async def test_what_is_not_simple_among_what_is(self, make: Make, root: Path) -> None:
        backend = make()
        (root / "dir").mkdir()
        (root / "first").write_bytes(b"old")
        (root / "second").hardlink_to(root / "first")
        (root / "match").write_bytes(b"old")
        (root / "run").write_bytes(b"old")
        (root / "run").chmod(0o644)
        os.mkfifo(root / "fifo")
        (root / "set").write_bytes(b"old")
        (root / "set").chmod(0o2755)
        batch = [
            *items([*NAMES, "first", "dir", "fifo", "set", "new\nline", "back\\slash", LONG]),
            BatchItem(SandboxPath("match"), b"new", if_match=hashlib.sha256(b"old").hexdigest()),
            BatchItem(SandboxPath("f0/below"), b"new"),
            BatchItem(SandboxPath("run"), b"new", executable=True),
            BatchItem(SandboxPath("stale"), b"new", if_match="0" * 12),
            BatchItem(SandboxPath("."), b"new"),
        ]
        outcomes = {outcome.path.text: outcome for outcome in await backend.write_batch(batch)}
        failed = {path: outcome.error.code for path, outcome in outcomes.items() if outcome.error}  # type: ignore[attr-defined]
        assert failed == {
            "dir": "is_directory",
            "fifo": "unsupported",
            "f0/below": "not_directory",
            "stale": "conflict",
            ".": "is_directory",
        }
        first = outcomes["first"].written
        assert first is not None
        assert (first.unlinked, (root / "second").read_bytes()) == (1, b"old")
        assert (root / "run").stat().st_mode & 0o111
        assert (root / "set").stat().st_mode & 0o7777 == 0o755
        assert (root / LONG).read_bytes() == os.fsencode(f"new {LONG}")
        assert not [name for name in os.listdir(root) if name.startswith(".devbox-mcp-")]

    async def test_the_later_one_wins(self, backend: ShellBackend, root: Path) -> None:
        (root / "real").mkdir()
        (root / "alias").symlink_to("real")
        (root / "link").symlink_to("f3")
        again = items(NAMES, data="again {}")
        assert set(codes(await backend.write_batch([*items(NAMES), *again]))) == {None}
        assert (root / "f0").read_bytes() == b"again f0"
        # what a link leads to, before and after
        link = BatchItem(SandboxPath("link"), b"by the link")
        assert set(codes(await backend.write_batch([*items(NAMES), link]))) == {None}
        assert (root / "f3").read_bytes() == b"by the link"
        assert set(codes(await backend.write_batch([link, *items(NAMES)]))) == {None}
        assert ((root / "f3").read_bytes(), os.readlink(root / "link")) == (b"new f3", "f3")
        version = hashlib.sha256(b"new f0").hexdigest()
        after = BatchItem(SandboxPath("f0"), b"after", if_match=version)
        assert set(codes(await backend.write_batch([*items(NAMES), after]))) == {None}
        assert (root / "f0").read_bytes() == b"after"

    async def test_the_later_one_of_two_paths_to_a_file_wins(self, backend: ShellBackend, root: Path) -> None:
        (root / "real").mkdir()
        (root / "alias").symlink_to("real")
        aliases = [*items(["first"], "real"), *items(NAMES, "alias", "one {}"), *items(NAMES, "real", "two {}")]
        assert set(codes(await backend.write_batch(aliases))) == {None}
        assert (root / "real/f0").read_bytes() == b"two f0"

    async def test_rules(self, shell: str, root: Path, applets: Path) -> None:
        (root / "d").mkdir()
        (root / "l").symlink_to("d")
        before, name = shells.command(shell, applets)
        backend = ShellBackend(ProcessTransport(before), str(root), policy=Policy(["d/secret", "*.key"]), shell=[name])
        outcomes = await backend.write_batch(items([*NAMES, "secret", "a.key"], "l"))
        await backend.aclose()
        assert codes(outcomes) == [*[None] * len(NAMES), "denied", "denied"]
        assert set(content(root / "d")) == set(NAMES)


class TestWithout:
    async def test_tar(self, tmp_path: Path) -> None:
        tools, root = tmp_path / "tools", tmp_path / "root"
        tools.mkdir()
        root.mkdir()
        shells.tools_of_this_machine(tools, without="tar")
        backend = ShellBackend(ProcessTransport(shells.with_path(tools)), str(root))
        assert set(codes(await backend.write_batch(items(NAMES, "a/b")))) == {None}
        await backend.aclose()
        assert content(root / "a/b") == {name: os.fsencode(f"new {name}") for name in NAMES}

    @pytest.mark.parametrize(
        "does",
        [
            "exit 1",
            'cat "$6" >/dev/null; echo x >new/f0; exit 0',
            "TAR -x -o -m -f tar; echo x >>new/f1",
            "TAR -x -o -m -f tar; rm new/f1; exit 2",
            "TAR -x -o -m -f tar; touch new/more",
        ],
    )
    async def test_a_tar_that_works(self, tmp_path: Path, does: str) -> None:
        tools, root = tmp_path / "tools", tmp_path / "root"
        tools.mkdir()
        root.mkdir()
        shells.tools_of_this_machine(tools, without="tar")
        for name in ("touch", "tar"):
            if shutil.which(name) is None:
                pytest.skip(f"{name} is not installed")
        (tools / "touch").symlink_to(shutil.which("touch") or "")
        (tools / "tar").write_text("#!/bin/sh\n" + does.replace("TAR", shutil.which("tar") or "") + "\n")
        (tools / "tar").chmod(0o755)
        backend = ShellBackend(ProcessTransport(shells.with_path(tools)), str(root))
        assert set(codes(await backend.write_batch(items(NAMES, "a")))) == {None}
        await backend.aclose()
        assert content(root / "a") == {name: os.fsencode(f"new {name}") for name in NAMES}


class TestFaults:
    @pytest.mark.parametrize("last", [25_000, 35_000, 45_000, 60_000])
    async def test_a_request_is_cut(self, make: Make, root: Path, last: int) -> None:
        await self._cut(make(lambda inner: Wires(inner, last=last)), root)

    @pytest.mark.parametrize("position", [60, 160, 1000, 2400, 3000, 5000])
    async def test_an_answer_is_cut(self, make: Make, root: Path, position: int) -> None:
        await self._cut(make(lambda inner: Wires(inner, only(position), cuts=True)), root)

    async def _cut(self, backend: ShellBackend, root: Path) -> None:
        (root / "d").mkdir()
        old = dict.fromkeys(NAMES[::2], b"old")
        for name, data in old.items():
            (root / "d" / name).write_bytes(data)
        outcomes: Sequence[BatchOutcome] = await backend.write_batch(items(NAMES, "d"))
        for name, outcome in zip(NAMES, outcomes, strict=True):
            assert outcome.error is None or isinstance(outcome.error, Unavailable)
            found = (root / "d" / name).read_bytes() if (root / "d" / name).exists() else None
            new = os.fsencode(f"new {name}")
            assert found == new or (outcome.error is not None and found == old.get(name))
        # the shell that was cut off may be at work still, and clears up behind itself
        for _ in range(250):
            if set(os.listdir(root / "d")) <= set(NAMES):
                return
            await asyncio.sleep(0.02)
        raise AssertionError(os.listdir(root / "d"))

    async def test_a_full_disk(self, make: Make, small_disk: Path) -> None:
        (small_disk / "f0").write_bytes(b"old")
        backend = make(at=small_disk)
        batch = [BatchItem(SandboxPath(f"d/f{number}"), os.urandom(100_000)) for number in range(20)]
        outcomes = await backend.write_batch([*batch, *items(["f0"])])
        assert set(codes(outcomes)) == {None, "no_space"}
        written = {o.path.name for o in outcomes if o.error is None and o.path.text != "f0"}
        assert written
        assert set(os.listdir(small_disk / "d")) == written
        assert all((small_disk / i.path.text).read_bytes() == i.data for i in batch if i.path.name in written)

    async def test_no_room_for_any(self, make: Make, small_disk: Path) -> None:
        (small_disk / "filler").write_bytes(b"x" * (900 << 10))
        batch = [BatchItem(SandboxPath(f"d/e/f{number}"), os.urandom(300_000)) for number in range(10)]
        assert set(codes(await make(at=small_disk).write_batch(batch))) == {"no_space"}
        assert os.listdir(small_disk) == ["filler"]

    async def test_a_file_that_cannot_be_replaced(self, backend: ShellBackend, root: Path, tmp_path: Path) -> None:
        (tmp_path / "other").write_bytes(b"other")
        (root / "f1").write_bytes(b"old")
        with mounted("--bind", str(tmp_path / "other"), str(root / "f1")):
            outcomes = await backend.write_batch(items(NAMES))
        assert codes(outcomes) == [None, "busy", *[None] * (len(NAMES) - 2)]
        assert set(os.listdir(root)) == set(NAMES)
        assert ((tmp_path / "other").read_bytes(), (root / "f1").read_bytes()) == (b"other", b"old")

    async def test_read_only(self, make: Make, small_disk: Path) -> None:
        make_read_only(small_disk)
        assert set(codes(await make(at=small_disk).write_batch(items(NAMES, "d")))) == {"read_only"}

    @pytest.mark.parametrize("after", [0.0, 0.02, 0.05, 0.1, 0.2])
    async def test_cancelled(self, backend: ShellBackend, root: Path, after: float) -> None:
        await backend.root()
        work = asyncio.create_task(backend.write_batch(items(NAMES, "a/b")))
        await asyncio.sleep(after)
        work.cancel()
        await asyncio.wait([work])
        found = content(root / "a/b") if (root / "a/b").exists() else {}
        assert all(data == os.fsencode(f"new {name}") for name, data in found.items())
        assert set(found) <= set(NAMES)

    async def test_two_at_once(self, backend: ShellBackend, root: Path) -> None:
        batches = [items(NAMES, "d", f"{number} {{}}") for number in range(4)]
        for outcomes in await asyncio.gather(*(backend.write_batch(batch) for batch in batches)):
            assert set(codes(outcomes)) == {None}
        assert set(os.listdir(root / "d")) == set(NAMES)
        assert all(
            data in {b"%d " % n + os.fsencode(name) for n in range(4)} for name, data in content(root / "d").items()
        )


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


@contextmanager
def mounted(*arguments: str) -> Iterator[None]:
    """Mount something at the last of the arguments. Skips where there is no right to."""
    if subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode != 0:
        pytest.skip("no right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", arguments[-1]], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a megabyte."""
    directory = tmp_path / "disk"
    directory.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)):
        yield directory
