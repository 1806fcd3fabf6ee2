"""The process transport with real processes: bytes, back-pressure, and that nothing outlives its channel."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from devbox_mcp.errors import InvalidArgument, Unavailable, Unsupported
from devbox_mcp.transports.base import Exit
from devbox_mcp.transports.process import ProcessTransport

pytestmark = pytest.mark.anyio

PYTHON = (sys.executable, "-I", "-S", "-c")


@contextlib.asynccontextmanager
async def running(*argv, command=()):
    channel = await ProcessTransport(command).start(argv)
    try:
        yield channel
    finally:
        await channel.aclose()


async def until(condition):
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


async def everything(channel):
    parts = []
    while data := await channel.receive():
        assert len(data) <= 1024 * 1024
        parts.append(data)
    return b"".join(parts)


async def send_for_ever(channel):
    while True:
        await channel.send(bytes(1_000_000))


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children():
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


async def test_few_bytes_are_written_at_once_or_not_at_all():
    async with running("cat") as channel:
        sent = 0
        while channel.send_now(b"%4096d" % sent):
            sent += 1
        assert sent > 1
        assert not channel.send_now(bytes(1_000_000))
        got = b""
        while len(got) < 4096 * sent:
            got += await channel.receive()
        assert got == b"".join(b"%4096d" % number for number in range(sent))
        assert channel.send_now(b"more")
        assert await channel.receive() == b"more"
        await channel.close_stdin()
        assert not channel.send_now(b"more")


async def test_bytes_come_back_as_they_went():
    sent = os.urandom(20_000_000)
    async with running("cat") as channel:

        async def send():
            for at in range(0, len(sent), 300_000):
                await channel.send(memoryview(sent)[at : at + 300_000])
            await channel.close_stdin()

        _, received = await asyncio.gather(send(), everything(channel))
        assert received == sent
        assert await channel.receive() == b""  # the end stays the end
        assert await channel.exit() == Exit(0)


async def test_arguments_reach_the_program_as_they_are():
    words = ["", "a b", "$(id)", "'", '"', "\n", "*", "-n", "ä"]
    async with running(*PYTHON, "import sys; print(ascii(sys.argv[1:]))", *words) as channel:
        assert eval(await everything(channel)) == words


async def test_ssh_gets_its_arguments_quoted_for_the_remote_shell(tmp_path):
    """A program named ssh that does what ssh does to its arguments: joins them with blanks for a shell."""
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    ssh.chmod(0o755)
    words = ["", "a b", "$(id)", "'", '"', "\n", "*"]
    program = "import sys; print(ascii(sys.argv[1:]))"
    async with running(*PYTHON, program, *words, command=(str(ssh), "host")) as channel:
        assert eval(await everything(channel)) == words


async def test_a_wrapper_gets_the_arguments_behind_its_own():
    async with running("printf", "%s|", "a b", "c", command=("env", "X=1")) as channel:
        assert await everything(channel) == b"a b|c|"


async def test_status_and_the_end_of_stderr_are_told():
    async with running("sh", "-c", "seq 1 200000 >&2; echo last words >&2; exit 7") as channel:
        assert await everything(channel) == b""
        end = await channel.exit()
    assert end.status == 7
    assert end.stderr.endswith("last words")
    assert len(end.stderr) <= 4096


async def test_a_signal_is_no_status():
    async with running("sh", "-c", "kill -9 $$") as channel:
        end = await channel.exit()
    assert end.status is None
    assert "SIGKILL" in end.reason


async def test_a_missing_program_is_unsupported():
    with pytest.raises(Unsupported) as caught:
        await ProcessTransport().start(["no-such-program", "x"])
    assert caught.value.data == {"program": "no-such-program"}


async def test_a_missing_wrapper_is_unsupported():
    with pytest.raises(Unsupported) as caught:
        await ProcessTransport(["no-such-wrapper", "-i"]).start(["sh"])
    assert caught.value.data == {"program": "no-such-wrapper"}


@pytest.mark.parametrize("first", ["send", "receive"])
async def test_a_program_missing_behind_a_wrapper_is_unsupported(first):
    async with running("no-such-program", command=("env", "--")) as channel:
        with pytest.raises(Unsupported) as caught:
            await (channel.receive() if first == "receive" else send_for_ever(channel))
    assert caught.value.data == {"program": "no-such-program"}
    assert "no-such-program" in str(caught.value)


async def test_a_file_that_is_no_program_is_unsupported(tmp_path):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(Unsupported):
        await ProcessTransport().start([str(tmp_path / "text")])


@pytest.mark.parametrize("argument", ["a\0b", "x" * 4_000_000])
async def test_arguments_that_cannot_be_passed_are_invalid(argument):
    with pytest.raises(InvalidArgument):
        await ProcessTransport().start(["true", argument])


async def test_a_program_that_does_not_read_makes_send_wait():
    async with running("sleep", "1000") as channel:
        sent = 0

        async def send():
            nonlocal sent
            while True:
                await channel.send(bytes(65536))
                sent += 65536

        task = asyncio.create_task(send())
        await until(lambda: sent >= 65536)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert not task.done()
        assert sent <= 2 * 1024 * 1024
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_not_fetched_makes_the_program_wait(tmp_path):
    counter = tmp_path / "written"
    counter.write_text("0")
    program = (
        "import os, sys\nn = 0\nwhile True:\n    n += os.write(1, bytes(65536))\n"
        "    fd = os.open(sys.argv[1], os.O_WRONLY); os.write(fd, b'%d' % n); os.close(fd)"
    )
    async with running(*PYTHON, program, str(counter)) as channel:
        await channel.receive()
        before = ""
        while before != counter.read_text():
            before = counter.read_text()
            await asyncio.sleep(0.2)
        assert int(before) <= 4 * 1024 * 1024


@pytest.mark.parametrize("act", ["send", "receive"])
async def test_a_busy_channel_leaves_others_their_turn(act):
    """A receiver that always finds data, and a sender that never waits, give way to other tasks all the same."""
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with running(*(["sleep", "1000"] if act == "send" else ["cat", "/dev/zero"])) as channel:
        counting = asyncio.create_task(count())
        for _ in range(8):  # what fits into the pipe
            await (channel.send(bytes(65536)) if act == "send" else channel.receive())
        counting.cancel()
    assert turns >= 7


async def test_aclose_ends_the_whole_session_of_a_stubborn_program(tmp_path):
    script = 'trap "" TERM HUP; sh -c \'trap "" TERM; echo $$; exec sleep 1000\' & echo $$; while :; do sleep 1; done'
    channel = await ProcessTransport().start(["sh", "-c", script])
    text = b""
    while text.count(b"\n") < 2:
        text += await channel.receive()
    pids = [int(line) for line in text.split()]
    assert all(alive(pid) for pid in pids)
    await channel.aclose()
    await until(lambda: not any(alive(pid) for pid in pids))
    await channel.aclose()


async def test_aclose_lets_a_program_end_by_itself(tmp_path):
    mark = tmp_path / "mark"
    async with running("sh", "-c", 'echo ready; cat > /dev/null; echo clean > "$1"', "sh", str(mark)) as channel:
        assert await channel.receive() == b"ready\n"
    assert mark.read_text() == "clean\n"


async def test_the_end_of_the_leader_is_the_end_of_everything():
    """A child left behind would stay for ever, and keep the pipe open."""
    async with running("sh", "-c", "sleep 1000 & echo $!") as channel:
        child = int(await asyncio.wait_for(everything(channel), 20))
        assert await channel.exit() == Exit(0)
        await until(lambda: not alive(child))


async def test_what_left_the_session_does_not_hold_up_the_reader():
    program = (
        "import os, time\nif os.fork():\n    os.wait()\nelse:\n    os.setsid()\n"
        "    child = os.fork()\n    if child:\n        os.write(1, b'%d' % child)\n    else:\n        time.sleep(1000)"
    )
    async with running(*PYTHON, program) as channel:
        escaped = int(await asyncio.wait_for(everything(channel), 20))
        try:
            assert alive(escaped)
            assert await channel.receive() == b""
        finally:
            os.kill(escaped, signal.SIGKILL)


@pytest.mark.parametrize("act", ["send", "receive"])
async def test_whoever_waits_learns_that_the_channel_was_closed(act):
    async with running("sleep", "1000") as channel:
        waiting = asyncio.create_task(channel.receive() if act == "receive" else channel.send(bytes(10_000_000)))
        await asyncio.sleep(0.05)
        await channel.aclose()
        with pytest.raises(Unavailable):
            await waiting
        with pytest.raises(Unavailable):
            await channel.receive()
        with pytest.raises(Unavailable):
            await channel.send(b"x")


async def test_whoever_waits_learns_of_the_closing_before_a_stubborn_program_ends():
    script = 'trap "" TERM; echo ready; while :; do sleep 1; done'
    async with running("sh", "-c", script) as channel:
        assert await channel.receive() == b"ready\n"
        waiting = asyncio.create_task(channel.receive())
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(channel.aclose())
        await asyncio.wait({waiting, closing}, return_when=asyncio.FIRST_COMPLETED)
        assert waiting.done()
        assert not closing.done()
        with pytest.raises(Unavailable):
            await waiting


async def test_sending_to_a_program_that_ended_tells_how_it_ended():
    async with running("sh", "-c", "echo because >&2; exit 3") as channel:
        with pytest.raises(Unavailable, match="status 3: because"):
            await send_for_ever(channel)


async def test_a_cancelled_receive_loses_nothing():
    async with running("cat") as channel:
        for number in range(20):
            receiving = asyncio.create_task(channel.receive())
            await asyncio.sleep(0)
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
            await channel.send(b"%d" % number)
            assert await channel.receive() == b"%d" % number


async def test_processes_are_reaped_even_when_the_closing_is_cancelled():
    before = children()
    channel = await ProcessTransport().start(["sh", "-c", 'trap "" TERM; while :; do sleep 1; done'])
    closing = asyncio.create_task(channel.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await channel.exit()
    await channel.aclose()
    assert children() == before


def test_processes_are_reaped_when_the_event_loop_ends():
    before = children()

    async def main():
        channel = await ProcessTransport().start(["sh", "-c", 'trap "" TERM; while :; do sleep 1; done'])
        asyncio.get_running_loop().call_later(0.05, asyncio.current_task().cancel)
        await channel.aclose()

    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(main())
    assert children() == before


async def test_without_process_handles_the_end_is_noticed_too(monkeypatch):
    """As on macOS."""
    monkeypatch.delattr(os, "pidfd_open")
    async with running("sh", "-c", "sleep 1000 & cat; exit 4") as channel:
        await channel.send(b"x")
        await channel.close_stdin()
        assert await asyncio.wait_for(everything(channel), 20) == b"x"
        assert await channel.exit() == Exit(4)


async def test_no_descriptor_stays_open():
    async with running("true") as channel:
        await channel.exit()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        async with running("cat") as channel:
            await channel.send(b"x")
            await channel.receive()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_closing_leaves_the_next_owner_of_a_descriptors_number_alone():
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    async with running("sleep", "1000") as channel:
        number = channel._stdout.fileno()
        waiting = asyncio.create_task(channel.receive())
        await asyncio.sleep(0.05)
        channel._close(channel._stdout)
        reader, writer = os.pipe()
        try:
            if reader != number:
                os.dup2(reader, number)
            loop.add_reader(number, heard.set)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            os.write(writer, b"x")
            await asyncio.wait_for(heard.wait(), 10)
        finally:
            loop.remove_reader(number)
            for descriptor in {reader, writer, number}:
                os.close(descriptor)
        await channel.aclose()
        with pytest.raises(Unavailable):
            await waiting


async def test_the_identity_is_constant_and_its_own():
    transport = ProcessTransport()
    assert await transport.identity() == await transport.identity()
    assert await transport.identity() != await ProcessTransport().identity()
