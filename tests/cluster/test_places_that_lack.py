"""Containers that lack something: a full disk, a read-only root, no tar, no shell. Each is told in words of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.backends.shell import ShellBackend
from devbox_mcp.errors import NoSpace, ReadOnly, Unsupported
from devbox_mcp.models import BatchItem
from devbox_mcp.paths import SandboxPath
from devbox_mcp.transports.base import ExecTransport
from tests.cluster.looking import hidden, nothing_runs, run, sha256
from tests.cluster.namespace import Cluster, container

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

F = SandboxPath("f")
KINDS = {"guest": "debian-python", "debian": "debian", "busybox": "busybox"}
#: What every runtime gives a pod: shared memory of 64 MiB.
SMALL_DISK = "/dev/shm"


@contextlib.asynccontextmanager
async def opened(kind: str, transport: ExecTransport, root: str) -> AsyncIterator[Backend]:
    backend = ExecBackend(transport, root) if kind == "guest" else ShellBackend(transport, root)
    try:
        yield backend
    finally:
        await backend.aclose()
    await nothing_runs(transport)


async def megabytes(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(1 << 20)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_full_disk(cluster: Cluster, kind: str) -> None:
    # a pod of its own: what other tests leave running in theirs is not looked for here
    transport = cluster.transport(cluster.running(cluster.start_pod(KINDS[kind])), "main")
    async with opened(kind, transport, SMALL_DISK) as backend:
        await backend.write(F, b"old")
        before = await sha256(transport, f"{SMALL_DISK}/f")
        with pytest.raises(NoSpace) as caught:
            await backend.write(F, megabytes(80))
        assert str(caught.value) == (
            "write f: the disk is full [no_space]; the old content is untouched; free some space first"
        )
        assert await sha256(transport, f"{SMALL_DISK}/f") == before
        assert await hidden(transport, SMALL_DISK) == []
        # so full that nothing at all fits
        await run(transport, 'dd if=/dev/zero of="$1/filler" bs=65536 2> /dev/null; test -e "$1/filler"', SMALL_DISK)
        try:
            for path in (F, SandboxPath("directory/new")):
                with pytest.raises(NoSpace):
                    await backend.write(path, bytes(5000))
            with pytest.raises(NoSpace):
                await backend.copy(SandboxPath("filler"), SandboxPath("another"))
            [outcome] = await backend.write_batch([BatchItem(F, bytes(5000))])
            assert isinstance(outcome.error, NoSpace)
            assert await (await backend.read(F)).read() == b"old"
            listed = (await backend.list(SandboxPath("."))).entries
            assert [entry.path.text for entry in listed] == ["f", "filler"]
        finally:
            await run(transport, 'rm -rf "$1/filler"', SMALL_DISK)
        await backend.write(F, b"new")
        await backend.delete(F)
    assert await hidden(transport, SMALL_DISK) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_read_only_root(cluster: Cluster, kind: str) -> None:
    name = f"read-only-{kind}"
    cluster.create_pod(
        name,
        containers=[container("main", KINDS[kind], securityContext={"readOnlyRootFilesystem": True, "runAsUser": 0})],
    )
    transport = cluster.transport(cluster.running(name), "main")
    async with opened(kind, transport, "/etc") as backend:
        passwd, new = SandboxPath("passwd"), SandboxPath("new")
        assert (await backend.stat(passwd)).size
        for attempt in (
            lambda: backend.write(passwd, b"x"),
            lambda: backend.write(new, b"x"),
            lambda: backend.write(SandboxPath("a/b"), megabytes(20)),
            lambda: backend.mkdir(new),
            lambda: backend.delete(passwd),
            lambda: backend.move(passwd, new),
            lambda: backend.copy(passwd, new),
            lambda: backend.chmod(passwd, 0o600),
        ):
            with pytest.raises(ReadOnly) as caught:
                await attempt()
            assert "the file system is read-only [read_only]" in str(caught.value)


async def test_a_container_without_tar(cluster: Cluster) -> None:
    cluster.create_pod("no-tar", containers=[container("main", "debian", securityContext={"runAsUser": 0})])
    transport = cluster.transport(cluster.running("no-tar"), "main")
    await run(transport, 'rm -f "$(command -v tar)"; mkdir /place; ! command -v tar')
    async with opened("debian", transport, "/place") as backend:
        items = [BatchItem(SandboxPath(f"d/{number}"), b"%d" % number) for number in range(20)]
        assert all(outcome.error is None for outcome in await backend.write_batch(items))
        archive = await backend.archive([SandboxPath("d")], max_bytes=10**6, max_files=100)
        assert b"".join([chunk async for chunk in archive]).startswith(b"PK")
        assert archive.files == 20


@pytest.mark.parametrize("kind", ["guest", "shell"])
async def test_a_container_without_a_shell(cluster: Cluster, kind: str) -> None:
    transport = cluster.transport(cluster.running("distroless"), "main")
    backend = ExecBackend(transport) if kind == "guest" else ShellBackend(transport)
    try:
        with pytest.raises(Unsupported) as caught:
            await backend.stat(F)
    finally:
        await backend.aclose()
    assert ("python3 cannot be started" if kind == "guest" else "neither Python nor a shell") in str(caught.value)
    assert "image" in caught.value.hint
