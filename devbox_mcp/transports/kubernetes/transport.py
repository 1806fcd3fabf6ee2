"""The transport: finds the cluster and the container, starts programs, and says why it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from devbox_mcp.errors import DevboxError, InvalidArgument, NotFound, PermissionDenied, Unavailable
from devbox_mcp.transports.base import Channel, ExecTransport
from devbox_mcp.transports.kubernetes import api, pods
from devbox_mcp.transports.kubernetes.address import PodAddress
from devbox_mcp.transports.kubernetes.api import Refused
from devbox_mcp.transports.kubernetes.config import Access, access_to
from devbox_mcp.transports.kubernetes.lines import Line
from devbox_mcp.transports.kubernetes.refusals import refused

T = TypeVar("T")

#: From this version on the apiserver itself unpacks WebSockets, quickly, and speaks SPDY to the node.
_TRANSLATES = (1, 30)


class KubernetesTransport(ExecTransport):
    """A container of a pod. The configuration is loaded at the first use and, once more, when it is refused."""

    def __init__(self, address: PodAddress) -> None:
        self._address = address
        self._access: Access | None = None
        self._loading = asyncio.Lock()
        self._container: str | None = None
        self._speaks_spdy: bool | None = None
        self._seen: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return str(replace(self._address, container=self._container or self._address.container))

    async def start(self, argv: Sequence[str]) -> Channel:
        """Start a program. The cluster does not tell when it runs: that it is missing is raised by what comes next,
        ``receive`` or ``send``."""
        from devbox_mcp.transports.kubernetes.connection import PodChannel  # noqa: PLC0415  brings aiohttp

        program, container = argv[0], self._container or self._address.container
        if container is None:
            container = pods.choose_container(await self._pod(), self._address)
        try:
            line = await self._open(container, argv)
        except Refused as refusal:
            self._container = None
            raise await self._explained(refusal, container) from refusal
        self._container = container
        return PodChannel(line, program, self.name)

    async def _open(self, container: str, argv: Sequence[str]) -> Line:
        """Open a line in the protocol that the cluster is quicker in."""
        if self._speaks_spdy is None:
            version = await self._ask(api.get_version)
            self._speaks_spdy = version is not None and version < _TRANSLATES
        if self._speaks_spdy:
            line = await self._ask(lambda access: api.open_spdy(access, self._address, container, argv))
            if line is not None:
                return line
        return await self._ask(lambda access: api.open_exec(access, self._address, container, argv))

    async def identity(self) -> str:
        pod = await self._pod()
        return pods.identity(pod, pods.choose_container(pod, self._address))

    async def aclose(self) -> None:
        """Nothing is kept beside the channels."""

    async def _pod(self) -> dict[str, Any]:
        """Return the pod. Raises NotFound for one that was never there, what ``pods.gone`` tells for one that was."""
        try:
            self._seen = await self._ask(lambda access: api.get_pod(access, self._address))
        except Refused as refusal:
            if refusal.status == 404 and self._seen is not None:
                name = f"{self._address.namespace}/{self._address.pod}"
                raise pods.gone(self._seen, f"there is no pod {name} any more") from refusal
            raise refused(refusal, self._address, "pods", ("get",)) from refusal
        return self._seen

    async def _explained(self, refusal: Refused, container: str) -> DevboxError:
        """Why nothing can be started: the pod knows best, if it is not about rights."""
        error = refused(refusal, self._address, "pods/exec", ("get", "create"))
        if isinstance(error, PermissionDenied | InvalidArgument):
            return error
        try:
            pod = await self._pod()
            pods.choose_container(pod, self._address)
        except PermissionDenied as blind:
            return type(error)("start", ".", error.detail, hint=f"to learn more, {blind.hint}")
        except DevboxError as why:
            return why
        problem = pods.problem(pod, container, self._address)
        if problem is None and isinstance(error, NotFound):
            # the apiserver knows the pod; a kubelet that was just started may not
            return Unavailable(
                "start", ".", f"the node of {self._address} does not know it yet", hint="try again in a moment"
            )
        return problem or error

    async def _ask(self, request: Callable[[Access], Awaitable[T]]) -> T:
        """Send a request; with fresh credentials again when the present ones are not accepted any more."""
        access = await self._load(None)
        try:
            return await request(access)
        except Refused as refusal:
            if refusal.status != 401:
                raise
        return await request(await self._load(access))

    async def _load(self, stale: Access | None) -> Access:
        async with self._loading:
            if self._access is None or self._access is stale:
                self._access = await access_to(self._address)
            return self._access
