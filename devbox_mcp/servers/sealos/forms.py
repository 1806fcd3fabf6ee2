"""A form's parts one after the other, while they arrive: nothing is held but what has just come."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from devbox_mcp.errors import InvalidArgument, TooLarge

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_LONGEST_HEAD = 16 * 1024
_MOST_PARTS = 10_000
#: How clients write what they cannot put between quotes.
_ESCAPED = re.compile(rb'%0[AaDd]|%22|\\["\\]')
_PLAIN = {b"%0A": b"\n", b"%0D": b"\r", b"%22": b'"', b'\\"': b'"', b"\\\\": b"\\"}
_OPTION = rb'(?:\A|;)\s*%s\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^;\s]+))'
_NAME = re.compile(_OPTION % b"name", re.IGNORECASE)
_FILENAME = re.compile(_OPTION % b"filename", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Begun:
    name: str
    filename: str | None


#: What the parser tells: a part begins, some of its bytes, it ends (None).
_Told = _Begun | bytes | None


class Part:
    """One part; ``chunks`` are its bytes, which are passed over where nobody takes them."""

    def __init__(self, form: Form, begun: _Begun) -> None:
        self.name = begun.name
        self.filename = begun.filename
        self._form = form
        self._over = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes as they arrive."""
        while not self._over:
            told = await self._form.told()
            if isinstance(told, bytes):
                yield told
            else:
                self._over = True

    async def text(self, most: int) -> str:
        """Return the bytes as text. Raises InvalidArgument for more than ``most``."""
        data = bytearray()
        async for chunk in self.chunks():
            data += chunk
            if len(data) > most:
                raise InvalidArgument("write", ".", f"the part {self.name} is longer than {most} bytes")
        return os.fsdecode(bytes(data))

    async def pass_over(self) -> None:
        """Drop what is left."""
        async for _ in self.chunks():
            pass


class Form:
    """A body of ``multipart/form-data``. Raises InvalidArgument where it is none."""

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary or len(boundary) > 70:
            raise _bad("the Content-Type of a form names its boundary, of at most 70 characters")
        self._body = body
        self._queue: deque[_Told] = deque()
        self._field = bytearray()
        self._value = bytearray()
        self._head = 0
        self._disposition = b""
        self._ended = False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._extend(self._field, data[start:end]),
            "on_header_value": lambda data, start, end: self._extend(self._value, data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._begun,
            "on_part_data": lambda data, start, end: self._queue.append(data[start:end]),
            "on_part_end": lambda: self._queue.append(None),
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)

    async def parts(self) -> AsyncIterator[Part]:
        """Yield the parts. One that was not taken to its end is passed over."""
        count = 0
        while await self._filled():
            begun = self._queue.popleft()
            assert isinstance(begun, _Begun)
            count += 1
            if count > _MOST_PARTS:
                raise TooLarge("write", ".", f"the form has more than {_MOST_PARTS} parts", limit=_MOST_PARTS)
            part = Part(self, begun)
            yield part
            await part.pass_over()

    async def told(self) -> _Told:
        """Return the next thing within a part."""
        if not await self._filled():
            raise _bad("the form ends within a part")
        return self._queue.popleft()

    async def _filled(self) -> bool:
        """Read on until the parser has told something; False at the end of the form."""
        while not self._queue:
            piece = await anext(self._body, None)
            try:
                if piece is None:
                    self._parser.finalize()
                    if not self._ended:
                        raise _bad("the form ends before its last boundary")
                    return False
                self._parser.write(piece)
            except FormParserError as error:
                raise _bad(f"the body is no form: {error}"[:300]) from None
        return True

    def _begin(self) -> None:
        self._head = 0
        self._disposition = b""

    def _extend(self, where: bytearray, data: bytes) -> None:
        self._head += len(data)
        if self._head > _LONGEST_HEAD:
            raise _bad(f"the head of a part is longer than {_LONGEST_HEAD} bytes")
        where += data

    def _end_header(self) -> None:
        if bytes(self._field).strip().lower() == b"content-disposition":
            if self._disposition:
                raise _bad("a part has Content-Disposition twice")
            self._disposition = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _begun(self) -> None:
        self._queue.append(_Begun(_option(_NAME, self._disposition) or "", _option(_FILENAME, self._disposition)))

    def _end(self) -> None:
        self._ended = True


def _option(pattern: re.Pattern[bytes], disposition: bytes) -> str | None:
    match = pattern.search(disposition)
    if match is None:
        return None
    raw = match["bare"] if match["quoted"] is None else match["quoted"]
    return os.fsdecode(_ESCAPED.sub(lambda found: _PLAIN[found[0].upper()], raw))


def _bad(detail: str) -> InvalidArgument:
    return InvalidArgument("write", ".", detail)
