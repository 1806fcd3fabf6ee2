"""Parts of a form as files, taken in while they arrive."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from devbox_mcp.errors import InvalidArgument
from devbox_mcp.servers.rest.batch.intake import OP, Intake

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_FILENAME = re.compile(rb'(?:\A|;)\s*filename\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^;\s]+))', re.IGNORECASE)
#: How browsers write what they cannot put between quotes, and how others do.
_ESCAPED = re.compile(rb'%0[AaDd]|%22|\\["\\]')
_PLAIN = {b"%0A": b"\n", b"%0D": b"\r", b"%22": b'"', b'\\"': b'"', b"\\\\": b"\\"}


async def unpack(body: AsyncIterator[bytes], content_type: str, intake: Intake) -> None:
    """Take in the parts of a form. Raises InvalidArgument for what is none, TooLarge, Timeout."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary or len(boundary) > 70:
        raise InvalidArgument(OP, ".", "the Content-Type of a form names its boundary, of at most 70 characters")
    parts = _Parts(intake)
    parser = MultipartParser(boundary, parts.callbacks())
    try:
        async for piece in body:
            parser.write(piece)
        parser.finalize()
    except FormParserError as error:
        raise InvalidArgument(OP, ".", f"the body is no form: {error}"[:300]) from None
    if not parts.ended:
        raise InvalidArgument(OP, ".", "the form ends before its last boundary")


class _Parts:
    """Collects the part that is arriving."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._name: str | None = None
        self._is_told = False
        self._field = bytearray()
        self._value = bytearray()
        self._data = bytearray()
        self.ended = False

    def callbacks(self) -> MultipartCallbacks:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_part_data": self._add,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._intake.count()
        self._name = None
        self._is_told = False
        self._data = bytearray()

    def _end_header(self) -> None:
        if bytes(self._field).strip().lower() == b"content-disposition":
            if self._is_told:
                raise InvalidArgument(OP, ".", "a part has Content-Disposition twice")
            self._is_told = True
            match = _FILENAME.search(bytes(self._value))
            if match is not None:
                raw = match["bare"] if match["quoted"] is None else match["quoted"]
                self._name = os.fsdecode(_ESCAPED.sub(lambda found: _PLAIN[found[0].upper()], raw))
        self._field.clear()
        self._value.clear()

    def _add(self, data: bytes, start: int, end: int) -> None:
        self._intake.reserve(end - start)
        self._data += data[start:end]

    def _end(self) -> None:
        if not self._name:
            self._intake.refuse("", InvalidArgument(OP, "", "this part has no filename, which is the file's path"))
            return
        self._intake.file(self._name, bytes(self._data))

    def _finish(self) -> None:
        self.ended = True
