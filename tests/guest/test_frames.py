"""The frames between guest and server. Runs on Python 3.8 too."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from devbox_mcp.guest import frames
from devbox_mcp.guest.frames import MOST, MOST_META, Decoder, Frame, FrameError, encode, frame

KINDS = some.integers(frames.HELLO, frames.BYE)
NUMBERS = some.integers(0, 2**32 - 1)
#: Any text, lone surrogates and what looks like pairs of them included: names that are not UTF-8 are such text.
TEXTS = some.text() | some.text(some.characters(min_codepoint=0xD7F0, max_codepoint=0xE00F))
VALUES = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(2**63), 2**63)
    | some.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: some.lists(inner) | some.dictionaries(TEXTS, inner),
    max_leaves=10,
)
FRAMES = some.builds(Frame, KINDS, NUMBERS, VALUES, some.binary(max_size=300))
HEADER = struct.Struct("!BIII")


def decode(data, *cuts):
    decoder = Decoder()
    found = []
    for start, end in zip((0, *cuts), (*cuts, len(data))):
        found += decoder.feed(data[start:end])
    assert not decoder.waits
    return found


@given(some.lists(FRAMES, max_size=5), some.data())
def test_what_goes_in_comes_out_however_it_is_cut(sent, data):
    joined = b"".join(frame(*one) for one in sent)
    cuts = sorted(data.draw(some.lists(some.integers(0, len(joined)), max_size=8)))
    assert decode(joined, *cuts) == sent


@given(some.binary(max_size=200), some.lists(some.integers(0, 200), max_size=4))
def test_anything_else_is_an_error_or_the_beginning_of_a_frame(data, cuts):
    decoder = Decoder()
    try:
        for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)]):
            decoder.feed(data[start:end])
    except FrameError:
        pass


@given(FRAMES, some.integers(0, 400), some.integers(1, 255))
@settings(max_examples=300)
def test_a_damaged_frame_never_hangs_the_next(sent, position, flip):
    damaged = bytearray(frame(*sent))
    damaged[position % len(damaged)] ^= flip
    decoder = Decoder()
    try:
        found = decoder.feed(bytes(damaged))
        # whatever it says of its length is within the limit, so this much is enough for it to end
        found += decoder.feed(bytes(frames.MOST + HEADER.size))
    except FrameError:
        return
    assert found


def test_every_byte_value_travels_in_names_and_in_data():
    name = bytes(range(1, 256)).decode("utf-8", "surrogateescape")
    value = {"names": [name, "\udc80\U0010ffff\udcff", "\ud83d\ude00", "\U0001f600"], "none": None}
    data = bytes(range(256))
    assert decode(frame(frames.ANSWER, 7, value, data)) == [Frame(frames.ANSWER, 7, value, data)]


def test_byte_by_byte():
    sent = frame(frames.REQUEST, 1, {"op": "stat"}, b"data") + frame(frames.PING)
    assert decode(sent, *range(1, len(sent))) == [
        Frame(frames.REQUEST, 1, {"op": "stat"}, b"data"),
        Frame(frames.PING, 0, None, b""),
    ]


@given(some.lists(some.binary(min_size=1, max_size=60), min_size=1, max_size=4), some.data())
def test_pieces_of_streams_however_they_are_cut(pieces, data):
    sent = [Frame(frames.DATA, number, None, piece) for number, piece in enumerate(pieces)]
    joined = b"".join(frame(*one) for one in sent)
    cuts = sorted(data.draw(some.lists(some.integers(0, len(joined)), max_size=12)))
    found = decode(joined, *cuts)
    assert found == sent
    assert all(type(one.data) is bytes for one in found)


def test_a_large_piece_of_a_stream_behind_and_before_small_frames():
    large = bytes(range(256)) * (MOST // 256)
    sent = frame(frames.PING) + frame(frames.DATA, 1, None, large) + frame(frames.PONG)
    step = 100_003
    found = decode(sent, *range(step, len(sent), step))
    assert found == [Frame(frames.PING, 0), Frame(frames.DATA, 1, None, large), Frame(frames.PONG, 0)]


def test_a_long_answer_travels_in_pieces_between_others():
    value = {"entries": ["x" * 1000] * 3000}
    ahead, data = encode(frames.ANSWER, 1, value, b"z" * 1000)
    assert data == b"z" * 1000
    pieces = []
    while ahead:
        _, _, meta, size = HEADER.unpack_from(ahead)
        assert meta + size <= MOST
        end = HEADER.size + meta + (size if ahead[0] == frames.MORE else 0)
        pieces.append(ahead[:end])
        ahead = ahead[end:]
    assert len(pieces) > 2
    decoder = Decoder()
    found = []
    for piece in pieces:
        found += decoder.feed(frame(frames.PING)) + decoder.feed(piece)
    found += decoder.feed(data)
    assert [one for one in found if one.kind != frames.PING] == [Frame(frames.ANSWER, 1, value, b"z" * 1000)]


def test_data_has_a_limit():
    assert decode(frame(frames.DATA, 1, None, bytes(MOST)))[0].data == bytes(MOST)
    with pytest.raises(FrameError):
        frame(frames.DATA, 1, None, bytes(MOST + 1))
    with pytest.raises(ValueError):
        frame(frames.ANSWER, 1, float("nan"))


@pytest.mark.parametrize(
    "data",
    [
        HEADER.pack(0, 1, 0, 0),
        HEADER.pack(14, 1, 0, 0),
        HEADER.pack(frames.DATA, 1, 0, MOST + 1),
        HEADER.pack(frames.ANSWER, 1, 0xFFFFFFFF, 0xFFFFFFFF),
        HEADER.pack(frames.ANSWER, 1, 1, 0) + b"{",
        HEADER.pack(frames.ANSWER, 1, 1, 0) + b"\xff",
        HEADER.pack(frames.ANSWER, 1, 3, 0) + b"NaN",
        HEADER.pack(frames.ANSWER, 1, 100_000, 0) + b"[" * 100_000,
        HEADER.pack(frames.MORE, 1, 0, 0),
        HEADER.pack(frames.MORE, 1, 1, 1) + b"1x",
        b"Password: ",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_what_is_no_frame(data):
    with pytest.raises(FrameError):
        Decoder().feed(data)


def test_meta_has_an_end():
    decoder = Decoder()
    piece = frame(frames.MORE, 1, None, bytes(MOST))
    for _ in range(MOST_META // MOST):
        assert decoder.feed(piece) == []
    with pytest.raises(FrameError):
        decoder.feed(piece)


def test_pieces_of_many_requests_count_together():
    decoder = Decoder()
    for number in range(MOST_META // MOST):
        assert decoder.feed(frame(frames.MORE, number, None, bytes(MOST))) == []
    with pytest.raises(FrameError):
        decoder.feed(frame(frames.MORE, 77, None, b"x"))
