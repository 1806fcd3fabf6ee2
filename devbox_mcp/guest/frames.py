"""The frames that the guest and the server exchange: bytes in, frames out, no I/O.

A frame is a header (kind, request id, length of ``meta``, length of ``data``), ``meta`` as JSON, and ``data`` as it
is. Together they hold at most 1 MiB; ``meta`` that is longer is sent ahead in MORE frames and put together again by
the decoder. Text may hold surrogate escapes (names that are not UTF-8), in UTF-8 extended by them.

    kind        from     meta                                             data
    HELLO       both     what the server wants; then what the guest is
    REQUEST     server   op, args; seconds, progress, stream if wanted    its body, unless it is streamed
    ANSWER      guest    value; stream if DATA follows                    the content, unless it is streamed
    ERROR       guest    code, path, detail, hint, data
    DATA        both                                                      a piece of a stream, within its credit
    END         both     length and sha256 of a stream; value at its end
    CREDIT      both     how many more bytes of a stream may come
    CANCEL      server                                                    answered by ANSWER, END or ERROR
    PROGRESS    guest    [done, total or null]
    PING, PONG  both
    BYE         both     nothing follows; the server's is answered by the guest's
"""

import json
import struct
from typing import Any, Dict, List, NamedTuple, Tuple, Union

HELLO, REQUEST, ANSWER, ERROR, DATA, END, CREDIT, CANCEL, PROGRESS, PING, PONG, BYE, MORE = range(1, 14)

VERSION = 1
#: ``meta`` and ``data`` of one frame.
MOST = 1 << 20
#: ``meta`` of all frames that are being put together.
MOST_META = 32 << 20
#: Data up to this size travels in the frame of its request or answer.
INLINE = 64 << 10
#: Data of one DATA frame: what a small frame may have to wait for.
PIECE = 256 << 10
#: How many bytes of a stream may be on their way. A small frame may have to wait for them too.
WINDOW = 1 << 20
#: How many more of one that is FAST (bytes a second), up and down: there a link that stands idle costs more than what
#: small frames wait for. All streams of a session share a ROOM.
EXTRA_UP, EXTRA_DOWN = 2 << 20, 3 << 20
FAST = 32 << 20
ROOM = 8 << 20

_HEADER = struct.Struct("!BIII")
_LITTLE = 4 << 10


def _refuse(name: str) -> Any:
    raise ValueError(name)


_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_DECODE = json.JSONDecoder(parse_constant=_refuse).decode

Buffer = Union[bytes, bytearray, memoryview]


class FrameError(Exception):
    """What came is no frame."""


class Frame(NamedTuple):
    """One frame; ``meta`` is None where there is none."""

    kind: int
    id: int
    meta: Any = None
    data: bytes = b""


def encode(kind: int, request: int = 0, meta: Any = None, data: Buffer = b"") -> "Tuple[bytes, Buffer]":
    """Return a frame as what comes before its data, and its data. Raises FrameError for more than a frame holds."""
    text = b"" if meta is None else _ENCODE(meta).encode("utf-8", "surrogatepass")
    ahead: List[bytes] = []
    while len(text) + len(data) > MOST:
        piece, text = text[:PIECE], text[PIECE:]
        if not piece:
            raise FrameError("%d bytes of data are too many for a frame" % len(data))
        ahead += [_HEADER.pack(MORE, request, 0, len(piece)), piece]
    ahead += [_HEADER.pack(kind, request, len(text), len(data)), text]
    return b"".join(ahead), data


def frame(kind: int, request: int = 0, meta: Any = None, data: Buffer = b"") -> bytes:
    """Return a frame in one piece."""
    return b"".join(encode(kind, request, meta, data))


class Decoder:
    """Takes bytes as they come and gives frames. After a FrameError it is of no more use."""

    def __init__(self) -> None:
        self._pieces: List[Buffer] = []
        self._held = 0
        self._needed = _HEADER.size
        self._ahead: Dict[int, List[bytes]] = {}
        self._ahead_size = 0

    @property
    def waits(self) -> bool:
        """Whether a frame has begun to arrive."""
        return bool(self._held or self._ahead)

    def feed(self, data: Buffer) -> List[Frame]:
        """Return the frames that are complete by now. Raises FrameError. ``data`` must not change afterwards: what is
        no whole frame yet is not copied."""
        if not self._held and len(data):
            _check_kind(data[0])
        self._pieces.append(data)
        self._held += len(data)
        if self._held < self._needed:
            return []
        found: List[Frame] = []
        buffer = memoryview(data) if len(self._pieces) == 1 else self._joined(found)
        start = 0
        self._needed = _HEADER.size
        while len(buffer) - start >= self._needed:
            kind, request, meta, size = _HEADER.unpack_from(buffer, start)
            _check_kind(kind)
            if meta + size > MOST:
                raise FrameError("a frame of %d bytes" % (meta + size))
            behind = start + _HEADER.size
            end = behind + meta + size
            if end > len(buffer):
                self._needed = end - start
                break
            text = buffer[behind : behind + meta]
            if kind == MORE:
                self._keep(request, bytes(buffer[behind + meta : end]), meta)
            else:
                found.append(Frame(kind, request, self._meta(request, text), bytes(buffer[behind + meta : end])))
            start = end
        rest: Buffer = buffer[start:]
        if len(rest):
            _check_kind(rest[0])  # at once: whoever asks for a password waits for an answer
        if len(rest) < _LITTLE:
            rest = bytes(rest)  # or it would keep all that it came with
        self._pieces = [rest] if rest else []
        self._held = len(rest)
        return found

    def _joined(self, found: List[Frame]) -> memoryview:
        """Return what came in pieces as one; a piece of a stream, of which there is most, is put into ``found`` first,
        so that it is copied once."""
        if self._needed > _HEADER.size and not self._ahead:
            kind, request, meta, _ = _HEADER.unpack_from(self._pieces[0])
            if kind == DATA and not meta:
                first, last = (memoryview(self._pieces[at]) for at in (0, -1))
                end = len(last) - (self._held - self._needed)
                pieces = [first[_HEADER.size :], *self._pieces[1:-1], last[:end]]
                found.append(Frame(DATA, request, None, b"".join(pieces)))
                return last[end:]
        return memoryview(b"".join(self._pieces))

    def _keep(self, request: int, piece: bytes, meta: int) -> None:
        self._ahead_size += len(piece)
        if meta or not piece or self._ahead_size > MOST_META:
            raise FrameError("a frame that never ends")
        self._ahead.setdefault(request, []).append(piece)

    def _meta(self, request: int, text: Buffer) -> Any:
        if self._ahead:
            pieces = self._ahead.pop(request, [])
            self._ahead_size -= sum(map(len, pieces))
            text = b"".join([*pieces, text])
        if not len(text):
            return None
        try:
            return _DECODE(str(text, "utf-8", "surrogatepass"))
        except (ValueError, RecursionError) as error:
            raise FrameError("a frame whose meta is no JSON") from error


def _check_kind(kind: int) -> None:
    if not HELLO <= kind <= MORE:
        raise FrameError("there is no frame of kind %d" % kind)
