"""The Kubernetes transport on a real cluster."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from devbox_mcp.errors import Unavailable, Unsupported
from devbox_mcp.transports.base import Exit

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def running(transport, *argv):
    channel = await transport.start(argv)
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


@pytest.mark.parametrize("kind", ["busybox", "debian", "debian-python"])
async def test_status_stdout_and_stderr_are_told_apart(pod, kind):
    async with running(pod(kind), "sh", "-c", "echo out; echo err >&2; exit 7") as channel:
        assert await everything(channel) == b"out\n"
        end = await channel.exit()
    assert (end.status, end.stderr) == (7, "err")


async def test_success_is_status_0(pod):
    async with running(pod("busybox"), "true") as channel:
        assert await channel.exit() == Exit(0)
        assert await channel.receive() == b""


async def test_arguments_reach_the_program_as_they_are(pod):
    words = ["", "a b", "$(id)", "'", '"', "\n", "*", "-n", "ä", "%2F+&=#", "\\"]
    async with running(
        pod("debian-python"), "python3", "-c", "import sys; print(ascii(sys.argv[1:]))", *words
    ) as channel:
        assert eval(await everything(channel)) == words


async def test_50_mb_come_back_as_they_went(pod):
    sent = os.urandom(50_000_000)
    received = bytearray()
    async with running(pod("debian"), "cat") as channel:

        async def send():
            for at in range(0, len(sent), 700_000):
                await channel.send(memoryview(sent)[at : at + 700_000])

        async def receive():
            while len(received) < len(sent):
                received.extend(await channel.receive())

        await asyncio.gather(send(), receive())
    assert received == sent


async def test_small_messages_keep_their_order(pod):
    async with running(pod("busybox"), "cat") as channel:
        for number in range(300):
            await channel.send(b"%d\n" % number)
        received = b""
        while received.count(b"\n") < 300:
            received += await channel.receive()
    assert received == b"".join(b"%d\n" % number for number in range(300))


@pytest.mark.parametrize(
    ("kind", "program", "why"),
    [
        ("busybox", "python3", "not found"),
        ("debian", "python3", "not found"),
        ("distroless", "sh", "not found"),
        ("busybox", "/no/such/program", "no such file"),
        ("busybox", "/etc/passwd", "permission denied"),
    ],
)
async def test_a_program_that_is_not_there_is_unsupported(pod, kind, program, why):
    async with running(pod(kind), program, "-c", "true") as channel:
        with pytest.raises(Unsupported) as caught:
            await channel.receive()
        assert (await channel.exit()).status is None
    assert caught.value.data == {"program": program}
    assert why in caught.value.detail


async def test_sending_to_a_program_that_is_not_there_is_unsupported_too(pod):
    async with running(pod("busybox"), "python3", "-") as channel:
        await channel.send(bytes(200_000))
        with pytest.raises(Unsupported):
            await channel.receive()
        with pytest.raises(Unsupported):
            await channel.send(b"x")


async def test_sending_to_a_program_that_ended_tells_how_it_ended(pod):
    async with running(pod("busybox"), "sh", "-c", "echo because >&2; exit 3") as channel:
        await channel.exit()
        with pytest.raises(Unavailable, match="status 3: because"):
            await channel.send(b"x")


async def test_sending_without_a_pause_to_a_program_that_ends_is_unavailable(pod):
    """The reset that answers what is sent too late may overtake the status: then all that is known is that it broke."""
    async with running(pod("busybox"), "sh", "-c", "head -c 1000000 > /dev/null; exit 3") as channel:
        with pytest.raises(Unavailable):
            await asyncio.wait_for(send_in_pieces(channel), 60)


async def send_in_pieces(channel):
    """Slowly enough that the server is not stuck in writing to the program."""
    while True:
        await channel.send(bytes(50_000))
        await asyncio.sleep(0.01)


async def send_for_ever(channel):
    while True:
        await channel.send(bytes(1_000_000))


async def test_a_program_that_does_not_read_makes_send_wait(pod):
    async with running(pod("busybox"), "sleep", "1000") as channel:
        sent = 0

        async def send():
            nonlocal sent
            while True:
                await channel.send(bytes(65536))
                sent += 65536

        task = asyncio.create_task(send())
        await settled(lambda: sent)
        # what the kernels' socket buffers, the apiserver, the kubelet, containerd and the pipe hold
        assert 0 < sent < 64 * 1024 * 1024
        assert not task.done()
        assert channel._line.get_extra_info("socket") is not None
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_not_fetched_makes_the_program_wait(pod):
    script = "i=0; while :; do head -c 1000000 /dev/zero; i=$((i+1)); echo $i >&2; done"
    async with running(pod("busybox"), "sh", "-c", script) as channel:
        await settled(lambda: channel._tail)
        assert 0 < int(channel._tail.split()[-1]) < 64
        assert channel._size <= 1024 * 1024 + 512 * 1024  # what comes together is taken together


async def settled(value):
    before = None
    while before != value() or not value():
        before = value()
        await asyncio.sleep(1)


async def test_closing_frees_a_sender_whom_the_server_keeps_waiting(pod):
    """The server tells nothing of a program that ended with its stdin unread: a deadline and aclose are the way out."""
    async with running(pod("busybox"), "sh", "-c", "sleep 1; exit 5") as channel:
        sending = asyncio.create_task(send_for_ever(channel))
        await asyncio.sleep(3)
        local = channel._line.get_extra_info("sockname")[1]
        await channel.aclose()
        with pytest.raises(Unavailable):
            await sending
    assert local not in local_ports()  # no orphan with megabytes to deliver


def local_ports():
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:] + Path("/proc/net/tcp6").read_text().splitlines()[1:]
    return {int(line.split()[1].rpartition(":")[2], 16) for line in lines if line.split()[3] != "06"}  # but TIME_WAIT


@pytest.mark.parametrize("program", [["cat"], ["sleep", "1000"]])
async def test_closing_wakes_whoever_waits(pod, program):
    async with running(pod("busybox"), *program) as channel:
        receiving = asyncio.create_task(channel.receive())
        await asyncio.sleep(0.2)
        await channel.aclose()
        await channel.aclose()
        with pytest.raises(Unavailable):
            await receiving
        with pytest.raises(Unavailable):
            await channel.send(b"x")
        assert (await channel.exit()).status is None


async def test_closing_ends_a_program_that_reads_its_stdin(pod):
    transport = pod("debian")
    async with running(transport, "sh", "-c", "echo $$; exec cat") as channel:
        pid = int(await channel.receive())
        async with running(transport, "test", "-d", f"/proc/{pid}") as there:
            assert (await there.exit()).status == 0
    for _ in range(100):
        async with running(transport, "test", "-d", f"/proc/{pid}") as there:
            if (await there.exit()).status == 1:
                return
    raise AssertionError("the program is still there")


async def test_this_cluster_cannot_end_stdin_or_does_it(pod):
    async with running(pod("busybox"), "cat") as channel:
        await channel.send(b"x")
        if channel._line.ends_stdin:
            await channel.close_stdin()
            assert await everything(channel) == b"x"
        else:
            with pytest.raises(Unsupported):
                await channel.close_stdin()
            assert await channel.receive() == b"x"


async def test_many_programs_at_once(pod):
    transport = pod("busybox")

    async def run(number):
        async with running(transport, "echo", str(number)) as channel:
            return int(await everything(channel))

    assert await asyncio.gather(*map(run, range(20))) == list(range(20))


async def test_the_identity_is_the_pods_and_the_containers(cluster, pod):
    uid = cluster.core.read_namespaced_pod(cluster.running("busybox"), cluster.namespace).metadata.uid
    assert (await pod("busybox").identity()).startswith(uid)
    assert await pod("busybox").identity() == await pod("busybox").identity()
    assert await pod("busybox").identity() != await pod("debian").identity()


async def test_the_name_tells_the_container_once_it_is_known(cluster, pod):
    transport = pod("busybox")
    assert transport.name == f"pod {cluster.namespace}/busybox"
    async with running(transport, "true"):
        assert transport.name == f"pod {cluster.namespace}/busybox, container main"
