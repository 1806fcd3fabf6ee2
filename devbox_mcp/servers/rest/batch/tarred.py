"""Members of a tar or tar.gz that nobody trusts."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from contextlib import suppress
from typing import IO, Final, cast

from devbox_mcp.errors import DevboxError, InvalidArgument, Unsupported
from devbox_mcp.servers.rest.batch.intake import OP, Intake

_EXECUTABLE: Final = 0o111
_PIECE: Final = 1 << 16
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a fifo",
}


def unpack(file: IO[bytes], intake: Intake, *, packed: bool) -> None:
    """Take in what a tar holds, unpacking it with gzip first if it is ``packed``. Blocks. Raises InvalidArgument for
    what is no tar, TooLarge, Timeout."""
    source = cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode="rb")) if packed else file
    bounded = _Bounded(source, intake)
    # reading is all that is asked of it
    reader = cast("IO[bytes]", bounded)
    try:
        with tarfile.open(fileobj=reader, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
            for member in archive:
                _take(archive, member, intake)
            _require_end(archive, bounded)
    except DevboxError:
        raise
    except Exception as error:  # noqa: BLE001  whatever hostile bytes do to the parser, they are no tar
        raise InvalidArgument(OP, ".", f"the body is no {'tar.gz' if packed else 'tar'}: {error}"[:300]) from None


def unpacked_size(file: IO[bytes], intake: Intake) -> int:
    """Return how long what is packed with gzip is, counted as far as a batch goes. Blocks. What is none is told by
    ``unpack``."""
    file.seek(0)
    size = 0
    with suppress(OSError, EOFError, zlib.error), gzip.GzipFile(fileobj=file, mode="rb") as plain:
        while size < intake.most and (piece := plain.read(_PIECE)):
            size += len(piece)
    return size


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, intake: Intake) -> None:
    intake.count()
    if member.isdir():
        if member.name not in (".", ""):
            intake.directory(member.name)
    elif member.isreg():
        intake.reserve(member.size)
        content = archive.extractfile(member)
        assert content is not None
        data = content.read()
        if len(data) != member.size:
            raise _cut_off()
        intake.file(member.name, data, bool(member.mode & _EXECUTABLE))
    else:
        kind = _KINDS.get(member.type, "no regular file")
        intake.refuse(member.name, Unsupported(OP, member.name[:200], f"this is {kind}; only files are taken"))


def _require_end(archive: tarfile.TarFile, bounded: _Bounded) -> None:
    # one that breaks off between two members, or in a head, is to the parser as if it were over
    if bounded.given < archive.offset + tarfile.BLOCKSIZE:
        raise _cut_off()
    # what gzip says of the whole stands behind it
    while bounded.read(_PIECE):
        pass


def _cut_off() -> InvalidArgument:
    return InvalidArgument(OP, ".", "the archive ends before its end", hint="nothing was written; send it again")


class _Bounded:
    """Reads as much of a file as a batch may be, and no more: what is packed may be a bomb."""

    def __init__(self, file: IO[bytes], intake: Intake) -> None:
        self._file = file
        self._intake = intake
        self._left = intake.most
        #: Bytes that were read.
        self.given = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._left + 1))
        self.given += len(data)
        self._left -= len(data)
        if self._left < 0:
            raise self._intake.too_large()
        return data
