"""A file's text as UTF-8, in blocks of whole lines, whatever its size and the length of its lines."""

import codecs
import itertools
import os
from typing import Callable, Iterator, Optional

LONGEST_LINE = 1 << 20  # bytes; the rest of a longer line is left out
_CHUNK = 1 << 18
_SNIFFED = 8192  # bytes; a NUL among them means that this is no text

# the marks of UTF-32 come first, for one begins like that of UTF-16
_WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def text_blocks(content: Iterator[bytes]) -> Optional[Iterator[bytes]]:
    """Return the text of a file, given its content from the start in pieces of any size but the first, which is at
    least 8 KiB unless the file is smaller; None for a binary one.

    Every block but the last ends with a line feed, which is the only ending of lines. UTF-16 and UTF-32 are known by
    their byte order mark, and no mark is part of the text. Invalid bytes are left as they are.
    """
    chunks = _as_utf8(content)
    first = next(chunks, b"")
    if b"\0" in first[:_SNIFFED]:
        return None
    return _whole_lines(itertools.chain([first], chunks))


def file_chunks(fd: int, check: Callable[[], None]) -> Iterator[bytes]:
    """Read an open file; ``check`` is called before each chunk. Raises OSError and what ``check`` raises."""
    while True:
        check()
        chunk = os.read(fd, _CHUNK)
        if not chunk:
            return
        yield chunk


def _as_utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    first = next(chunks, b"")
    encoding = next((name for mark, name in _WIDE if first.startswith(mark)), None)
    if encoding is None:
        yield first[len(codecs.BOM_UTF8) :] if first.startswith(codecs.BOM_UTF8) else first
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    for chunk in itertools.chain([first], chunks):
        yield decoder.decode(chunk).encode("utf-8")
    yield decoder.decode(b"", True).encode("utf-8")


def _whole_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut chunks behind the last end of a line, and lines that are too long."""
    rest = b""
    for chunk in chunks:
        # of a line that is too long already, only its end is still of interest
        data = rest + (chunk if len(rest) < LONGEST_LINE else chunk[chunk.find(b"\n") :] if b"\n" in chunk else b"")
        end = data.rfind(b"\n") + 1
        if end:
            yield _tidy(data[:end])
        rest = data[end : end + LONGEST_LINE]
    if rest:
        yield rest


def _tidy(block: bytes) -> bytes:
    if len(block) > LONGEST_LINE:
        block = b"\n".join(line[:LONGEST_LINE] for line in block.split(b"\n"))
    return block.replace(b"\r\n", b"\n")
