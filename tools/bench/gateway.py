"""Run the benchmark of the gateway: ``python -m tools.bench.gateway``.

A real ``devbox-mcp serve --http`` on loopback over a directory, with keys, a chained audit log and limits.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from devbox_mcp import AsyncDevbox
from tools import node
from tools.bench.hammer import Load, Measured, hammer
from tools.bench.memory import peak
from tools.bench.report import Fact, Report, machine, save, show
from tools.bench.work import KIB, MIB

HOME = node.PROJECT / ".bench"
CONNECTIONS = 32
RATE = 1000
STALLED = 200
OTHERS = 4
_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/mcp")


@dataclass(frozen=True)
class Gateway:
    """A running one: its process, its port, the directory it serves, and keys of different callers."""

    pid: int
    port: int
    box: Path
    keys: Sequence[str]

    def request(self, method: str, path: str, body: bytes = b"", *, key: int = 0, length: int | None = None) -> bytes:
        """Return a whole request."""
        size = len(body) if length is None else length
        head = (
            f"{method} /v1/devboxes/box/{path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Authorization: Bearer {self.keys[key]}\r\nContent-Length: {size}\r\n\r\n"
        )
        return head.encode("ascii") + body

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=120)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.bench.gateway", description=__doc__)
    parser.add_argument("--json", type=Path, default=HOME / "gateway.json", help="where the result goes")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load of small requests (default 5)")
    parser.add_argument("--large", type=int, default=1024, help="MiB of the large file (default 1024)")
    parser.add_argument("--only", action="append", choices=PARTS, help="only this part; repeatable")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 where an aim is missed")
    return parser.parse_args()


@contextmanager
def running(directory: Path) -> Iterator[Gateway]:
    """Start the server, with all that a careful operator turns on."""
    box = directory / "box"
    box.mkdir()
    cli = [sys.executable, "-m", "devbox_mcp"]
    access, audit_key, log = directory / "access.toml", directory / "audit.key", directory / "stderr"
    audit_key.write_text(os.urandom(32).hex())
    rights = ("--devbox", "*", "--scope", "read", "--scope", "write", "--file", str(access))
    keys = [_said([*cli, "keys", "new", f"caller-{number}", *rights]) for number in range(5)]
    argv = [
        *cli, "serve", f"box={box}", "--http", "127.0.0.1:0", "--access", str(access),
        "--audit-log", str(directory / "audit.jsonl"), "--audit-key-file", str(audit_key),
        "--audit-anchor", str(directory / "anchor"), "--rate-operations", "1000000", "--rate-bytes", "100G",
        "--max-file-size", "2G",
    ]  # fmt: skip
    with log.open("wb") as stderr, subprocess.Popen(argv, stderr=stderr, cwd=node.PROJECT) as process:
        try:
            yield Gateway(process.pid, _port(log, process), box, keys)
        finally:
            process.terminate()
            process.wait(40)


def _said(argv: Sequence[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, cwd=node.PROJECT).stdout.strip()


def _port(log: Path, process: subprocess.Popen[bytes]) -> int:
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up and process.poll() is None:
        found = _ADDRESS.search(log.read_text())
        if found is not None:
            return int(found[1])
        time.sleep(0.02)
    raise SystemExit(f"the gateway did not start: {log.read_text()}")


def small(gateway: Gateway, seconds: float) -> list[Fact]:
    """1 KB read and written on keep-alive connections: as fast as it goes, and at a steady rate."""
    (gateway.box / "small.bin").write_bytes(os.urandom(KIB))
    gets = (gateway.request("GET", "files/small.bin"),) * CONNECTIONS
    puts = tuple(gateway.request("PUT", f"files/w{number}.bin", os.urandom(KIB)) for number in range(CONNECTIONS))
    facts = []
    for name, requests in (("GET 1 KB", gets), ("PUT 1 KB", puts)):
        measured = _hammer(gateway, requests, seconds)
        facts += [
            Fact(f"{name}, {CONNECTIONS} connections", measured.a_second, "a second", least=1000),
            Fact("  p99", measured.p99 * 1e3, "ms", 20),
            Fact(f"  p99 at {RATE} a second", _hammer(gateway, requests, seconds, RATE).p99 * 1e3, "ms", 20),
        ]
    return facts


def _hammer(gateway: Gateway, requests: Sequence[bytes], seconds: float, rate: float | None = None) -> Measured:
    raw = tuple(request.decode("latin-1") for request in requests)
    return hammer(Load("127.0.0.1", gateway.port, raw, seconds, statuses=(200, 201), rate=rate))


def large(gateway: Gateway, size: int) -> list[Fact]:
    """One large file up and down, its hash compared at both ends."""
    block = os.urandom(MIB)
    digest = hashlib.sha256()
    for _ in range(size):
        digest.update(block)
    sha256 = digest.hexdigest()
    with gateway.connect() as connection:
        started = time.perf_counter()
        connection.sendall(gateway.request("PUT", "files/large.bin", length=size * MIB))
        for _ in range(size):
            connection.sendall(block)
        head, body = _answer(connection)
        up = time.perf_counter() - started
    if sha256 not in body.decode() or " 201 " not in head:
        raise SystemExit(f"the upload failed: {head}\n{body!r}")
    with gateway.connect() as connection:
        started = time.perf_counter()
        connection.sendall(gateway.request("GET", "files/large.bin"))
        head, rest = _head(connection)
        found, left = hashlib.sha256(rest), size * MIB - len(rest)
        buffer = memoryview(bytearray(MIB))
        while left and (count := connection.recv_into(buffer)):
            found.update(buffer[:count])
            left -= count
        down = time.perf_counter() - started
    if found.hexdigest() != sha256:
        raise SystemExit(f"the download came back changed: {head}")
    return [
        Fact(f"{size} MiB up, hashed", size * MIB / 1e6 / up, "MB/s", least=200),
        Fact(f"{size} MiB down, hashed", size * MIB / 1e6 / down, "MB/s", least=200),
        Fact("the process' peak memory", peak(gateway.pid) / MIB, "MiB", 200),
    ]


def _head(connection: socket.socket) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise SystemExit(f"the gateway closed the connection: {data!r}")
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _answer(connection: socket.socket) -> tuple[str, bytes]:
    head, body = _head(connection)
    length = int(next(line for line in head.lower().splitlines() if line.startswith("content-length:"))[15:])
    while len(body) < length:
        body += connection.recv(65536)
    return head, body


def stalled(gateway: Gateway, seconds: float) -> list[Fact]:
    """Others' p99 while many connections go no further: in their heads, in their bodies, and in reading. Quiet and
    stalled rounds take turns, so that both meet the same weather."""
    (gateway.box / "small.bin").write_bytes(os.urandom(KIB))
    (gateway.box / "bigger.bin").write_bytes(os.urandom(16 * MIB))
    # once before, so that its hash is known and nobody measures hashing
    _hammer(gateway, [gateway.request("GET", "files/bigger.bin")], 1)
    gets = (gateway.request("GET", "files/small.bin"),) * OTHERS
    quiet, beside = [], []
    for _ in range(5):
        quiet.append(_hammer(gateway, gets, seconds / 2).p99)
        with ExitStack() as stack:
            for number in range(STALLED):
                connection = stack.enter_context(gateway.connect())
                key = 1 + number % 4
                connection.sendall(
                    (
                        gateway.request("GET", "files/small.bin", key=key)[:-2],
                        gateway.request("PUT", f"files/s{number}.bin", b"begun", key=key, length=1000),
                        gateway.request("GET", "files/bigger.bin", key=key),
                    )[number % 3]
                )
            beside.append(_hammer(gateway, gets, seconds / 2).p99)
    before, after = median(quiet), median(beside)
    return [
        Fact(f"GET 1 KB, {OTHERS} connections, p99", before * 1e3, "ms"),
        Fact(f"  beside {STALLED} stalled connections", after * 1e3, "ms"),
        Fact("  ratio", after / before, "times", 2),
    ]


async def _round_trips(gateway: Gateway, calls: int) -> dict[str, list[float]]:
    url = f"http://127.0.0.1:{gateway.port}/v1/devboxes/box"
    text = "x" * KIB
    times: dict[str, list[float]] = {"read": [], "written": []}
    async with AsyncDevbox(url, api_key=gateway.keys[0]) as box:
        await box.fs.write_file("sdk.txt", text)
        for number in range(calls + 20):
            started = time.perf_counter()
            if await box.fs.read_file("sdk.txt") != text:
                raise SystemExit("the SDK read something else than it wrote")
            read = time.perf_counter()
            await box.fs.write_file("sdk.txt", text)
            if number >= 20:  # the first ones warm up
                times["read"].append(read - started)
                times["written"].append(time.perf_counter() - read)
    return times


def sdk(gateway: Gateway, calls: int) -> list[Fact]:
    """One small file after the other, by the SDK over its WebSocket."""
    times = asyncio.run(_round_trips(gateway, calls))
    return [
        Fact("1 KB read by the SDK, median", median(times["read"]) * 1e3, "ms", 2),
        Fact("1 KB written by the SDK (flushed to disk), median", median(times["written"]) * 1e3, "ms"),
    ]


PARTS = ("small", "large", "stalled", "sdk")


def measure(gateway: Gateway, options: argparse.Namespace) -> list[Fact]:
    parts = {
        "small": lambda: small(gateway, options.seconds),
        "large": lambda: large(gateway, options.large),
        "stalled": lambda: stalled(gateway, options.seconds),
        "sdk": lambda: sdk(gateway, round(200 * options.seconds)),
    }
    found: list[Fact] = []
    for part in options.only or PARTS:
        print(f"measuring: {part}", file=sys.stderr)
        found += parts[part]()
    return found


def main() -> int:
    options = arguments()
    directory = HOME / "gateway"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    try:
        with running(directory) as gateway:
            facts = measure(gateway, options)
    finally:
        shutil.rmtree(directory)
    report = Report("The gateway on loopback, with keys, a chained audit log and limits", [], facts, machine(HOME))
    show(report)
    save(options.json, report)
    return 1 if options.strict and not report.reached else 0


if __name__ == "__main__":
    sys.exit(main())
