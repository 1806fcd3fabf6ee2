"""SPDY as far as it is spoken: what goes out byte by byte, what comes in however it is cut, and who is asked for it."""

import asyncio
import contextlib
import json
import random
import struct
import zlib

import pytest

from devbox_mcp.errors import Unavailable
from devbox_mcp.transports.base import Exit
from devbox_mcp.transports.kubernetes import KubernetesTransport, PodAddress, spdy
from devbox_mcp.transports.kubernetes.channels import Ended, MalformedMessage, Stderr, Stdout
from devbox_mcp.transports.kubernetes.spdy import ERROR, STDERR, STDIN, STDOUT, Streams
from tests.transports.exec_double import POD, SUCCESS, ExecDouble, kubeconfig

SUCCESSFUL = SUCCESS[1:]
FAILED = json.dumps(
    {
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": "7"}]},
    }
).encode()


def data(stream, content, fin=False):
    return struct.pack("!II", stream, fin << 24 | len(content)) + content


def control(kind, content):
    return struct.pack("!HHI", 0x8003, kind, len(content)) + content


def reset(stream):
    return control(3, struct.pack("!II", stream, 5))


REPLIES = b"".join(control(2, struct.pack("!I", stream) + b"headers") for stream in (ERROR, STDIN, STDOUT, STDERR))
SAID = REPLIES + data(STDOUT, b"out") + data(STDERR, b"err") + data(STDOUT, b"") + data(STDOUT, b"put", fin=True)


def heard(*pieces):
    """What the pieces say: all of stdout, all of stderr, and the end."""
    streams, out, err, end = Streams(), b"", b"", None
    for piece in pieces:
        for event in streams.feed(piece):
            if isinstance(event, Ended):
                assert end is None
                end = event
            elif isinstance(event, Stdout):
                out += event.data
            elif isinstance(event, Stderr):
                err += event.data
    return out, err, end


class TestWhatGoesOut:
    def test_the_streams_are_opened_as_servers_expect(self):
        rest, unpacker, opened = spdy.opening(), zlib.decompressobj(), []
        while rest:
            version, kind, length = struct.unpack("!HHI", rest[:8])
            stream, associated, priority, slot = struct.unpack("!IIBB", rest[8:18])
            block = unpacker.decompress(rest[18 : 8 + length])
            assert (version, kind, associated, priority, slot) == (0x8003, 1, 0, 0, 0)
            count, name = struct.unpack("!II", block[:8])
            assert (count, block[8 : 8 + name]) == (1, b"streamtype")
            opened.append((stream, block[12 + name :]))
            rest = rest[8 + length :]
        assert opened == [(1, b"error"), (3, b"stdin"), (5, b"stdout"), (7, b"stderr")]

    def test_stdin_and_its_end(self):
        assert spdy.to_stdin(b"abc") == data(STDIN, b"abc")
        assert data(STDIN, b"", fin=True) == spdy.END_OF_STDIN


class TestWhatComesIn:
    @pytest.mark.parametrize("end", [data(ERROR, SUCCESSFUL, fin=True), data(ERROR, SUCCESSFUL) + reset(ERROR)])
    def test_however_it_is_cut(self, end):
        whole = SAID + end
        for cut in range(len(whole) + 1):
            assert heard(whole[:cut], whole[cut:]) == (b"output", b"err", Ended(0))
        assert heard(*(whole[at : at + 1] for at in range(len(whole)))) == (b"output", b"err", Ended(0))

    def test_the_end_may_be_told_by_going_away(self):
        assert heard(SAID, data(ERROR, SUCCESSFUL), control(7, bytes(8)))[2] == Ended(0)

    def test_a_status_in_pieces(self):
        halves = data(ERROR, FAILED[:9]) + data(ERROR, FAILED[9:])
        assert heard(halves, reset(ERROR))[2] == Ended(7, "NonZeroExitCode")

    def test_an_end_without_a_status_tells_nothing(self):
        assert heard(SAID, reset(STDIN), reset(ERROR), control(7, bytes(8)))[2] is None

    def test_output_is_not_waited_for(self):
        streams = Streams()
        frame = data(STDOUT, b"x" * 1000)
        assert [bytes(event.data) for event in streams.feed(frame[:500])] == [b"x" * 492]
        assert [bytes(event.data) for event in streams.feed(frame[500:])] == [b"x" * 500 + b"x" * 8]

    def test_a_ping_is_answered(self):
        streams = Streams()
        assert streams.feed(control(6, b"\0\0\0\2") + data(STDOUT, b"x")) == [Stdout(memoryview(b"x"))]
        assert streams.answers == control(6, b"\0\0\0\2")

    @pytest.mark.parametrize(
        "wrong",
        [
            data(STDIN, b"x"),
            data(2, b"x"),
            struct.pack("!HHI", 0x8002, 2, 0),
            struct.pack("!HHI", 0x8003, 0, 0),
            struct.pack("!HHI", 0x8003, 2, 100_000),
            data(ERROR, b"x" * 70_000),
            data(ERROR, b"no JSON", fin=True),
            data(ERROR, SUCCESSFUL, fin=True) + data(STDOUT, b"x"),
        ],
    )
    def test_what_makes_no_sense(self, wrong):
        with pytest.raises(MalformedMessage):
            heard(wrong)

    def test_noise_is_refused_or_understood(self):
        for seed in range(300):
            with contextlib.suppress(MalformedMessage):
                heard(SAID, random.Random(seed).randbytes(200))


class Server:
    """Speaks as an old cluster does: shows the pod, and echoes stdin until its end. ``cut`` ends the connection behind
    the first echo; ``unread`` lets stdin lie."""

    def __init__(self, *, cut=False, unread=False):
        self.heads = []
        self.cut, self.unread = cut, unread

    @contextlib.asynccontextmanager
    async def serving(self, tmp_path):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        config = kubeconfig(tmp_path, server.sockets[0].getsockname()[1])
        try:
            yield KubernetesTransport(PodAddress("there", "web", kubeconfig=str(config)))
        finally:
            server.close()

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            if head.startswith("POST"):
                writer.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
                    b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
                )
                await self._echo(reader, writer)
                return
            body = json.dumps({"gitVersion": "v1.20.2"} if "/version" in head else POD).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
            await writer.drain()

    async def _echo(self, reader, writer):
        greeting = REPLIES + data(STDERR, b"hello")
        while not self.unread:
            stream, second = struct.unpack("!II", await reader.readexactly(8))
            content = await reader.readexactly(second & 0xFFFFFF)
            writer.write(greeting)
            greeting = b""
            if stream == STDIN:
                writer.write(data(STDOUT, content))
                await writer.drain()
                if self.cut:
                    return
                if second >> 24:
                    writer.write(data(STDOUT, b"", fin=True) + data(ERROR, SUCCESSFUL) + reset(ERROR))
                    return
        await reader.read(8)
        await asyncio.sleep(3600)


@contextlib.asynccontextmanager
async def started(double, tmp_path):
    async with double.serving(tmp_path) as transport:
        channel = await transport.start(("program", "argument"))
        try:
            yield channel
        finally:
            await channel.aclose()


@pytest.mark.anyio
class TestOnALine:
    async def test_an_old_cluster_is_spoken_to_in_spdy_and_can_end_stdin(self, tmp_path):
        server = Server()
        sent = random.Random(1).randbytes(3_000_000)
        async with started(server, tmp_path) as channel:
            sending = asyncio.create_task(channel.send(sent))
            got = b""
            while len(got) < len(sent):
                got += await channel.receive()
            await sending
            assert got == sent
            await channel.close_stdin()
            assert await channel.receive() == b""
            assert await channel.exit() == Exit(0, "hello")
        head = server.heads[-1]
        assert head.startswith("POST /api/v1/namespaces/there/pods/web/exec?command=program&command=argument&container")
        assert "Authorization: Bearer secret" in head

    async def test_few_bytes_are_sent_at_once_until_too_many_wait(self, tmp_path):
        async with started(Server(), tmp_path) as channel:
            sent = b""
            for number in range(100):
                assert channel.send_now(b"%d " % number)
                sent += b"%d " % number
            got = b""
            while len(got) < len(sent):
                got += await channel.receive()
            assert got == sent
            await channel.close_stdin()
            assert not channel.send_now(b"more")
        async with started(Server(unread=True), tmp_path) as channel:
            assert any(not channel.send_now(bytes(60_000)) for _ in range(1000))

    async def test_a_connection_that_is_cut(self, tmp_path):
        async with started(Server(cut=True), tmp_path) as channel:
            await channel.send(b"x")
            assert await channel.receive() == b"x"
            with pytest.raises(Unavailable):
                await channel.receive()
            assert (await channel.exit()).status is None
            assert not channel.send_now(b"x")
            with pytest.raises(Unavailable):
                await channel.send(b"x")

    async def test_a_program_that_does_not_read_makes_send_wait_and_closing_ends_it(self, tmp_path):
        async with started(Server(unread=True), tmp_path) as channel:
            sending = asyncio.create_task(channel.send(bytes(100_000_000)))
            done, _ = await asyncio.wait([sending], timeout=0.5)
            assert not done
            await channel.aclose()
            with pytest.raises(Unavailable):
                await sending

    async def test_what_nobody_receives_is_not_read_from_the_connection(self, tmp_path):
        sent = bytes(100_000_000)
        async with started(Server(), tmp_path) as channel:
            sending = asyncio.create_task(channel.send(sent))
            done, _ = await asyncio.wait([sending], timeout=0.5)
            assert not done
            assert channel._size < 4_000_000
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def greet(session):
    await session.send(b"\1by a WebSocket")
    await session.send(SUCCESS)


@pytest.mark.anyio
class TestWhoIsAskedForIt:
    @pytest.mark.parametrize(
        ("version", "post", "methods"),
        [
            ("v1.20.2", 403, ["POST", "GET"]),
            ("v1.29.9", 405, ["POST", "GET"]),
            ("v1.30.0", 405, ["GET"]),
            ("v2.0", 405, ["GET"]),
            (None, 405, ["GET"]),
        ],
    )
    async def test_a_websocket_where_spdy_is_not_to_be_had(self, tmp_path, version, post, methods):
        double = ExecDouble(greet, version=version, post=post)
        async with double.serving(tmp_path) as transport:
            for _ in range(2):
                channel = await transport.start(("program",))
                assert await channel.receive() == b"by a WebSocket"
                await channel.aclose()
        execs = [request.method for request in double.requests if request.path.endswith("/exec")]
        assert execs == methods * 2

    async def test_a_refusal_that_is_not_about_spdy(self, tmp_path):
        double = ExecDouble(greet, version="v1.20.2", post=500)
        async with double.serving(tmp_path) as transport:
            with pytest.raises(Unavailable):
                await transport.start(("program",))
