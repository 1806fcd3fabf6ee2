"""A lean load of small requests on keep-alive connections, in a process of its own: ``python -m tools.bench.hammer``.

It reads what to do as JSON from stdin, and prints what it measured as JSON.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

from tools.node import PROJECT


@dataclass(frozen=True)
class Load:
    """``requests`` are whole requests as bytes (in JSON as latin-1 text), one for each connection, repeated for
    ``seconds`` after ``warm_up`` seconds that do not count. Every answer has to have one of ``statuses``.

    Without a ``rate`` a connection asks again as soon as it is answered. With one, all together ask so often a second,
    in even turns; an answer's time then counts from when it was to be asked for, so that whoever is kept waiting by the
    answer before is counted as well."""

    host: str
    port: int
    requests: tuple[str, ...]
    seconds: float
    warm_up: float = 0.5
    rate: float | None = None
    statuses: tuple[int, ...] = (200,)


@dataclass(frozen=True)
class Measured:
    """Answers a second, and seconds of one: the median and what 99 in 100 stay under."""

    a_second: float
    median: float
    p99: float
    answers: int


def hammer(load: Load) -> Measured:
    """Run a load in another process."""
    argv = [sys.executable, "-m", "tools.bench.hammer"]
    done = subprocess.run(
        argv, input=json.dumps(asdict(load)), capture_output=True, text=True, cwd=PROJECT, check=False
    )
    if done.returncode:
        raise SystemExit(f"the load failed: {done.stderr}")
    return Measured(**json.loads(done.stdout))


class _Connection(asyncio.Protocol):
    """One request after the other, and how long each took. ``every`` are the seconds between two."""

    def __init__(self, request: bytes, statuses: tuple[int, ...], over: asyncio.Event, every: float) -> None:
        self.times: list[tuple[float, float]] = []
        self.wrong: str | None = None
        self._request = request
        self._statuses = statuses
        self._over = over
        self._every = every
        self._next = 0.0
        self._buffer = b""
        self._missing = -1
        self._asked = 0.0
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def ask(self, first: float = 0.0) -> None:
        """Ask now, or at ``first`` for the first time."""
        self._next = max(first, self._next)
        wait = self._next - time.perf_counter()
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, self.ask)
            return
        self._asked = self._next or time.perf_counter()
        if self._every:
            self._next += self._every
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end]
            if int(head[9:12]) not in self._statuses:
                self._stop(self._buffer.decode("latin-1"))
                return
            lowered = head.lower()
            begin = lowered.index(b"content-length:") + 15
            length = int(lowered[begin:].partition(b"\r\n")[0])
            self._missing = length - (len(self._buffer) - end - 4)
        else:
            self._missing -= len(data)
        if self._missing > 0:
            return
        now = time.perf_counter()
        self.times.append((now, now - self._asked))
        self._buffer, self._missing = b"", -1
        if not self._over.is_set():
            self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._over.is_set():
            self._stop(f"the connection was lost: {exc}")

    def _stop(self, why: str) -> None:
        self.wrong = why
        self._over.set()


async def _run(load: Load) -> Measured:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    connections = []
    every = 0.0 if load.rate is None else len(load.requests) / load.rate
    for request in load.requests:
        raw = request.encode("latin-1")
        _, connection = await loop.create_connection(
            lambda raw=raw: _Connection(raw, load.statuses, over, every),  # type: ignore[misc]  # bound by default
            load.host,
            load.port,
        )
        connections.append(connection)
    began = time.perf_counter() + load.warm_up
    for number, connection in enumerate(connections):
        connection.ask(0.0 if load.rate is None else time.perf_counter() + number / load.rate)
    try:
        await asyncio.wait_for(over.wait(), load.warm_up + load.seconds)
    except TimeoutError:
        over.set()
    ended = time.perf_counter()
    wrong = next((connection.wrong for connection in connections if connection.wrong), None)
    if wrong is not None:
        raise SystemExit(wrong)
    times = sorted(took for connection in connections for when, took in connection.times if began <= when <= ended)
    if not times:
        raise SystemExit("nothing was answered")
    return Measured(len(times) / (ended - began), times[len(times) // 2], times[len(times) * 99 // 100], len(times))


def main() -> None:
    told = json.load(sys.stdin)
    load = Load(**{**told, "requests": tuple(told["requests"]), "statuses": tuple(told["statuses"])})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(asdict(runner.run(_run(load)))))


if __name__ == "__main__":
    main()
