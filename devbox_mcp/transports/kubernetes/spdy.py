"""The frames of SPDY/3.1 as far as pods/exec needs them, without I/O.

Clusters before 1.30 hand a WebSocket on to the container runtime, which unpacks its messages at a third of the speed;
SPDY is what kubectl speaks to them. There is a stream for each of the program's pipes and one for its status. No flow
control is theirs, and headers matter in one direction only: what the server answers is not looked at.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

from devbox_mcp.transports.kubernetes.channels import Ended, MalformedMessage, Stderr, Stdout, ended

#: What one frame may hold, by its header.
MOST = 0xFFFFFF
ERROR, STDIN, STDOUT, STDERR = 1, 3, 5, 7

_HEAD = struct.Struct("!II")
_OPENING = struct.Struct("!IIBB")
_CONTROL, _VERSION = 0x80000000, 3 << 16
_SYN_STREAM, _SYN_REPLY, _RESET, _PING, _GO_AWAY = 1, 2, 3, 6, 7
_FIN = 1
_LONGEST_STATUS = 64 * 1024
_LONGEST_CONTROL = 64 * 1024


def opening() -> bytes:
    """Return the frames that open the four streams, in the order that servers expect."""
    headers = zlib.compressobj()
    names = {ERROR: "error", STDIN: "stdin", STDOUT: "stdout", STDERR: "stderr"}
    return b"".join(_syn_stream(stream, {"streamtype": name}, headers) for stream, name in names.items())


def _syn_stream(stream: int, headers: Mapping[str, str], packer: zlib._Compress) -> bytes:
    words = [word.encode("ascii") for pair in headers.items() for word in pair]
    block = struct.pack("!I", len(headers)) + b"".join(struct.pack("!I", len(word)) + word for word in words)
    packed = packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH)
    return _control(_SYN_STREAM, _OPENING.pack(stream, 0, 0, 0) + packed)


def _control(kind: int, data: bytes) -> bytes:
    return _HEAD.pack(_CONTROL | _VERSION | kind, len(data)) + data


def to_stdin(data: bytes | bytearray | memoryview) -> bytes:
    """Return the frame that carries data to the program."""
    return b"".join((_HEAD.pack(STDIN, len(data)), data))


END_OF_STDIN = _HEAD.pack(STDIN, _FIN << 24)


class Streams:
    """What the server sends, as it comes: no frame is waited for that carries output."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._stream = 0
        self._flags = 0
        self._left = 0
        self._kind = 0
        self._control = bytearray()
        self._status = bytearray()
        self._ended = False
        #: What is to be sent back.
        self.answers = bytearray()

    def feed(self, data: bytes) -> list[Stdout | Stderr | Ended]:
        """Return what the bytes say. Raises MalformedMessage."""
        found: list[Stdout | Stderr | Ended] = []
        rest = memoryview(data)
        while rest:
            if not self._in_frame():
                rest = self._begin(rest)
                if not self._in_frame():
                    return found
            taken, rest = rest[: self._left], rest[self._left :]
            self._left -= len(taken)
            if self._kind:
                self._control += taken
            elif taken:
                self._carry(taken, found)
            if not self._left:
                self._end(found)
        return found

    def _in_frame(self) -> bool:
        return len(self._head) == _HEAD.size

    def _begin(self, rest: memoryview) -> memoryview:
        missing = _HEAD.size - len(self._head)
        self._head += rest[:missing]
        if self._in_frame():
            first, second = _HEAD.unpack(self._head)
            self._flags, self._left = second >> 24, second & MOST
            self._kind = first & 0xFFFF if first & _CONTROL else 0
            self._stream = 0 if self._kind else first
            if first & _CONTROL and (first & 0x7FFF0000 != _VERSION or not self._kind or self._left > _LONGEST_CONTROL):
                raise MalformedMessage("a frame that is not of SPDY/3.1")
        return rest[missing:]

    def _carry(self, data: memoryview, found: list[Stdout | Stderr | Ended]) -> None:
        if self._stream == ERROR:
            self._status += data
            if len(self._status) > _LONGEST_STATUS:
                raise MalformedMessage("a status without an end")
        elif self._ended:
            raise MalformedMessage("output after the status")
        elif self._stream == STDOUT:
            found.append(Stdout(data))
        elif self._stream == STDERR:
            found.append(Stderr(data))
        else:
            raise MalformedMessage(f"data on stream {self._stream}")

    def _end(self, found: list[Stdout | Stderr | Ended]) -> None:
        """A frame is complete."""
        control, self._control = bytes(self._control), bytearray()
        kind, fin = self._kind, self._flags & _FIN
        self._head.clear()
        over = not kind and fin and self._stream == ERROR
        if kind == _PING:
            self.answers += _control(_PING, control)
        elif kind == _RESET and len(control) >= 4:
            over = int.from_bytes(control[:4], "big") == ERROR
        elif kind == _GO_AWAY:
            over = True
        if over and self._status and not self._ended:
            self._ended = True
            found.append(ended(bytes(self._status)))
