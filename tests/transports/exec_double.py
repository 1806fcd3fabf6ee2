"""A double of an apiserver: one pod, and pods/exec in versions 4 and 5 of its protocol.

Written from the protocol's rules, for what the real cluster of the tests (v4, well-behaved) cannot show: the half-close
of v5, servers that break rules, connections that end in the wrong place. It is strict where the real server is: a ping
or an unasked pong, text, or a message of more than 32 MiB ends the session with an error that the test sees.
"""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from devbox_mcp.transports.kubernetes import KubernetesTransport, PodAddress

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
SUCCESS = b'\3{"metadata":{},"status":"Success"}'
POD = {
    "metadata": {"uid": "uid-1"},
    "spec": {"containers": [{"name": "main"}]},
    "status": {
        "phase": "Running",
        "containerStatuses": [{"name": "main", "containerID": "containerd://1", "state": {"running": {}}}],
    },
}


@dataclass
class Session:
    """The server's side of one program."""

    socket: web.WebSocketResponse
    request: web.Request
    frames: list = field(default_factory=list)
    broken_rules: list = field(default_factory=list)

    async def receive(self):
        """Return the next message, None at the end of the connection."""
        message = await self.socket.receive()
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
            return None
        if message.type is not WSMsgType.BINARY:
            self.broken_rules.append(message.type.name)
            return None
        self.frames.append(len(message.data))
        return message.data

    async def send(self, message):
        await self.socket.send_bytes(message)

    def cut(self):
        """End the TCP connection without a word."""
        self.request.transport.abort()


class ExecDouble:
    """Runs ``program``, a coroutine that is given a Session, for every exec. ``protocols`` are what it can speak.
    ``version`` is what the cluster says that it is; ``post`` is the status with which it refuses SPDY."""

    def __init__(
        self, program, protocols=("v5.channel.k8s.io", "v4.channel.k8s.io"), refusal=None, version=None, post=405
    ):
        self._program = program
        self._protocols = protocols
        self._refusal = refusal
        self._version = version
        self._post = post
        self.pod = POD
        self.requests = []
        self.sessions = []

    @contextlib.asynccontextmanager
    async def serving(self, tmp_path):
        """Yield a transport to it."""
        application = web.Application()
        application.router.add_get("/api/v1/namespaces/there/pods/web", self._show)
        application.router.add_get("/api/v1/namespaces/there/pods/web/exec", self._exec)
        application.router.add_get("/version", self._tell_version)
        application.router.add_post("/api/v1/namespaces/there/pods/web/exec", self._refuse_post)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        config = kubeconfig(tmp_path, port)
        try:
            yield KubernetesTransport(PodAddress("there", "web", kubeconfig=str(config)))
        finally:
            await runner.cleanup()

    async def _show(self, request):
        self.requests.append(request)
        return web.json_response(self.pod)

    async def _tell_version(self, _request):
        if self._version is None:
            return web.Response(status=403)
        return web.json_response({"major": "1", "gitVersion": self._version})

    async def _refuse_post(self, request):
        self.requests.append(request)
        return web.json_response({"message": "not so", "reason": "Whatever"}, status=self._post)

    async def _exec(self, request):
        self.requests.append(request)
        if self._refusal is not None:
            status, text = self._refusal
            return web.Response(status=status, text=text)
        socket = web.WebSocketResponse(
            protocols=self._protocols, autoping=False, autoclose=False, max_msg_size=32 * 1024 * 1024, timeout=1.0
        )
        await socket.prepare(request)
        session = Session(socket, request)
        self.sessions.append(session)
        await socket.send_bytes(b"\1")
        await socket.send_bytes(b"\2")
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await self._program(session)
            await socket.close()
        return socket


def kubeconfig(tmp_path, port):
    """Write one that leads to a server on loopback."""
    config = tmp_path / "kubeconfig"
    config.write_text(
        json.dumps(
            {
                "current-context": "double",
                "clusters": [{"name": "double", "cluster": {"server": f"http://127.0.0.1:{port}/"}}],
                "users": [{"name": "someone", "user": {"token": "secret"}}],
                "contexts": [{"name": "double", "context": {"cluster": "double", "user": "someone"}}],
            }
        )
    )
    return config
