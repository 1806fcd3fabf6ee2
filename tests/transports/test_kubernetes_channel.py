"""The Kubernetes transport against a double of the apiserver: half-close, back-pressure, and servers that misbehave."""

import asyncio
import contextlib
import hashlib
import os

import pytest
from aiohttp import WSMsgType

from devbox_mcp.errors import Unavailable, Unsupported
from devbox_mcp.transports.base import Exit
from devbox_mcp.transports.kubernetes.connection import MESSAGE
from tests.transports.exec_double import SUCCESS, ExecDouble

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def running(double, tmp_path, *argv):
    async with double.serving(tmp_path) as transport:
        channel = await transport.start(argv or ("program",))
        try:
            yield channel
        finally:
            await channel.aclose()


async def everything(channel):
    parts = []
    while data := await channel.receive():
        assert len(data) <= 1024 * 1024
        parts.append(data)
    return b"".join(parts)


async def quiet(session):
    """A program that says nothing and reads everything."""
    while await session.receive() is not None:
        pass


async def hash_of_stdin(session):
    """sha256sum: answers at the end of its stdin."""
    digest = hashlib.sha256()
    while (message := await session.receive()) != b"\xff\0":
        assert message is not None
        assert message[:1] == b"\0"
        digest.update(message[1:])
    await session.send(b"\1" + digest.hexdigest().encode())
    await session.send(SUCCESS)


async def test_version_5_ends_stdin(tmp_path):
    sent = os.urandom(1_000_001)
    async with running(ExecDouble(hash_of_stdin), tmp_path) as channel:
        await channel.send(sent)
        await channel.close_stdin()
        await channel.close_stdin()
        assert await everything(channel) == hashlib.sha256(sent).hexdigest().encode()
        assert await channel.exit() == Exit(0)
        with pytest.raises(Unavailable):
            await channel.send(b"more")


async def test_what_is_sent_after_the_end_of_stdin_stays_here(tmp_path):
    double = ExecDouble(quiet)
    async with running(double, tmp_path) as channel:
        await channel.close_stdin()
        with pytest.raises(Unavailable, match="stdin of program is closed"):
            await channel.send(b"more")
        await asyncio.sleep(0.05)
    assert double.sessions[0].frames == [2]


async def test_version_4_cannot(tmp_path):
    async with running(ExecDouble(quiet, ("v4.channel.k8s.io",)), tmp_path) as channel:
        with pytest.raises(Unsupported):
            await channel.close_stdin()
        await channel.send(b"goes on")


async def test_a_server_that_speaks_neither_is_unsupported(tmp_path):
    with pytest.raises(Unsupported):
        async with running(ExecDouble(quiet, ("channel.k8s.io",)), tmp_path):
            pass


async def test_the_request_says_what_to_run_and_who_asks(tmp_path):
    argv = ["sh", "-c", "a b+c&d=é%20", ""]
    double = ExecDouble(quiet)
    async with running(double, tmp_path, *argv):
        pass
    request = double.requests[-1]
    assert request.query.getall("command") == argv
    assert {name: request.query[name] for name in ("container", "stdin", "stdout", "stderr", "tty")} == {
        "container": "main",
        "stdin": "true",
        "stdout": "true",
        "stderr": "true",
        "tty": "false",
    }
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["Sec-WebSocket-Protocol"].replace(" ", "") == "v5.channel.k8s.io,v4.channel.k8s.io"
    assert "Sec-WebSocket-Extensions" not in request.headers


async def test_messages_are_small_and_there_are_no_pings(tmp_path):
    double = ExecDouble(quiet)
    async with running(double, tmp_path) as channel:
        await channel.send(bytes(1_000_000))
        await channel.send(b"x")
        await asyncio.sleep(0.2)
    session = double.sessions[0]
    assert session.broken_rules == []
    assert sum(session.frames) - len(session.frames) == 1_000_001
    assert max(session.frames) <= MESSAGE + 1


async def test_a_ping_is_answered_once(tmp_path):
    answered = asyncio.get_running_loop().create_future()

    async def ping(session):
        await session.socket.ping(b"are you there")
        answered.set_result(await session.socket.receive())

    async with running(ExecDouble(ping), tmp_path):
        message = await answered
    assert (message.type, message.data) == (WSMsgType.PONG, b"are you there")


async def test_a_slow_receiver_makes_the_server_wait_and_misses_nothing(tmp_path):
    digest, sent = hashlib.sha256(), 0

    async def pour(session):
        nonlocal sent
        for _ in range(1000):
            data = os.urandom(32 * 1024 - 7)
            await session.send(b"\1" + data)
            digest.update(data)
            sent += len(data)
        await session.send(SUCCESS)

    async with running(ExecDouble(pour), tmp_path) as channel:
        before = -1
        while before != sent or not sent:
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 16 * 1024 * 1024  # two sockets' buffers in the kernel, and ours
        assert channel._size <= 1024 * 1024 + 32 * 1024
        received = await everything(channel)
    assert hashlib.sha256(received).digest() == digest.digest()


async def test_what_comes_is_handed_over_in_order(tmp_path):
    """What came before somebody asked for that is, too; then only the end is told."""
    taken, goes_on = [], asyncio.Event()

    async def speak(session):
        await session.send(b"\1a")
        await session.send(b"\1b")
        await goes_on.wait()
        await session.send(b"\2not this")
        await session.send(b"\1c")
        await session.send(SUCCESS)

    async with running(ExecDouble(speak), tmp_path) as channel:
        while channel._size < 2:  # noqa: ASYNC110  what is received would not be there any more
            await asyncio.sleep(0.01)
        channel.deliver(lambda data: taken.append(bytes(data)))
        assert taken == [b"a", b"b"]
        goes_on.set()
        assert await channel.receive() == b""
        assert taken == [b"a", b"b", b"c"]
        assert await channel.exit() == Exit(0, "not this")


async def test_a_server_that_does_not_read_makes_the_sender_wait(tmp_path):
    done = asyncio.Event()

    async def sleep(session):
        await done.wait()

    async with running(ExecDouble(sleep), tmp_path) as channel:
        sent = 0

        async def send():
            nonlocal sent
            while True:
                await channel.send(bytes(65536))
                sent += 65536

        task = asyncio.create_task(send())
        before = -1
        while before != sent or not sent:
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 16 * 1024 * 1024
        await asyncio.wait_for(channel.aclose(), 10)
        with pytest.raises(Unavailable):
            await task
        done.set()


async def test_a_busy_connection_leaves_others_their_turn(tmp_path):
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with running(ExecDouble(quiet), tmp_path) as channel:
        counting = asyncio.create_task(count())
        for _ in range(50):
            await channel.send(bytes(64 * 1024))
        counting.cancel()
    assert turns >= 50


@pytest.mark.parametrize("silent", [False, True])
async def test_a_connection_that_is_cut_is_no_end_of_stdout(tmp_path, silent):
    async def cut(session):
        await session.send(b"\1half of it")
        await asyncio.sleep(0.05)
        if silent:
            session.cut()

    async with running(ExecDouble(cut), tmp_path) as channel:
        assert await channel.receive() == b"half of it"
        for _ in range(2):
            with pytest.raises(Unavailable, match="broke"):
                await channel.receive()
        with pytest.raises(Unavailable):
            await channel.send(b"x")
        end = await channel.exit()
        assert end.status is None
        assert end.reason


@pytest.mark.parametrize(
    "messages",
    [
        [b""],
        [b"\7what"],
        [b"\3no json"],
        [SUCCESS, SUCCESS],
        [SUCCESS, b"\1late"],
        [b"\1" + bytes(3 * 1024 * 1024)],
        ["text"],
    ],
)
async def test_a_malformed_message_ends_the_session(tmp_path, messages):
    async def talk(session):
        await session.send(b"\1first")
        for message in messages:
            await (session.socket.send_str(message) if isinstance(message, str) else session.send(message))
        await quiet(session)

    async with running(ExecDouble(talk), tmp_path) as channel:
        assert await channel.receive() == b"first"
        end = await asyncio.wait_for(channel.exit(), 10)
        if messages[0] is not SUCCESS:
            assert end.status is None
            with pytest.raises(Unavailable):
                await channel.receive()


async def test_a_status_is_the_end_even_if_the_server_does_not_hang_up(tmp_path):
    async def linger(session):
        await session.send(b"\1all")
        await session.send(SUCCESS)
        await quiet(session)

    async with running(ExecDouble(linger), tmp_path) as channel:
        assert await asyncio.wait_for(everything(channel), 20) == b"all"
        assert await channel.exit() == Exit(0)


async def test_the_end_of_stderr_is_kept_and_no_more(tmp_path):
    async def complain(session):
        for number in range(1000):
            await session.send(b"\2" + b"%d " % number * 100)
        await session.send(b"\2last words\n")
        await session.send(
            b'\3{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":['
            b'{"reason":"ExitCode","message":"3"}]}}'
        )

    async with running(ExecDouble(complain), tmp_path) as channel:
        assert await channel.receive() == b""
        end = await channel.exit()
    assert end.status == 3
    assert end.stderr.endswith("last words")
    assert len(end.stderr) <= 4096


async def test_a_cancelled_receive_loses_nothing(tmp_path):
    async def echo(session):
        while (message := await session.receive()) is not None:
            await session.send(b"\1" + message[1:])

    async with running(ExecDouble(echo), tmp_path) as channel:
        for number in range(20):
            receiving = asyncio.create_task(channel.receive())
            await asyncio.sleep(0)
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
            await channel.send(b"%d" % number)
            assert await channel.receive() == b"%d" % number


async def test_a_pod_that_only_its_node_does_not_know_is_not_missing(tmp_path):
    double = ExecDouble(quiet, refusal=(404, "pod does not exist"))  # a kubelet's, just after its start
    with pytest.raises(Unavailable, match="does not know it yet"):
        async with running(double, tmp_path):
            pass


async def test_a_refusal_that_the_pod_does_not_explain_is_the_nodes(tmp_path):
    double = ExecDouble(quiet, refusal=(500, "error dialing backend: dial tcp 10.0.0.1:10250: connection refused"))
    with pytest.raises(Unavailable) as caught:
        async with running(double, tmp_path):
            pass
    assert "dial tcp 10.0.0.1:10250" in caught.value.detail
    assert "kubelet" in caught.value.hint


async def test_an_answer_that_is_no_apiservers_is_unavailable(tmp_path):
    double = ExecDouble(quiet)
    double.pod = ["no", "pod"]
    with pytest.raises(Unavailable):
        async with running(double, tmp_path):
            pass


async def test_the_container_is_looked_up_once(tmp_path):
    double = ExecDouble(quiet)
    async with double.serving(tmp_path) as transport:
        for _ in range(3):
            await (await transport.start(["program"])).aclose()
        assert [request.path.rpartition("/")[2] for request in double.requests] == ["web", "exec", "exec", "exec"]
        assert await transport.identity() == "uid-1/containerd://1"
