"""Callers keep to what they may do: operations, bytes, transfers; in memory and in a store."""

from __future__ import annotations

import asyncio
import io
import math
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from devbox_mcp.errors import RateLimited
from devbox_mcp.servers.guarding import Measures
from devbox_mcp.servers.guarding.allowances import Allowance, InMemory
from devbox_mcp.servers.guarding.logs import open_log
from devbox_mcp.servers.guarding.shared import open_allowance
from devbox_mcp.servers.guarding.spending import Spending
from devbox_mcp.servers.guarding.throttle import Throttle, Transfers
from devbox_mcp.settings import load
from tests.guarding.serving_app import Answer, as_caller, ask, connected, echo, request, respond, running


def limited(app: ASGIApp, allowance: Allowance, most: int = 64) -> ASGIApp:
    return as_caller(Throttle(app, allowance, Transfers(most), Measures()))


def wait_of(answer: Answer) -> int:
    assert answer.status == 429
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert (told["code"], told["retryable"]) == ("rate_limited", True)
    wait = int(answer.headers["retry-after"])
    assert wait == max(1, math.ceil(told["data"]["retry_after"]))
    return wait


async def statuses(port: int, count: int, caller: str = "alice") -> list[int]:
    return [(await ask(port, request("GET", "/", x_caller=caller))).status for _ in range(count)]


# -- in memory


async def test_operations_beyond_a_seconds_worth_are_refused_and_later_admitted() -> None:
    allowance = InMemory(5, 0)
    assert [await allowance.admit("a") for _ in range(5)] == [0] * 5
    wait = await allowance.admit("a")
    assert 0 < wait <= 0.2
    await asyncio.sleep(wait)
    assert await allowance.admit("a") == 0


async def test_a_caller_in_debt_waits_until_it_is_paid() -> None:
    allowance = InMemory(0, 1000)
    await allowance.charge("a", 900)
    assert await allowance.admit("a") == 0
    await allowance.charge("a", 100_000)
    assert 99 < await allowance.admit("a") <= 100
    assert await allowance.admit("b") == 0


async def test_without_rates_everything_is_admitted() -> None:
    allowance = InMemory(0, 0)
    await allowance.charge("a", 10**12)
    assert [await allowance.admit("a") for _ in range(1000)] == [0] * 1000


async def test_who_owes_nothing_is_forgotten() -> None:
    allowance = InMemory(1_000_000, 10)
    await allowance.charge("debtor", 1000)
    for number in range(25_000):
        await allowance.admit(f"caller-{number}")
    assert len(allowance._operations._full_at) < 20_000
    assert await allowance.admit("debtor") > 90


async def test_each_caller_has_its_own_allowance() -> None:
    async with running(limited(echo, InMemory(3, 0))) as port:
        first = await statuses(port, 6)
        assert first[:3] == [200] * 3
        assert 429 in first
        assert await statuses(port, 3, "bob") == [200] * 3
        assert await statuses(port, 20, "nobody") == [200] * 20


async def test_the_answer_says_when_to_try_again() -> None:
    async with running(limited(echo, InMemory(0, 1000))) as port:
        await ask(port, request("PUT", "/", b"x" * 5000))
        # twice the body: it came and went; a second's worth is free
        assert wait_of(await ask(port, request("GET", "/"))) in (9, 10)


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_bytes_are_charged_as_they_stream(direction: str) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/v1/devboxes/box/files/large":
            await respond(send)
        elif direction == "up":
            seen = 0
            while seen < 3_000_000:
                seen += len((await receive())["body"])
            asked.set()
            await go_on.wait()
            await respond(send)
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(3):
                await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
            asked.set()
            await go_on.wait()
            await send({"type": "http.response.body"})

    async with running(limited(app, InMemory(0, 100_000))) as port, connected(port) as connection:
        body = b"x" * 3_000_000 if direction == "up" else b""
        sending = asyncio.create_task(connection.send(request("PUT", "/v1/devboxes/box/files/large", body)))
        reading = asyncio.create_task(connection.answer())
        await asyncio.wait_for(asked.wait(), 20)
        # the large one is still under way, and the caller in debt already
        assert wait_of(await ask(port, request("GET", "/"))) > 5
        go_on.set()
        assert (await reading).status == 200
        await sending


@pytest.mark.parametrize(
    ("method", "path", "counted"),
    [
        ("GET", "/v1/devboxes/box/files/a.txt", True),
        ("PUT", "/v1/devboxes/box/files/a.txt", True),
        ("PATCH", "/v1/devboxes/box/uploads/token", True),
        ("POST", "/v1/devboxes/box/archive", True),
        ("PATCH", "/v1/devboxes/box/parts/token/a.txt", True),
        ("POST", "/v1/devboxes/box/edit", True),
        ("GET", "/v1/devboxes/box/lines/a.txt", True),
        ("POST", "/api/v1/files/write", True),
        ("POST", "/mcp", True),
        ("GET", "/mcp", True),
        ("GET", "/v1/devboxes/box/events", True),
        ("GET", "/v1/devboxes/box/changes", True),
        ("HEAD", "/v1/devboxes/box/files/a.txt", False),
        ("DELETE", "/v1/devboxes/box/files/a.txt", False),
        ("GET", "/v1/devboxes/box/stat/files/a.txt", False),
    ],
)
async def test_transfers_and_streams_at_a_time_are_limited(method: str, path: str, counted: bool) -> None:
    begun, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.release()
        await go_on.wait()
        await respond(send)

    async with running(limited(app, InMemory(0, 0), 2)) as port:
        first = [asyncio.create_task(ask(port, request(method, path))) for _ in range(2)]
        for _ in range(2):
            await begun.acquire()
        if counted:
            answer = await ask(port, request(method, path))
            assert (answer.status, answer.json()["code"], answer.headers["retry-after"]) == (429, "rate_limited", "1")
            others = asyncio.create_task(ask(port, request(method, path, x_caller="bob")))
            await begun.acquire()
            first.append(others)
        else:
            first += [asyncio.create_task(ask(port, request(method, path))) for _ in range(3)]
            for _ in range(3):
                await begun.acquire()
        go_on.set()
        # what HEAD is answered has no body, whatever length it tells
        assert [answer.status for answer in await asyncio.gather(*first)] == [200] * len(first)
        assert (await ask(port, request(method, path))).status == 200


async def test_messages_of_a_websocket_are_operations() -> None:
    spending = Spending(InMemory(3, 0), "alice")
    for _ in range(3):
        await spending.operation()
    with pytest.raises(RateLimited) as refused:
        await spending.operation("read", "a.txt")
    assert (refused.value.op, refused.value.path) == ("read", "a.txt")
    assert 0 < refused.value.data["retry_after"] <= 1


# -- in a store


class Store:
    """A real server of the Redis protocol, which can be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        argv = ["redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"]
        self._process = subprocess.Popen(argv, cwd=self._directory, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"Ready to accept connections" in line:
                return
        raise AssertionError("redis-server did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextmanager
def a_store(directory: Path) -> Iterator[Store]:
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server here")
    found = Store(directory)
    found.start()
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with a_store(tmp_path) as found:
        yield found


def replica(store: Store, operations: int = 0, rate: int = 0, log: io.StringIO | None = None) -> Allowance:
    options = {"redis": store.url, "rate_operations": operations, "rate_bytes": rate}
    return open_allowance(load(options, None), open_log(log))


@pytest.fixture
async def replicas(store: Store) -> AsyncIterator[list[Allowance]]:
    """Two replicas of a gateway that allow ten operations and a thousand bytes a second."""
    found = [replica(store, 10, 1000) for _ in range(2)]
    yield found
    for one in found:
        await one.aclose()


async def test_replicas_share_what_a_caller_may_do(replicas: list[Allowance]) -> None:
    waits = [await replicas[number % 2].admit("alice") for number in range(40)]
    # the window slides while this is asked, so that a few more may be admitted
    assert 10 <= waits.count(0) < 30
    assert all(wait <= 2 for wait in waits)
    assert await replicas[1].admit("bob") == 0


async def test_replicas_share_a_debt(replicas: list[Allowance]) -> None:
    first, second = replicas
    await first.charge("alice", 50_000)
    assert 45 < await second.admit("alice") <= 49
    assert await second.admit("bob") == 0


async def test_a_debt_is_paid_back(store: Store) -> None:
    one = replica(store, 0, 1000)
    await one.charge("alice", 1300)
    wait = await one.admit("alice")
    assert 0 < wait <= 0.3
    await asyncio.sleep(wait)
    assert await one.admit("alice") == 0
    await one.aclose()


async def test_without_its_store_each_replica_limits_by_itself(store: Store) -> None:
    log = io.StringIO()
    first, second = (replica(store, 10, 1000, log) for _ in range(2))
    assert await first.admit("alice") == 0
    await first.charge("alice", 50_000)
    store.stop()
    # neither open nor closed: its own debt is remembered, and operations are counted here
    assert await first.admit("alice") > 45
    waits = [await second.admit("bob") for _ in range(30)]
    assert 10 <= waits.count(0) < 30
    assert log.getvalue().count("the store of limits is gone") == 2
    for one in (first, second):
        await one.aclose()


async def test_a_store_that_comes_back_is_used_again(store: Store, replicas: list[Allowance]) -> None:
    first, second = replicas
    store.stop()
    assert await first.admit("alice") == 0
    assert await second.admit("alice") == 0
    store.start()
    first._down_until = second._down_until = 0.0  # type: ignore[attr-defined]  # as when the pause is over
    await first.charge("alice", 50_000)
    assert await second.admit("alice") > 45


@pytest.mark.parametrize("url", ["memcached://x", "http://127.0.0.1", "redis:nothing", "not a url"])
def test_what_is_no_store_is_refused_without_telling_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="redis URL") as refused:
        open_allowance(load({"redis": f"{url}?password=hunter2", "rate_operations": 1}, None), open_log())
    assert "hunter2" not in str(refused.value)
