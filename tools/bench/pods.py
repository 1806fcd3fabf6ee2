"""A namespace of its own for one run, and looking into its pods by other means than what is measured."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from devbox_mcp.transports.base import ExecTransport
from tests.cluster.namespace import Cluster
from tools.bench.work import WrongAnswerError

ROOT = Cluster.root
#: Pods are called by their kind; this is the one that has Python.
GUEST, DEBIAN, BUSYBOX = KINDS = ("debian-python", "debian", "busybox")


@contextmanager
def namespace(kubeconfig: str) -> Iterator[Cluster]:
    """Make a namespace with a pod of each kind, an emptyDir as its work directory; delete it at the end."""
    from kubernetes import client, config  # noqa: PLC0415  a second and a half, which --help need not take

    api = config.new_client_from_config(kubeconfig)  # type: ignore[no-untyped-call]
    core = client.CoreV1Api(api)
    name = f"devbox-mcp-bench-{secrets.token_hex(4)}"
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name)))
    try:
        cluster = Cluster(core, name, kubeconfig)
        cluster.await_service_account("default")
        for kind in KINDS:
            cluster.start_pod(kind, kind)
        for kind in KINDS:
            cluster.running(kind)
        yield cluster
    finally:
        core.delete_namespace(name)
        api.close()


async def fresh(transport: ExecTransport, argv: Sequence[str]) -> tuple[float, bytes]:
    """Start a program in an exec session of its own; return the seconds until its exit status was there, and what it
    said. To leave the session, which comes on top for whoever does it so, is not counted."""
    begun = time.perf_counter()
    channel = await transport.start(argv)
    try:
        said = []
        while piece := await channel.receive():
            said.append(piece)
        ended = await channel.exit()
        seconds = time.perf_counter() - begun
    finally:
        await channel.aclose()
    if ended.status != 0:
        raise WrongAnswerError(f"{argv[0]}: {ended}")
    return seconds, b"".join(said)


async def run(transport: ExecTransport, *argv: str) -> str:
    """Return what a program in the pod says."""
    return (await fresh(transport, argv))[1].decode()


async def require(transport: ExecTransport, path: str, sha256: str, who: str) -> None:
    """Raise WrongAnswerError unless a file in the pod has this hash."""
    found = await run(transport, "sha256sum", path)
    if found.split()[0] != sha256:
        raise WrongAnswerError(f"{who}: what arrived in the pod is not what was sent")


async def guest_peak(transport: ExecTransport) -> int:
    """Return the most bytes of memory that a Python process which still runs in the pod ever held."""
    said = await run(transport, "sh", "-c", "cat /proc/[0-9]*/status")
    peaks = []
    name = ""
    for line in said.splitlines():
        if line.startswith("Name:"):
            name = line.split()[1]
        elif line.startswith("VmHWM:") and name.startswith("python"):
            peaks.append(int(line.split()[1]) * 1024)
    return max(peaks)
