"""What is composed answers as the local backend does where the files are, and takes back what it could not finish."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from devbox_mcp.backends.composed import Composed
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.errors import Conflict, DevboxError, Exists, NoSpace, Unavailable
from devbox_mcp.models import BatchItem, Content, FileInfo, Page, WriteMode, Written
from devbox_mcp.paths import ROOT, SandboxPath

at = SandboxPath
pytestmark = pytest.mark.anyio


class SmallOnly(Composed):
    """The small contract of a local directory; ``reads`` and ``writes`` count, and ``fault`` may fail a write."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.inner = LocalBackend(str(directory))
        self.reads = self.reading = self.most_reading = 0
        self.lists = 0
        self.bytes = 0
        self.fault: Callable[[SandboxPath], DevboxError | None] = lambda _path: None
        self.after_fault = False

    async def root(self) -> str:
        return await self.inner.root()

    async def relative(self, absolute: str) -> SandboxPath | None:
        return await self.inner.relative(absolute)

    async def stat(self, path: SandboxPath, *, follow: bool = True, sha256: bool = False) -> FileInfo:
        return await self.inner.stat(path, follow=follow, sha256=sha256)

    async def list(self, path: SandboxPath, **options: Any) -> Page:
        self.lists += 1
        return await self.inner.list(path, **options)

    async def read(self, path: SandboxPath, *, offset: int = 0, length: int | None = None) -> Content:
        self.reads += 1
        self.reading += 1
        self.most_reading = max(self.most_reading, self.reading)
        await anyio.sleep(0.001)
        self.reading -= 1
        content = await self.inner.read(path, offset=offset, length=length)

        async def counted() -> AsyncIterator[bytes]:
            async for chunk in content:
                self.bytes += len(chunk)
                yield chunk

        return Content(content.info, content.offset, counted())

    async def write(
        self,
        path: SandboxPath,
        data: bytes | AsyncIterator[bytes],
        *,
        mode: WriteMode = "overwrite",
        if_match: str | None = None,
        executable: bool | None = None,
        in_place: bool = False,
    ) -> Written:
        error = self.fault(path)
        if error is not None and not self.after_fault:
            raise error
        written = await self.inner.write(
            path, data, mode=mode, if_match=if_match, executable=executable, in_place=in_place
        )
        if error is not None:
            raise error
        return written

    async def mkdir(self, path: SandboxPath) -> bool:
        return await self.inner.mkdir(path)

    async def delete(self, path: SandboxPath, *, recursive: bool = False, if_match: str | None = None) -> int:
        return await self.inner.delete(path, recursive=recursive, if_match=if_match)

    async def move(
        self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False, if_match: str | None = None
    ) -> FileInfo:
        return await self.inner.move(source, destination, overwrite=overwrite, if_match=if_match)

    async def copy(self, source: SandboxPath, destination: SandboxPath, *, overwrite: bool = False) -> FileInfo:
        return await self.inner.copy(source, destination, overwrite=overwrite)

    async def chmod(self, path: SandboxPath, mode: int, *, recursive: bool = False) -> int:
        return await self.inner.chmod(path, mode, recursive=recursive)

    async def aclose(self) -> None:
        await super().aclose()
        await self.inner.aclose()


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[SmallOnly]:
    backend = SmallOnly(tmp_path)
    yield backend
    await backend.aclose()


def put(top: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def seen(top: Path) -> dict[str, tuple[int, bytes]]:
    """Return what is in a directory, temporaries and all: modes and contents."""
    return {
        str(path.relative_to(top)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(top.rglob("*"))
    }


PROJECT = {
    ".gitignore": b"*.log\n/build/\nnode_modules\n!keep.log\nsecret/*\n!secret/shown\n",
    ".git/config": b"needle\n",
    ".git/info/exclude": b"*.tmp\n",
    "a.log": b"needle\n",
    "keep.log": b"needle\nneedle\n",
    "b.tmp": b"needle\n",
    "build/x": b"needle\n",
    "node_modules/m/index.js": b"needle\n",
    "secret/hidden": b"needle\n",
    "secret/shown": b"needle\n",
    "src/.gitignore": b"/gen\n!x.log\n",
    "src/gen/y": b"needle\n",
    "src/x.log": b"one\nneedle\nthree\nneedle needle\n",
    "src/deep/gen/z.py": b"needle",
    "src/deep/a b.py": b"needle\r\n",
    "src/bin": b"\0needle\n",
    "sub/.git": b"gitdir: elsewhere\n",
    "sub/own.log": b"needle\n",
    "wide": "needle\n".encode("utf-16"),
    "-": b"needle\n",
    "!": b"needle\n",
}


async def pages(ask: Callable[[str | None], Any], key: str) -> tuple[list[Any], list[int]]:
    """Return all that pages bring, and how much each brought."""
    found: list[Any] = []
    counts: list[int] = []
    after = None
    while True:
        page = await ask(after)
        assert not page.timed_out
        found += getattr(page, key)
        counts.append(len(getattr(page, key)))
        after = page.after
        if after is None:
            return found, counts


@pytest.mark.parametrize("start", [".", "src", "src/deep", "secret", "sub"])
@pytest.mark.parametrize("limit", [1, 2, 5, 200])
@pytest.mark.parametrize("ignored", [False, True])
async def test_finds_and_searches_as_the_guest_does(
    small: SmallOnly, tmp_path: Path, start: str, limit: int, ignored: bool
) -> None:
    put(tmp_path, PROJECT)
    os.symlink("src", tmp_path / "link")
    for pattern in ("*", "*.log", "**/gen/*", "deep/**"):
        for sort in ("name", "newest"):
            answers = [
                await pages(
                    lambda after, backend=backend, pattern=pattern, sort=sort: backend.find(
                        at(start), pattern, sort=sort, ignored=ignored, limit=limit, after=after
                    ),
                    "entries",
                )
                for backend in (small, small.inner)
            ]
            assert answers[0] == answers[1]
    for glob in (None, "*.py", "deep/*"):
        answers = [
            await pages(
                lambda after, backend=backend, glob=glob: backend.search(
                    at(start), "needle", glob=glob, context=1, ignored=ignored, limit=limit, after=after
                ),
                "matches",
            )
            for backend in (small, small.inner)
        ]
        assert answers[0] == answers[1]


async def test_counts_of_a_search_are_the_guest_s(small: SmallOnly, tmp_path: Path) -> None:
    put(tmp_path, PROJECT)
    for options in ({}, {"ignored": True}, {"glob": "src/*"}, {"limit": 3}):
        one, other = [await backend.search(ROOT, "needle", **options) for backend in (small, small.inner)]
        assert (one.files, one.skipped_binary, one.unreadable) == (other.files, other.skipped_binary, other.unreadable)


async def test_what_git_ignores_is_never_asked_for(small: SmallOnly, tmp_path: Path) -> None:
    put(tmp_path, {".gitignore": b"out/\n", "src/f": b"x\n"})
    put(tmp_path, {f"out/{number}/f": b"x\n" for number in range(200)})
    await small.search(ROOT, "x")
    assert small.lists == 2
    assert small.reads == 3  # two files, and the rules


async def test_small_files_are_read_ahead_and_large_ones_when_it_is_their_turn(
    small: SmallOnly, tmp_path: Path
) -> None:
    put(tmp_path, {f"d/{number:02}": b"needle %d\n" % number for number in range(60)})
    put(tmp_path, {f"d/{number:02}-large": b"x" * 3_000_000 + b"\nneedle\n" for number in range(0, 60, 20)})
    found = await small.search(ROOT, "needle", limit=1000)
    assert found == await small.inner.search(ROOT, "needle", limit=1000)
    assert 2 <= small.most_reading <= 9
    assert small.reads == 63 + 3
    small.most_reading = 0
    answers = [await backend.archive([ROOT], max_bytes=1 << 30, max_files=100) for backend in (small, small.inner)]
    one, other = [b"".join([chunk async for chunk in archive]) for archive in answers]
    assert one == other
    assert 2 <= small.most_reading <= 9


async def test_what_was_read_ahead_in_vain_is_let_go(small: SmallOnly, tmp_path: Path) -> None:
    put(tmp_path, {f"d/{number:02}": b"needle\n" for number in range(60)})
    page = await small.search(ROOT, "needle", limit=1)
    assert page.after is not None
    assert small.reads < 20
    archive = await small.archive([ROOT], max_bytes=1 << 30, max_files=100)
    await aiter(archive).aclose()  # type: ignore[attr-defined]
    (tmp_path / "d/01").unlink()
    (tmp_path / "d/02").unlink()
    os.mkfifo(tmp_path / "d/02")
    assert (await small.search(ROOT, "needle", limit=100)).files == 58


async def test_paging_through_a_large_file_is_linear(small: SmallOnly, tmp_path: Path) -> None:
    lines = [b"line %07d of it\n" % number for number in range(600_000)]
    put(tmp_path, {"f": b"".join(lines)})
    os.utime(tmp_path / "f", (1_700_000_000, 1_700_000_000))
    first = 1
    while True:
        found = await small.read_lines(at("f"), first=first, count=20_000, max_bytes=1 << 20)
        assert found.data == b"".join(lines[first - 1 : first - 1 + 20_000])
        first += found.count
        if not found.more:
            break
    size = sum(map(len, lines))
    assert small.bytes < 6 * size  # each page looks at the head, and reads a chunk or so too much
    # by then it is known
    small.bytes = 0
    found = await small.read_lines(at("f"), first=-1, count=1, max_bytes=1 << 20)
    assert (found.data, found.total) == (lines[-1], 600_000)
    assert small.bytes < 4 << 20


async def test_a_large_file_replaced_meanwhile_is_read_again(small: SmallOnly, tmp_path: Path) -> None:
    put(tmp_path, {"f": b"old old\n" * (1 << 21)})
    reads = small.inner.read

    async def meddling(path: SandboxPath, **options: Any) -> Content:
        if small.reads == 4:
            put(tmp_path, {"f": b"new new new\n" * (1 << 20)})
        return await reads(path, **options)

    small.inner.read = meddling  # type: ignore[method-assign]
    found = await small.read_lines(at("f"), first=1_000_000, count=2, max_bytes=1000)
    assert found.data == b"new new new\n" * 2
    assert found.info.size == 12 << 20


class TestAtomicBatch:
    def items(self) -> list[BatchItem]:
        return [
            BatchItem(at("old"), b"new"),
            BatchItem(at("d/e/made"), b"new"),
            BatchItem(at("run"), b"new", executable=True),
            BatchItem(at("link"), b"new"),
            BatchItem(at("dangling"), b"new"),
            BatchItem(at("same"), b"same"),
            BatchItem(at("last"), b"new"),
        ]

    def make(self, top: Path) -> dict[str, tuple[int, bytes]]:
        put(top, {"old": b"old", "run": b"old", "target": b"old" * 1_000_000, "same": b"same"})
        (top / "run").chmod(0o640)
        os.symlink("target", top / "link")
        os.symlink("d/f/made", top / "dangling")
        return seen(top)

    @pytest.mark.parametrize("failing", ["old", "d/e/made", "run", "target", "d/f/made", "same", "last"])
    async def test_what_was_written_is_put_back(self, small: SmallOnly, tmp_path: Path, failing: str) -> None:
        before = self.make(tmp_path)
        failed = False

        def fault(path: SandboxPath) -> DevboxError | None:
            nonlocal failed
            if path.text == failing and not failed:
                failed = True
                return NoSpace("write", path.text)
            return None

        small.fault = fault
        outcomes = await small.write_batch(self.items(), atomic=True)
        assert failed
        assert seen(tmp_path) == before
        codes = [outcome.error.code for outcome in outcomes if isinstance(outcome.error, DevboxError)]
        assert sorted(codes) == ["cancelled"] * 6 + ["no_space"]
        assert not any(outcome.written for outcome in outcomes)

    async def test_all_well(self, small: SmallOnly, tmp_path: Path) -> None:
        self.make(tmp_path)
        outcomes = await small.write_batch(self.items(), atomic=True)
        assert [outcome.error for outcome in outcomes] == [None] * 7
        assert [outcome.written.info.path for outcome in outcomes if outcome.written is not None] == [
            item.path for item in self.items()
        ]
        found = seen(tmp_path)
        assert {found[name][1] for name in ("old", "target", "run", "d/e/made", "d/f/made", "last")} == {b"new"}
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "dangling").is_symlink()

    async def test_a_write_that_went_through_though_its_answer_was_lost(self, small: SmallOnly, tmp_path: Path) -> None:
        before = self.make(tmp_path)
        lost = False

        def fault(path: SandboxPath) -> DevboxError | None:
            nonlocal lost
            if path.text == "target" and not lost:
                lost = True
                return Unavailable("write", path.text)
            return None

        small.fault, small.after_fault = fault, True
        await small.write_batch(self.items(), atomic=True)
        assert seen(tmp_path) == before

    async def test_what_cannot_be_put_back_is_named(self, small: SmallOnly, tmp_path: Path) -> None:
        self.make(tmp_path)
        gone = False

        def fault(path: SandboxPath) -> DevboxError | None:
            nonlocal gone
            gone = gone or path.text == "run"
            return Unavailable("write", path.text) if gone else None

        small.fault = fault
        outcomes = await small.write_batch(self.items(), atomic=True)
        assert (tmp_path / "old").read_bytes() == b"new"
        assert "old" in str(outcomes[0].error)
        assert "could not be put back" in str(outcomes[0].error)

    async def test_what_others_write_meanwhile_is_theirs(self, small: SmallOnly, tmp_path: Path) -> None:
        self.make(tmp_path)

        def fault(path: SandboxPath) -> DevboxError | None:
            if path.text == "run":
                put(tmp_path, {"old": b"theirs", "d/e/theirs": b"", "run": b"theirs too"})
            return None

        small.fault = fault
        outcomes = await small.write_batch(self.items(), atomic=True)
        assert isinstance(outcomes[2].error, Conflict)
        found = {path: content for path, (_, content) in seen(tmp_path).items()}
        assert (found["old"], found["run"], found["d/e/theirs"]) == (b"theirs", b"theirs too", b"")
        assert "d/e/made" not in found

    async def test_what_others_made_of_it_or_made_alike_stays(self, small: SmallOnly, tmp_path: Path) -> None:
        self.make(tmp_path)

        def fault(path: SandboxPath) -> DevboxError | None:
            if path.text == "last":
                put(tmp_path, {"d/e/made": b"theirs", "last": b"new"})
            return None

        small.fault = fault
        outcomes = await small.write_batch(self.items(), atomic=True)
        assert isinstance(outcomes[6].error, Exists)
        found = {path: content for path, (_, content) in seen(tmp_path).items()}
        assert (found["old"], found["d/e/made"], found["last"]) == (b"old", b"theirs", b"new")

    @pytest.mark.parametrize("name", ["old", "d/e/made", "target", "last"])
    async def test_cancelled_in_the_middle(self, small: SmallOnly, tmp_path: Path, name: str) -> None:
        before = self.make(tmp_path)
        with anyio.CancelScope() as scope:

            def fault(path: SandboxPath) -> DevboxError | None:
                if path.text == name:
                    scope.cancel()
                return None

            small.fault = fault
            await small.write_batch(self.items(), atomic=True)
        now = seen(tmp_path)
        if name != "last":
            assert scope.cancelled_caught
            assert now == before


async def test_a_search_that_is_given_up_leaves_no_process(small: SmallOnly, tmp_path: Path) -> None:
    others = set(children())  # servers of other tests in this process
    put(tmp_path, {"f": b"a" * 60 + b"!\n"})
    for seconds in (0.3, 60.0):
        with anyio.move_on_after(1.0):
            assert (await small.search(ROOT, "(a+)+$", seconds=seconds)).timed_out
    assert set(children()) <= others


async def test_closing_ends_a_search(small: SmallOnly, tmp_path: Path) -> None:
    put(tmp_path, {"f": b"a" * 60 + b"!\n"})

    async def search() -> None:
        with pytest.raises(Unavailable):
            await small.search(ROOT, "(a+)+$", seconds=300)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(search)
            await anyio.sleep(0.5)
            await small.aclose()


def children() -> list[str]:
    """Return the processes that this one has started and that are still there."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.append(pid)
    return found
