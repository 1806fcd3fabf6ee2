"""A program in the guest's place that says what it should not. Run as ``liar.py SCENARIO SIZE``: passes over as many
bytes as the guest's source has, and answers the first request with the scenario's."""

from __future__ import annotations

import hashlib
import os
import sys

from devbox_mcp.guest import frames
from devbox_mcp.guest.frames import MOST, PIECE, WINDOW, Decoder, frame

HELLO = {
    "version": frames.VERSION,
    "root": "/r",
    "uid": 0,
    "pid": 1,
    "python": "3.8.0",
    "operations": ["read"],
    "free": 1,
}
INFO = {"path": "f", "type": "file", "size": 10, "mode": 420, "modified": 1.0, "links": 1, "revision": "r"}
VALUE = {"info": INFO, "offset": 0}


def answer(value: object, data: bytes = b"0123456789") -> bytes:
    return frame(frames.ANSWER, 1, {"value": value}, data)


def streamed(count: int, trailer: object, size: int = WINDOW, more: bytes = b"") -> bytes:
    """Say so many pieces of a file of this size."""
    value = {"value": {"info": {**INFO, "size": size}, "offset": 0}, "stream": True}
    pieces = [frame(frames.DATA, 1, None, bytes(PIECE))] * count
    return b"".join([frame(frames.ANSWER, 1, value), *pieces, more, frame(frames.END, 1, trailer)])


TRAILER = {"length": WINDOW, "sha256": hashlib.sha256(bytes(WINDOW)).hexdigest()}
LONGER = {"length": 5 * PIECE, "sha256": hashlib.sha256(bytes(5 * PIECE)).hexdigest()}

#: What is said to the first request, a read of ``f``.
SCENARIOS = {
    "the truth": answer(VALUE),
    "the truth in a stream": streamed(4, TRAILER),
    "garbage": os.urandom(1000).replace(b"\x03", b"\xff"),
    "text": b"Segmentation fault (core dumped)\n",
    "a frame too large": b"\x03\x00\x00\x00\x01\x00\x00\x00\x00" + (MOST + 1).to_bytes(4, "big"),
    "a frame for nobody": frame(frames.ANSWER, 77, {"value": VALUE}, b"0123456789"),
    "two hellos": frame(frames.HELLO, 0, HELLO),
    "a request": frame(frames.REQUEST, 1, {"op": "read", "args": {}}),
    "no value": frame(frames.ANSWER, 1, {}),
    "a list": frame(frames.ANSWER, 1, []),
    "no info": answer({"offset": 0}),
    "another type": answer({"info": {**INFO, "size": "10"}, "offset": 0}),
    "an unknown field": answer({"info": {**INFO, "evil": 1}, "offset": 0}),
    "an unknown kind of entry": answer({"info": {**INFO, "type": "portal"}, "offset": 0}),
    "an absolute path": answer({"info": {**INFO, "path": "/etc/passwd"}, "offset": 0}),
    "a path outside": answer({"info": {**INFO, "path": "a/../../b"}, "offset": 0}),
    "a NUL in a path": answer({"info": {**INFO, "path": "a\0b"}, "offset": 0}),
    "another range": answer({"info": INFO, "offset": 5}),
    "too few bytes": answer(VALUE, b"012345678"),
    "too many bytes": answer(VALUE, b"0123456789a"),
    "no error": frame(frames.ERROR, 1, {"code": 1}),
    "an error about the host": frame(
        frames.ERROR, 1, {"code": "not_found", "path": "/etc/shadow", "detail": "", "hint": "", "data": {}}
    ),
    "data without a stream": frame(frames.DATA, 1, None, b"x"),
    "credit without a stream": frame(frames.CREDIT, 1, 5),
    "progress unasked": frame(frames.PROGRESS, 1, [1, 2]),
    "more than was allowed": streamed(5, LONGER, 5 * PIECE),
    "empty pieces": streamed(4, TRAILER, more=frame(frames.DATA, 1)),
    "less than it says": streamed(3, TRAILER),
    "another hash": streamed(4, {**TRAILER, "sha256": "0" * 64}),
    "no trailer": streamed(4, None),
    "a short file": streamed(4, TRAILER, 2 * WINDOW),
    "a long file": streamed(4, TRAILER, PIECE),
    "the end": b"",
}
#: What is said instead of a hello.
LOST = {"code": "unavailable", "path": ".", "detail": "the file system lost the file", "hint": "", "data": {}}
GREETINGS = {"a lost root": frame(frames.ERROR, 0, LOST)}


def main() -> None:
    left = int(sys.argv[2])
    decoder = Decoder()
    while True:
        data = os.read(0, 1 << 16)
        if not data:
            return
        skipped = min(left, len(data))
        left -= skipped
        for one in decoder.feed(data[skipped:]):
            if one.kind == frames.HELLO:
                os.write(1, GREETINGS.get(sys.argv[1], frame(frames.HELLO, 0, HELLO)))
            elif one.kind == frames.REQUEST:
                said = memoryview(SCENARIOS[sys.argv[1]])
                if not said:
                    return
                while said:
                    said = said[os.write(1, said) :]


if __name__ == "__main__":
    main()
