"""A large file into a pod and out of it, against kubectl; and what that costs others, and in memory."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import median, quantiles

from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.paths import SandboxPath
from tests.cluster.namespace import Cluster
from tools.bench import memory
from tools.bench.kubectl import Kubectl
from tools.bench.material import hash_of, pieces, random_file, same, save
from tools.bench.pods import GUEST, ROOT, guest_peak, require, run
from tools.bench.report import Fact, Row
from tools.bench.small import CONTENT, READ, Work, server
from tools.bench.turns import carry_in_turns, row
from tools.bench.work import MIB, call

FILE = SandboxPath("random")
_REMOTE = f"{ROOT}/{FILE.text}"
_PAUSE = 0.01


async def compare(cluster: Cluster, scratch: Path, size: int, rounds: int) -> list[Row]:
    """Carry a random file up and down; ``scratch`` is a directory of this machine."""
    local, saved = scratch / "random", scratch / "saved"
    sha256 = random_file(local, size)
    transport, kubectl = cluster.transport(GUEST), Kubectl(cluster.kubeconfig, cluster.namespace, GUEST)
    backend = ExecBackend(cluster.transport(GUEST), ROOT)

    async def up() -> float:
        begun = time.perf_counter()
        written = await backend.write(FILE, pieces(local))
        seconds = time.perf_counter() - begun
        same(written.info.sha256, sha256, "guest")
        return seconds

    async def down() -> float:
        begun = time.perf_counter()
        await save((await backend.read(FILE)).chunks, saved)
        return time.perf_counter() - begun

    async def arrived_there(who: str) -> None:
        await require(transport, _REMOTE, sha256, who)
        await run(transport, "rm", _REMOTE)

    async def arrived_here(who: str) -> None:
        same(hash_of(saved), sha256, who)
        saved.unlink()

    try:
        ups = {
            "ours": up,
            "kubectl cp": lambda: kubectl.cp_up(local, _REMOTE),
            "kubectl exec cat": lambda: kubectl.stream_up(local, _REMOTE),
        }
        up_timings = await carry_in_turns(ups, rounds, arrived_there)
        await up()
        downs = {
            "ours": down,
            "kubectl cp": lambda: kubectl.cp_down(_REMOTE, saved),
            "kubectl exec cat": lambda: kubectl.stream_down(_REMOTE, saved),
        }
        down_timings = await carry_in_turns(downs, rounds, arrived_here)
        await arrived_there("guest")
    finally:
        await backend.aclose()
    name = f"{size // 1000**2} MB"
    return [
        row(f"{name} up, verified and flushed", up_timings, "ours", "kubectl cp", 1.0),
        row("  against the raw stream", up_timings, "ours", "kubectl exec cat"),
        row(f"{name} down, verified", down_timings, "ours", "kubectl cp", 0.8),
        row("  against the raw stream", down_timings, "ours", "kubectl exec cat"),
    ]


async def beside_an_upload(cluster: Cluster, scratch: Path, size: int) -> list[Fact]:
    """Measure reads of 1 KB while a file is uploaded to the same pod on the same session."""
    local = scratch / "random"
    sha256 = random_file(local, size)
    backend = ExecBackend(cluster.transport(GUEST), ROOT)
    try:
        await backend.write(READ, CONTENT)
        work, reads = Work(backend, "guest"), []
        upload = asyncio.create_task(backend.write(FILE, pieces(local)))
        begun = time.perf_counter()
        while not upload.done():
            reads.append(await work.read())
            await asyncio.sleep(_PAUSE)
        seconds = time.perf_counter() - begun
        same((await upload).info.sha256, sha256, "guest")
    finally:
        await backend.aclose()
    await require(cluster.transport(GUEST), _REMOTE, sha256, "guest")
    await run(cluster.transport(GUEST), "rm", _REMOTE)
    what = f"1 KB read while {size // MIB} MiB upload to the same pod"
    return [
        Fact(f"{what}: p99 of {len(reads)}", quantiles(reads, n=100)[98] * 1e3, "ms", 50),
        Fact(f"{what}: median", median(reads) * 1e3, "ms"),
        Fact(f"{what}: the longest", max(reads) * 1e3, "ms"),
        Fact("  the upload meanwhile", size / seconds / MIB, "MiB/s"),
    ]


async def peaks(cluster: Cluster, scratch: Path, size: int) -> list[Fact]:
    """Measure how much memory a server, a process of its own, and its guest hold at most while a file goes up and
    down by the tools for it."""
    local, saved = scratch / "random", scratch / "saved"
    sha256 = random_file(local, size)
    transport = cluster.transport(GUEST)
    options = ("--allow-local", str(scratch), "--max-file-size", "2G", "--max-transfer", "2G")
    found = []
    for tool, way in (("upload_file", "up"), ("download_file", "down")):
        with server(cluster, GUEST, *options) as client:
            client.initialize()
            ends = {"path": FILE.text, "local_path": str(local if way == "up" else saved)}
            seconds, _ = await asyncio.to_thread(call, client, (tool, ends))
            for who, peak in (("this process", memory.peak(client.pid)), ("the guest", await guest_peak(transport))):
                most = 150 if who == "this process" else 64
                found.append(Fact(f"peak memory, {size // MIB} MiB {way}: {who}", peak / MIB, "MiB", most))
            found.append(Fact(f"  {tool} through MCP", size / seconds / MIB, "MiB/s"))
    await require(transport, _REMOTE, sha256, "upload_file")
    same(hash_of(saved), sha256, "download_file")
    saved.unlink()
    await run(transport, "rm", _REMOTE)
    return found
