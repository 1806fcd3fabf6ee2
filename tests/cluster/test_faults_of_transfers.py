"""Files on their way to and from a pod while something breaks: what is told to have happened did, bytes are right or
there is an error, the old file is whole, and nothing of ours is left running in the pod."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.backends.shell import ShellBackend
from devbox_mcp.errors import Conflict, DevboxError, NotFound, Unavailable
from devbox_mcp.paths import SandboxPath
from devbox_mcp.session.opening import Wanted
from devbox_mcp.session.warm import WarmSession
from devbox_mcp.transports.base import ExecTransport, Gone
from tests.cluster.looking import hidden, nothing_runs, run, sha256
from tests.cluster.namespace import Cluster, container
from tests.cluster.proxy import Direction, Fault, Proxy, proxied

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MB = 1_000_000
SIZE = 60 * MB
F = SandboxPath("f")
BIG = SandboxPath("big")
#: Beyond this nobody waits: far more than the limits that the tests set.
PATIENCE = 100.0
#: A program starts in a pod within it, even on a machine that is busy.
SILENCE = 5.0
DEADLINE = 12.0
OLD = b"what was there before"
DATA = random.Random(7).randbytes(SIZE)
SHA256 = hashlib.sha256(DATA).hexdigest()
_KINDS = {"guest": "debian-python", "debian": "debian", "busybox": "busybox"}


class ImpatientBackend(ExecBackend):
    """The guest's, whose session gives up soon what says nothing, and whose guest does so too."""

    def __init__(self, transport: ExecTransport, root: str) -> None:
        super().__init__(transport, root)
        self.session = self._session = WarmSession(
            transport, Wanted(root, silence=3 * SILENCE), deadline=DEADLINE, beat=SILENCE / 4, silence=SILENCE
        )


@dataclass
class Place:
    """A pod under test: ``backend`` opens it through the proxy, ``inside`` looks from within, past the proxy."""

    kind: str
    pod: str
    root: str
    proxy: Proxy
    inside: ExecTransport
    backend: Callable[[], Backend]

    async def put_old(self) -> None:
        await run(self.inside, 'printf %s "$2" > "$1/f"', self.root, OLD.decode())

    async def content_is(self, *allowed: bytes) -> None:
        found = await sha256(self.inside, f"{self.root}/f")
        assert found in [hashlib.sha256(data).hexdigest() for data in allowed]


@contextlib.asynccontextmanager
async def opened(place: Place, *own: str) -> AsyncIterator[Backend]:
    """A backend, which is closed; then nothing of it runs in the pod, and nothing is left there."""
    backend = place.backend()
    try:
        yield backend
    finally:
        place.proxy.arm()
        place.proxy.dark = False
        await backend.aclose()
    await nothing_runs(place.inside, *own)
    assert await hidden(place.inside, place.root) == []


@pytest.fixture(scope="module")
def pods(cluster: Cluster) -> dict[str, str]:
    """A pod of each kind with a big file in it."""
    names = {kind: cluster.start_pod(image, f"faults-{kind}") for kind, image in _KINDS.items()}
    return {kind: cluster.running(name) for kind, name in names.items()}


@pytest.fixture(params=list(_KINDS))
async def place(request: pytest.FixtureRequest, pods: dict[str, str], cluster: Cluster, tmp_path: Path):
    async with proxied(cluster.kubeconfig, tmp_path) as (proxy, kubeconfig):
        yield at(request.param, pods[request.param], cluster, proxy, kubeconfig)


@pytest.fixture(params=["debian", "busybox"])
async def shell(request: pytest.FixtureRequest, pods: dict[str, str], cluster: Cluster, tmp_path: Path):
    async with proxied(cluster.kubeconfig, tmp_path) as (proxy, kubeconfig):
        yield at(request.param, pods[request.param], cluster, proxy, kubeconfig)


@pytest.fixture(params=["guest", "debian"])
async def either(request: pytest.FixtureRequest, pods: dict[str, str], cluster: Cluster, tmp_path: Path):
    """The guest, or a shell."""
    async with proxied(cluster.kubeconfig, tmp_path) as (proxy, kubeconfig):
        yield at(request.param, pods[request.param], cluster, proxy, kubeconfig)


@pytest.fixture
async def guest(pods: dict[str, str], cluster: Cluster, tmp_path: Path):
    async with proxied(cluster.kubeconfig, tmp_path) as (proxy, kubeconfig):
        yield at("guest", pods["guest"], cluster, proxy, kubeconfig)


def at(kind: str, pod: str, cluster: Cluster, proxy: Proxy, kubeconfig: str) -> Place:
    def backend() -> Backend:
        transport = cluster.transport(pod, "main", kubeconfig=kubeconfig)
        if kind == "guest":
            return ImpatientBackend(transport, cluster.root)
        return ShellBackend(transport, cluster.root, patience=SILENCE, silence=3 * SILENCE)

    return Place(kind, pod, cluster.root, proxy, cluster.transport(pod, "main"), backend)


async def pieces(data: bytes = DATA, size: int = 500_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def upload(backend: Backend, source: AsyncIterator[bytes] | None = None) -> DevboxError | None:
    """Write the big file; return the error that it ended with."""
    with anyio.fail_after(PATIENCE):
        try:
            written = await backend.write(F, source or pieces())
        except DevboxError as error:
            assert str(error).startswith("write f: ")
            return error
    assert (written.info.size, written.info.sha256) == (SIZE, SHA256)
    return None


async def download(backend: Backend) -> DevboxError | None:
    """Read the big file; return the error that it ended with."""
    digest, size = hashlib.sha256(), 0
    with anyio.fail_after(PATIENCE):
        try:
            async for chunk in (await backend.read(BIG)).chunks:
                digest.update(chunk)
                size += len(chunk)
        except DevboxError as error:
            assert str(error).startswith("read big: ")
            return error
    assert (size, digest.hexdigest()) == (SIZE, SHA256)
    return None


async def has_big(place: Place, *own: str) -> None:
    """See to it that the big file is there."""
    if (await run(place.inside, 'test -e "$1/big" && echo yes || echo no', place.root)).strip() == "no":
        async with opened(place, *own) as backend:
            await backend.write(BIG, pieces())
    assert await sha256(place.inside, f"{place.root}/big") == SHA256


# -- connections that are cut


#: Bytes between one cut and the next: before the first chunk, in it, at its edges, soon again, and so on.
_CUTS = (400_000, 9 * MB, 10_486_000, 25_000_000, 200_000, 3, 12 * MB, 1_000_000)


def cuts(direction: Direction) -> Iterator[Fault]:
    for after, how in zip(_CUTS, itertools.cycle(("close", "reset")), strict=False):
        yield Fault(direction, after, how)


async def test_an_upload_by_the_guest_goes_on_after_every_cut(guest: Place) -> None:
    await guest.put_old()
    async with opened(guest) as backend:
        await backend.root()
        guest.proxy.arm(*cuts("up"))
        assert await upload(backend) is None
        assert guest.proxy.happened == len(_CUTS)
    await guest.content_is(DATA)


async def test_a_download_by_the_guest_goes_on_after_every_cut(guest: Place) -> None:
    await has_big(guest)
    async with opened(guest) as backend:
        await backend.root()
        guest.proxy.arm(*cuts("down"))
        assert await download(backend) is None
        assert guest.proxy.happened == len(_CUTS)


async def test_an_upload_by_a_shell_that_is_cut_is_whole_or_an_error(shell: Place) -> None:
    async with opened(shell) as backend:
        for after, how in [(300_000, "close"), (20 * MB, "reset"), (SIZE, "close")]:
            await shell.put_old()
            await backend.root()
            shell.proxy.arm(Fault("up", after, how))
            error = await upload(backend)
            assert error is None or isinstance(error, Unavailable)
            await shell.content_is(DATA if error is None else OLD)
        assert shell.proxy.happened == 3


async def test_a_download_by_a_shell_that_is_cut_is_whole_or_an_error(shell: Place) -> None:
    await has_big(shell)
    async with opened(shell) as backend:
        for after, how in [(1, "reset"), (20 * MB, "close")]:
            await backend.root()
            shell.proxy.arm(Fault("down", after, how))
            error = await download(backend)
            assert error is None or isinstance(error, Unavailable)
        assert shell.proxy.happened == 2
        assert await download(backend) is None


async def test_a_connection_that_stalls_is_waited_for(either: Place) -> None:
    await has_big(either)
    async with opened(either) as backend:
        await backend.root()
        either.proxy.arm(Fault("up", 20 * MB, "stall", SILENCE / 2))
        assert await upload(backend) is None
        either.proxy.arm(Fault("down", 20 * MB, "stall", SILENCE / 2))
        assert await download(backend) is None
        assert either.proxy.happened == 2
    await either.content_is(DATA)


@pytest.mark.parametrize("transfer", [upload, download])
async def test_a_connection_that_falls_silent_is_given_up(either: Place, transfer) -> None:
    """Nobody ever says that it is gone, neither here nor in the pod."""
    await has_big(either)
    await either.put_old()
    async with opened(either) as backend:
        await backend.root()
        either.proxy.arm(Fault("up" if transfer is upload else "down", 20 * MB, "hole"))
        error = await transfer(backend)
        assert either.proxy.happened == 1
        assert error is None if either.kind == "guest" else isinstance(error, Unavailable)
        await either.content_is(DATA if transfer is upload and error is None else OLD)
        assert await (await backend.read(F)).read()


@pytest.mark.parametrize("transfer", [upload, download])
async def test_a_cluster_that_falls_silent_is_an_error(guest: Place, transfer) -> None:
    await has_big(guest)
    await guest.put_old()
    async with opened(guest) as backend:
        await backend.root()
        guest.proxy.arm(Fault("up" if transfer is upload else "down", 20 * MB, "hole"))
        guest.proxy.dark = True
        assert await transfer(backend) is not None
        await guest.content_is(OLD)
        guest.proxy.dark = False
        await backend.write(F, b"again")
        await guest.content_is(b"again")
        # what had arrived could be gone on with, and expires
        await run(guest.inside, 'rm -f "$1"/.devbox-mcp-upload-*', guest.root)


async def test_small_files_over_connections_that_are_cut(place: Place) -> None:
    """1 KB at a time, the connection cut every few hundred bytes to few thousand, in both directions."""
    numbers = random.Random(3)
    cuts = [
        Fault(direction, numbers.randrange(200, 12_000), how)
        for _, direction, how in zip(
            range(14), itertools.cycle(("up", "down")), itertools.cycle(("close", "close", "reset", "reset"))
        )
    ]
    await place.put_old()
    async with opened(place) as backend:
        await backend.root()
        place.proxy.arm(*cuts)
        possible, errors, rounds = {OLD}, 0, 0
        with anyio.fail_after(PATIENCE):
            while place.proxy.faults:
                rounds += 1
                data = numbers.randbytes(1024)
                try:
                    await backend.write(F, data)
                    possible = {data}
                except DevboxError:
                    possible |= {data}  # whether it happened is not known
                    errors += 1
                try:
                    found = await (await backend.read(F)).read()
                except DevboxError:
                    errors += 1
                else:
                    assert found in possible
                    possible = {found}
        assert place.proxy.happened == len(cuts)
        assert rounds > errors / 2
        await place.content_is(*possible)


# -- pods and containers that end


class Slowly:
    """The big file as a source that lets something happen once half of it was taken."""

    def __init__(self, happen: Callable[[], object]) -> None:
        self._happen = happen

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number, piece in enumerate([piece async for piece in pieces()]):
            if number == 60:
                await asyncio.to_thread(self._happen)
            yield piece


@pytest.fixture(params=["guest", "debian"])
async def fleeting(request: pytest.FixtureRequest, cluster: Cluster, tmp_path: Path):
    """A pod that the test may end."""
    pod = cluster.running(cluster.start_pod(_KINDS[request.param]))
    async with proxied(cluster.kubeconfig, tmp_path) as (proxy, kubeconfig):
        yield at(request.param, pod, cluster, proxy, kubeconfig)


def delete(cluster: Cluster, pod: str) -> None:
    from kubernetes.client import ApiException

    # without grace it would be gone for the cluster before it is gone
    cluster.core.delete_namespaced_pod(pod, cluster.namespace, grace_period_seconds=1)
    with contextlib.suppress(ApiException):
        cluster.until(pod, lambda _: False)


async def test_a_pod_that_is_deleted(cluster: Cluster, fleeting: Place) -> None:
    await has_big(fleeting)
    backend = fleeting.backend()
    try:
        content = await backend.read(BIG)
        assert await anext(content.chunks)
        error = await upload(backend, aiter(Slowly(lambda: delete(cluster, fleeting.pod))))
        assert isinstance(error, NotFound | Unavailable)
        with anyio.fail_after(PATIENCE), pytest.raises((NotFound, Unavailable)):
            await content.read()
        # nothing makes another one, so nothing is waited for
        with anyio.fail_after(PATIENCE), pytest.raises(Gone, match="any more"):
            await backend.write(F, b"x")
    finally:
        await backend.aclose()


async def test_a_pod_that_is_replaced(cluster: Cluster, fleeting: Place) -> None:
    """Half of an upload went to the old pod: the new one gets none of it."""
    await has_big(fleeting)

    def replace() -> None:
        delete(cluster, fleeting.pod)
        cluster.running(cluster.start_pod(_KINDS[fleeting.kind], fleeting.pod))

    async with opened(fleeting) as backend:
        content = await backend.read(BIG)
        assert await anext(content.chunks)
        error = await upload(backend, aiter(Slowly(replace)))
        assert isinstance(error, Unavailable)
        with anyio.fail_after(PATIENCE), pytest.raises((NotFound, Unavailable, Conflict)):
            await content.read()
        assert (await run(fleeting.inside, 'ls "$1"', fleeting.root)).split() == []
        await backend.write(F, b"in the new one")
        await fleeting.content_is(b"in the new one")


_ENDS = ["sh", "-c", "trap 'exit 1' TERM; while :; do sleep 0.2; done"]


@pytest.mark.parametrize("kind", ["guest", "debian"])
async def test_a_container_that_restarts(cluster: Cluster, kind: str, tmp_path: Path) -> None:
    """Its volume is there again afterwards, and so is what was uploaded: it goes on, or is an error."""
    pod = f"restarts-{kind}"
    mounted = [{"name": "work", "mountPath": cluster.root}]
    cluster.create_pod(
        pod,
        containers=[container("main", _KINDS[kind], command=_ENDS, volumeMounts=mounted)],
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    cluster.running(pod)

    def restart(times: int) -> None:
        signalled = ["kubectl", "--kubeconfig", cluster.kubeconfig, "-n", cluster.namespace, "exec", pod, "--"]
        subprocess.run([*signalled, "sh", "-c", "kill -TERM 1"], check=False, timeout=60, capture_output=True)
        cluster.until(pod, lambda found: found.status.container_statuses[0].restart_count == times)
        cluster.running(pod)

    async with proxied(cluster.kubeconfig, tmp_path) as (proxy, kubeconfig):
        place = at(kind, pod, cluster, proxy, kubeconfig)
        await has_big(place, "sleep 0.2")
        await place.put_old()
        async with opened(place, "sleep 0.2") as backend:
            error = await upload(backend, aiter(Slowly(lambda: restart(1))))
            assert error is None or isinstance(error, Unavailable)
            await place.content_is(DATA if error is None else OLD)
            assert await download(backend) is None


# -- the node's own programs


@pytest.mark.parametrize("name", ["containerd", "kubelet"])
async def test_a_part_of_the_node_that_restarts(either: Place, component, name: str) -> None:
    """Programs may outlive it, with their pipes open and nobody at the other end."""
    await has_big(either)
    await either.put_old()

    def restart() -> None:
        component("kill", name)
        component("start", name)

    async with opened(either) as backend:
        content = await backend.read(BIG)
        digest = hashlib.sha256(await anext(content.chunks))
        error = await upload(backend, aiter(Slowly(restart)))
        await works_again(either)
        await either.content_is(DATA if error is None else OLD)
        with anyio.fail_after(PATIENCE):
            try:
                async for chunk in content.chunks:
                    digest.update(chunk)
            except DevboxError as failure:
                assert isinstance(failure, Unavailable)
            else:
                assert digest.hexdigest() == SHA256
        assert await (await backend.read(F)).read()
        assert await download(backend) is None


async def works_again(place: Place) -> None:
    with anyio.fail_after(PATIENCE):
        while True:
            with contextlib.suppress(DevboxError, AssertionError):
                await run(place.inside, "true")
                return
            await asyncio.sleep(0.3)


# -- a client that dies


_CLIENT = """
import asyncio, sys
from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.backends.shell import ShellBackend
from devbox_mcp.paths import SandboxPath
from devbox_mcp.transports.kubernetes import KubernetesTransport, PodAddress

async def endless():
    while True:
        yield bytes(1 << 20)
        print("on", flush=True)

async def main(kind, namespace, pod, kubeconfig, root):
    transport = KubernetesTransport(PodAddress(namespace, pod, "main", kubeconfig=kubeconfig))
    backend = (ExecBackend if kind == "guest" else ShellBackend)(transport, root)
    await backend.write(SandboxPath("killed"), endless())

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_client_that_is_killed_leaves_no_process(cluster: Cluster, place: Place) -> None:
    arguments = [place.kind, cluster.namespace, place.pod, cluster.kubeconfig, cluster.root]
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CLIENT, *arguments, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    try:
        assert client.stdout is not None
        for _ in range(15):
            assert await client.stdout.readline() == b"on\n"
    finally:
        os.kill(client.pid, signal.SIGKILL)
        await client.communicate()
    await nothing_runs(place.inside)
    left = await hidden(place.inside, place.root)
    await run(place.inside, 'rm -f "$1"/.devbox-mcp-*', place.root)
    assert len(left) <= 1  # what can be gone on with, or is swept
