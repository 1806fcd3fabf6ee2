"""The suite in pods of a real cluster: the guest where there is Python, the shell dialect in Debian and in busybox.

The container under test, whose programs are root's, has two others beside it on the same volume: one of the same
image whose programs are nobody's, for what file permissions are to forbid, and one from which the suite looks at the
files.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from devbox_mcp.backends.base import Backend
from devbox_mcp.backends.exec import ExecBackend
from devbox_mcp.backends.shell import ShellBackend
from devbox_mcp.guest.policy import Policy
from devbox_mcp.transports.base import Channel, ExecTransport
from tests.cluster.looking import nothing_runs
from tests.cluster.namespace import Cluster, container
from tests.cluster.pod_inside import Helper, PodInside, helping
from tests.conformance.box import Harness
from tests.conformance.conftest import box, open_box  # noqa: F401 - fixtures, which pytest finds here
from tests.conformance.suite import *  # noqa: F403 - the topics, which pytest collects here

_NOBODY = 65534
_IMAGES = {"guest": "debian-python", "debian": "debian", "busybox": "busybox"}
_UNDER_TEST = ("main", "nobody")


class Users(ExecTransport):
    """Starts programs as root, or as nobody."""

    def __init__(self, root: ExecTransport, nobody: ExecTransport) -> None:
        self._root = root
        self._nobody = nobody
        self._now = root

    @property
    def name(self) -> str:
        return self._now.name

    async def start(self, argv: Sequence[str]) -> Channel:
        return await self._now.start(argv)

    async def identity(self) -> str:
        return await self._now.identity()

    async def aclose(self) -> None:
        """The next test's backend uses it too."""

    @contextmanager
    def unprivileged(self) -> Iterator[None]:
        """Start programs as nobody meanwhile."""
        self._now = self._nobody
        try:
            yield
        finally:
            self._now = self._root


class Pod:
    """What the tests in one pod share: the transport to it, and the helper in it."""

    def __init__(self, cluster: Cluster, name: str, helper: Helper) -> None:
        self.transports = [cluster.transport(name, container) for container in _UNDER_TEST]
        self.users = Users(*self.transports)
        self.helper = helper


class Guest(Harness):
    inside: PodInside

    def __init__(self, pod: Pod, at_once: bool) -> None:
        self._users = pod.users
        self._at_once = at_once
        self.inside = PodInside(pod.helper, self._users.unprivileged)

    async def open(self, policy: Policy) -> Backend:
        backend = ExecBackend(self._users, self.inside.root, policy=policy)
        if self._at_once:
            await backend.root()
        return backend


class Shell(Harness):
    inside: PodInside

    def __init__(self, pod: Pod, keeps_attributes: bool) -> None:
        self._users = pod.users
        self._shells: list[ShellBackend] = []
        self.inside = PodInside(pod.helper, self._unprivileged, keeps_attributes)

    async def open(self, policy: Policy) -> Backend:
        backend = ShellBackend(self._users, self.inside.root, policy=policy)
        self._shells.append(backend)
        await backend.root()
        return backend

    @contextmanager
    def _unprivileged(self) -> Iterator[None]:
        for shell in self._shells:
            shell.pool.retire()
        with self._users.unprivileged():
            yield


@pytest.fixture(scope="module")
async def pods(cluster: Cluster) -> AsyncIterator[dict[str, Pod]]:
    """A pod of each kind. That this is asynchronous keeps all tests on one event loop, as the transports want it."""
    for kind, image in _IMAGES.items():
        cluster.create_pod(
            f"suite-{kind}",
            containers=[
                _container("main", image, cluster, user=0),
                _container("nobody", image, cluster, user=_NOBODY),
                _container("inside", "debian-python", cluster, user=0),
            ],
            volumes=[{"name": "work", "emptyDir": {"medium": "Memory"}}],  # where a flush costs nothing
        )
    names = {kind: cluster.running(f"suite-{kind}") for kind in _IMAGES}
    with ExitStack() as stack:
        made = {
            kind: Pod(cluster, name, stack.enter_context(helping(cluster.transport(name, "inside"), cluster.root)))
            for kind, name in names.items()
        }
        yield made
    for pod in made.values():
        for transport in pod.transports:
            await nothing_runs(transport)


def _container(name: str, image: str, cluster: Cluster, user: int) -> dict[str, Any]:
    mounted = [{"name": "work", "mountPath": cluster.root}]
    return container(name, image, volumeMounts=mounted, securityContext={"runAsUser": user, "runAsGroup": user})


@pytest.fixture(params=list(_IMAGES))
def harness(request: pytest.FixtureRequest, pods: dict[str, Pod]) -> Harness:
    pod = pods[request.param]
    if request.param != "guest":
        return Shell(pod, keeps_attributes=request.param == "debian")
    # a guest stays the user that it was started as, so where file permissions are to bind it, it starts only then
    return Guest(pod, at_once="unprivileged" not in request.function.__code__.co_names)
