"""SPDY from servers of every kind: whatever frames come, however they are cut, bent or broken off, what is understood
is what was said, and an end is told only where there was one."""

from __future__ import annotations

import contextlib
import itertools
import json
import struct
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox_mcp.transports.kubernetes import spdy
from devbox_mcp.transports.kubernetes.channels import Ended, MalformedMessage, Stderr, Stdout
from devbox_mcp.transports.kubernetes.spdy import ERROR, STDERR, STDIN, STDOUT, Streams

SYN_REPLY, RESET, SETTINGS, PING, GO_AWAY, HEADERS, WINDOW_UPDATE = 2, 3, 4, 6, 7, 8, 9
SUCCESS = json.dumps({"status": "Success"}).encode()


def data(stream: int, content: bytes, fin: bool = False) -> bytes:
    return struct.pack("!II", stream, fin << 24 | len(content)) + content


def control(kind: int, content: bytes, flags: int = 0) -> bytes:
    return struct.pack("!HHI", 0x8003, kind, flags << 24 | len(content)) + content


def pair(first: int, second: int) -> bytes:
    return struct.pack("!II", first, second)


#: Frames that carry nothing: replies, windows (nobody keeps any), settings, headers, kinds that nobody knows, and ends
#: of streams that end nothing.
silent = st.one_of(
    st.builds(
        lambda stream, block: control(SYN_REPLY, struct.pack("!I", stream) + block), st.integers(1, 9), st.binary()
    ),
    st.builds(
        lambda stream, delta: control(WINDOW_UPDATE, pair(stream, delta)), st.integers(0, 9), st.integers(0, 2**31)
    ),
    st.builds(lambda block, flags: control(SETTINGS, block, flags), st.binary(), st.integers(0, 255)),
    st.builds(lambda block: control(HEADERS, block), st.binary()),
    st.builds(control, st.integers(10, 0xFFFF), st.binary()),
    st.builds(
        lambda stream, why: control(RESET, pair(stream, why)), st.sampled_from((STDIN, STDOUT, 9)), st.integers(0, 11)
    ),
    st.builds(lambda fin: data(STDOUT, b"", fin), st.booleans()),
)
output = st.builds(data, st.sampled_from((STDOUT, STDERR)), st.binary(max_size=200))
ping = st.builds(lambda number: control(PING, struct.pack("!I", number)), st.integers(0, 2**32 - 1))
conversation = st.lists(st.one_of(silent, output, ping), max_size=20)
#: How servers say that there is no more to the status.
end = st.sampled_from(
    (
        data(ERROR, SUCCESS, fin=True),
        data(ERROR, SUCCESS) + data(ERROR, b"", fin=True),
        data(ERROR, SUCCESS[:5]) + data(ERROR, SUCCESS[5:]) + control(RESET, pair(ERROR, 5)),
        data(ERROR, SUCCESS[:5]) + control(RESET, pair(STDOUT, 5)) + data(ERROR, SUCCESS[5:], fin=True),
        data(ERROR, SUCCESS) + control(GO_AWAY, pair(0, 0)),
    )
)


@dataclass
class Heard:
    out: bytes = b""
    err: bytes = b""
    end: Ended | None = None
    answers: bytes = b""


def hear(pieces: list[bytes]) -> Heard:
    heard, streams = Heard(), Streams()
    for piece in pieces:
        for event in streams.feed(piece):
            if isinstance(event, Stdout):
                heard.out += event.data
            elif isinstance(event, Stderr):
                heard.err += event.data
            else:
                assert heard.end is None
                heard.end = event
    heard.answers = bytes(streams.answers)
    return heard


def said(frames: list[bytes], stream: int) -> bytes:
    return b"".join(frame[8:] for frame in frames if frame[:4] == struct.pack("!I", stream))


def cut(whole: bytes, at: list[int]) -> list[bytes]:
    edges = sorted({0, len(whole), *(where % (len(whole) + 1) for where in at)})
    return [whole[start:stop] for start, stop in itertools.pairwise(edges)]


@given(conversation, end, st.lists(st.integers(0, 10**6), max_size=12))
def test_whatever_is_said_is_understood_however_it_is_cut(frames: list[bytes], last: bytes, at: list[int]) -> None:
    heard = hear(cut(b"".join(frames) + last, at))
    pings = b"".join(frame for frame in frames if frame[:4] == struct.pack("!HH", 0x8003, PING))
    assert heard == Heard(said(frames, STDOUT), said(frames, STDERR), Ended(0), pings)


@given(conversation, end, st.integers(0, 10**6))
def test_what_breaks_off_never_looks_like_the_end(frames: list[bytes], last: bytes, at: int) -> None:
    whole = b"".join(frames) + last
    heard = hear([whole[: at % len(whole)]])
    assert heard.end is None
    assert said(frames, STDOUT).startswith(heard.out)
    assert said(frames, STDERR).startswith(heard.err)


@settings(max_examples=300)
@given(conversation, end, st.integers(0, 10**6), st.integers(1, 255))
def test_what_is_bent_is_refused_or_understood(frames: list[bytes], last: bytes, at: int, by: int) -> None:
    whole = bytearray(b"".join(frames) + last)
    whole[at % len(whole)] ^= by
    with contextlib.suppress(MalformedMessage):
        hear([bytes(whole)])


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=300), max_size=5))
def test_noise_is_refused_or_understood(noise: list[bytes]) -> None:
    with contextlib.suppress(MalformedMessage):
        hear(noise)


@pytest.mark.parametrize("stream", [ERROR, STDOUT])
def test_an_end_that_was_told_is_not_told_again(stream: int) -> None:
    over = data(ERROR, SUCCESS, fin=True)
    assert hear([over + data(stream, b"", fin=True) + control(RESET, pair(ERROR, 5)) + control(GO_AWAY, bytes(8))]) == (
        Heard(end=Ended(0))
    )


@given(st.integers(64 * 1024 + 1, spdy.MOST), st.integers(1, 0xFFFF))
def test_a_server_cannot_have_more_kept_than_there_is_use_for(length: int, kind: int) -> None:
    """It is refused when it is announced."""
    with pytest.raises(MalformedMessage):
        Streams().feed(struct.pack("!HHI", 0x8003, kind, length))


def test_output_of_the_largest_frame_is_passed_on_as_it_comes() -> None:
    streams = Streams()
    assert streams.feed(struct.pack("!II", STDOUT, spdy.MOST)) == []
    left = spdy.MOST
    while left:
        piece = min(left, 1_000_003)
        (event,) = streams.feed(bytes(piece))
        assert isinstance(event, Stdout)
        assert len(event.data) == piece
        left -= piece
    assert streams.feed(data(ERROR, SUCCESS, fin=True)) == [Ended(0)]


def test_headers_need_no_dictionary() -> None:
    """Servers have SPDY's at hand and take headers without it as well: what is not announced is not used."""
    block = spdy.opening()[18:]
    assert block[0] & 0x0F == 8  # deflate
    assert not block[1] & 0x20  # no dictionary
