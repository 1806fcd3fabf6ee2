"""A raw MCP client over stdio: JSON-RPC lines on blocking pipes, nothing between a test or a clock and the wire."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import IO, Any, Self

BUFFER = 1024 * 1024
"""bytes read at once where there are as many: a line of megabytes must not be made of thousands of small reads"""

HANDSHAKE_VERSION = "2025-11-25"
MODERN_VERSION = "2026-07-28"

Answerer = Callable[[dict[str, Any]], dict[str, Any]]


class RpcError(Exception):
    """A JSON-RPC error that a request was answered with."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(f"{error.get('message')} ({error.get('code')})")
        self.code = error.get("code")
        self.data = error.get("data")


class RawClient:
    """A server in a child process, and a client that waits for each answer before it asks again.

    ``answers`` holds a function for each request that the server may send (``roots/list``, ``elicitation/create``),
    from its params to its result; any other is refused. ``notifications`` collects what the server notified.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        answers: Mapping[str, Answerer] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stderr: IO[bytes] | int | None = subprocess.DEVNULL,
    ) -> None:
        self.answers = dict(answers or {})
        self.notifications: list[dict[str, Any]] = []
        self._meta: dict[str, Any] | None = None
        self._last_id = 0
        self._process = subprocess.Popen(
            list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=env, cwd=cwd, bufsize=BUFFER
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

    def initialize(
        self, version: str = HANDSHAKE_VERSION, capabilities: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Shake hands as clients up to 2025-11-25 do; return the server's answer."""
        params = {
            "protocolVersion": version,
            "capabilities": capabilities or {},
            "clientInfo": {"name": "raw", "version": "0"},
        }
        answer = self.request("initialize", params)
        self.notify("notifications/initialized")
        return answer

    def discover(self, capabilities: dict[str, Any] | None = None) -> dict[str, Any]:
        """Open as a client of 2026-07-28, every request of which says what it is; return the server's answer."""
        prefix = "io.modelcontextprotocol/"
        self._meta = {
            prefix + "protocolVersion": MODERN_VERSION,
            prefix + "clientCapabilities": capabilities or {},
            prefix + "clientInfo": {"name": "raw", "version": "0"},
        }
        return self.request("server/discover")

    def request(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request and return its result. Raises RpcError, and EOFError where the server ended."""
        return self.timed(method, params)[1]

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its result, be it an error result or not."""
        return self.request("tools/call", {"name": tool, "arguments": arguments})

    def timed(self, method: str, params: dict[str, Any] | None = None) -> tuple[float, dict[str, Any]]:
        """Send a request; return the seconds from writing it to having parsed its answer, and the result."""
        self._last_id += 1
        line = self._line(method, params, self._last_id)
        start = time.perf_counter()
        self._stdin.write(line)
        self._stdin.flush()
        message = self._receive()
        while message.get("id") != self._last_id or "method" in message:
            self._handle(message)
            message = self._receive()
        seconds = time.perf_counter() - start
        if "error" in message:
            raise RpcError(message["error"])
        result: dict[str, Any] = message["result"]
        return seconds, result

    def notify(self, method: str, params: dict[str, Any] | None = None) -> None:
        self._send(self._line(method, params, None))

    def close(self) -> int:
        """End the server as clients do, by closing its stdin; return its exit status. Kills it after 10 s."""
        self._stdin.close()
        try:
            return self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._stdout.close()

    def kill(self) -> None:
        """End the server as a crash does."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _line(self, method: str, params: dict[str, Any] | None, request_id: int | None) -> bytes:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if request_id is not None:
            message["id"] = request_id
        if self._meta is not None and request_id is not None:
            params = {**(params or {}), "_meta": {**self._meta, **(params or {}).get("_meta", {})}}
        if params is not None:
            message["params"] = params
        return json.dumps(message).encode() + b"\n"

    def _send(self, line: bytes) -> None:
        self._stdin.write(line)
        self._stdin.flush()

    def _receive(self) -> dict[str, Any]:
        line = self._stdout.readline()
        if not line:
            raise EOFError(f"the server ended with exit status {self._process.wait()}")
        message: dict[str, Any] = json.loads(line)
        return message

    def _handle(self, message: dict[str, Any]) -> None:
        """Keep a notification, answer a request of the server's."""
        if "id" not in message:
            self.notifications.append(message)
            return
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
        answerer = self.answers.get(message.get("method", ""))
        if answerer is None:
            answer["error"] = {"code": -32601, "message": "Method not found"}
        else:
            answer["result"] = answerer(message.get("params") or {})
        self._send(json.dumps(answer).encode() + b"\n")
