"""Small operations in a pod: each against a fresh exec session per call, and many at once against one at a time."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import quote

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.backends.shell import ShellBackend
from devbox_mcp.paths import SandboxPath
from tests.cluster.namespace import Cluster
from tests.raw import RawClient
from tools.bench.disk import durability
from tools.bench.pods import BUSYBOX, DEBIAN, GUEST, KINDS, ROOT, fresh, require
from tools.bench.report import Fact, Row
from tools.bench.turns import Contestant, row, take_turns
from tools.bench.work import KIB, WrongAnswerError, call, text_of

CONTENT = text_of(KIB).encode()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
READ, WRITTEN = SandboxPath("read.txt"), SandboxPath("written.txt")
IN_FLIGHT = 64


def url(cluster: Cluster, pod: str) -> str:
    """Return what ``devbox-mcp serve`` takes for a pod."""
    return f"k8s://{cluster.namespace}/{pod}?root={quote(ROOT)}&kubeconfig={quote(cluster.kubeconfig)}"


def server(cluster: Cluster, pod: str, *options: str) -> RawClient:
    return RawClient([sys.executable, "-m", "devbox_mcp", "serve", url(cluster, pod), *options])


@dataclass
class Work:
    """Timed work on one backend, checked outside the clock."""

    backend: Backend
    who: str
    written: int = 0
    last: bytes = b""

    async def read(self) -> float:
        begun = time.perf_counter()
        data = await (await self.backend.read(READ)).read()
        seconds = time.perf_counter() - begun
        if data != CONTENT:
            raise WrongAnswerError(f"{self.who}: a small file came back changed")
        return seconds

    async def write(self) -> float:
        """Replace a file, each time by other bytes."""
        self.written += 1
        self.last = f"{self.written:020}".encode() + CONTENT[20:]
        begun = time.perf_counter()
        written = await self.backend.write(WRITTEN, self.last)
        seconds = time.perf_counter() - begun
        if written.info.sha256 != hashlib.sha256(self.last).hexdigest():
            raise WrongAnswerError(f"{self.who}: other bytes were written")
        return seconds

    async def stat(self) -> float:
        begun = time.perf_counter()
        info = await self.backend.stat(READ)
        seconds = time.perf_counter() - begun
        if info.size != KIB:
            raise WrongAnswerError(f"{self.who}: a small file has another size")
        return seconds


async def compare(cluster: Cluster, rounds: int) -> list[Row | Fact]:
    """Measure reads and writes by the guest, by the shell dialect and through MCP."""
    async with AsyncExitStack() as stack:
        contestants: dict[str, Contestant] = {}
        works = {}
        for pod in KINDS:
            transport = cluster.transport(pod)
            backend: Backend = ExecBackend(transport, ROOT) if pod == GUEST else ShellBackend(transport, ROOT)
            stack.push_async_callback(backend.aclose)
            work = works[pod] = Work(backend, pod)
            await backend.write(READ, CONTENT)
            await require(transport, f"{ROOT}/{READ.text}", SHA256, pod)
            contestants[f"{pod}: fresh"] = Contestant(_fresh_read(cluster, pod))
            contestants[f"{pod}: read"] = Contestant(work.read, 10 if pod == GUEST else 5)
            contestants[f"{pod}: write"] = Contestant(work.write, 5)
        client = stack.enter_context(server(cluster, GUEST))
        client.initialize()
        contestants["mcp"] = Contestant(_through_mcp(client), 10)
        timings = await take_turns(contestants, rounds)
        for pod, work in works.items():
            sha256 = hashlib.sha256(work.last).hexdigest()
            await require(cluster.transport(pod), f"{ROOT}/{WRITTEN.text}", sha256, pod)
        disk = await durability(cluster.transport(GUEST))

    def against_fresh(work: str, ours: str, aim: float | None) -> Row:
        return row(work, timings, ours, f"{ours.partition(':')[0]}: fresh", aim, "fresh exec")

    medians = timings.medians()
    return [
        against_fresh("read 1 KB, guest", f"{GUEST}: read", 1 / 60),
        row("read 1 KB, guest, through MCP", timings, "mcp", f"{GUEST}: fresh", None, "fresh exec"),
        against_fresh("write 1 KB, guest", f"{GUEST}: write", 1 / 30),
        against_fresh("read 1 KB, shell in Debian", f"{DEBIAN}: read", 1 / 8),
        against_fresh("write 1 KB, shell in Debian", f"{DEBIAN}: write", 1 / 4),
        against_fresh("read 1 KB, shell in busybox", f"{BUSYBOX}: read", 1 / 8),
        against_fresh("write 1 KB, shell in busybox", f"{BUSYBOX}: write", 1 / 4),
        Fact("read 1 KB by the guest, at the backend", medians[f"{GUEST}: read"] * 1e3, "ms", 1.5),
        Fact("read 1 KB by the guest, through MCP", medians["mcp"] * 1e3, "ms", 2.5),
        *disk,
    ]


def _fresh_read(cluster: Cluster, pod: str) -> Callable[[], Awaitable[float]]:
    transport = cluster.transport(pod)

    async def task() -> float:
        seconds, said = await fresh(transport, ["cat", f"{ROOT}/{READ.text}"])
        if said != CONTENT:
            raise WrongAnswerError("a fresh exec: a small file came back changed")
        return seconds

    return task


def _through_mcp(client: RawClient) -> Callable[[], Awaitable[float]]:
    async def task() -> float:
        seconds, result = call(client, ("read_file", {"path": READ.text, "line_numbers": False}))
        if result["content"][0]["text"].encode() != CONTENT:
            raise WrongAnswerError("through MCP: a small file came back changed")
        return seconds

    return task


async def many_at_once(cluster: Cluster, rounds: int) -> list[Row]:
    """Measure 64 operations in flight on one pod against one at a time, per operation."""
    backend = ExecBackend(cluster.transport(GUEST), ROOT)
    try:
        await backend.write(READ, CONTENT)
        work = Work(backend, "guest")
        found = []
        for what, task in (("reads of 1 KB", work.read), ("stats", work.stat), ("writes of 1 KB", _own_files(backend))):
            timings = await take_turns(
                {"one at a time": Contestant(_in_flight(task, 1)), "ours": Contestant(_in_flight(task, IN_FLIGHT))},
                rounds,
            )
            aim = None if what.startswith("writes") else 1 / 3
            found.append(row(f"{IN_FLIGHT} {what} in flight, each", timings, "ours", "one at a time", aim))
        return found
    finally:
        await backend.aclose()


def _in_flight(task: Callable[[], Awaitable[float]], width: int) -> Callable[[], Awaitable[float]]:
    """Do a piece of work as often whatever the width; return the seconds of one."""
    count = 4 * IN_FLIGHT

    async def lane() -> None:
        for _ in range(count // width):
            await task()

    async def timed() -> float:
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(width):
                group.create_task(lane())
        return (time.perf_counter() - begun) / count

    return timed


def _own_files(backend: Backend) -> Callable[[], Awaitable[float]]:
    """Write files in turn, so that none waits for another's lock alone."""
    count = 0

    async def task() -> float:
        nonlocal count
        count += 1
        written = await backend.write(SandboxPath(f"flight/{count % IN_FLIGHT}"), CONTENT)
        if written.info.sha256 != SHA256:
            raise WrongAnswerError("guest: other bytes were written")
        return 0.0

    return task
