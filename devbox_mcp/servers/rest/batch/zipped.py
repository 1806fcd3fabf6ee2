"""Members of a zip that nobody trusts."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from typing import IO, Final

from devbox_mcp.errors import DevboxError, Integrity, InvalidArgument, TooLarge, Unsupported
from devbox_mcp.servers.rest.batch.intake import OP, Intake

_EXECUTABLE: Final = 0o111
_END = b"PK\x05\x06"
_END_SIZE = 22
_LONGEST_COMMENT = 1 << 16
_END_64 = b"PK\x06\x07"
_END_64_SIZE = 20
#: The record of a member in the directory and its name, on average.
_RECORD = 600
_MADE_ON_UNIX = 3
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def unpack(file: IO[bytes], intake: Intake) -> None:
    """Take in what a zip holds. Blocks. Raises InvalidArgument for what is no zip, TooLarge, Timeout."""
    try:
        _check_directory(file, intake)
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                _take(archive, info, intake)
    except DevboxError:
        raise
    except Exception as error:  # noqa: BLE001  whatever hostile bytes do to the parser, they are no zip
        raise InvalidArgument(OP, ".", f"the body is no zip: {error}"[:300]) from None


def unpacked_size(file: IO[bytes], intake: Intake) -> int:
    """Return how long its members say they are, in all; no more than that is read of them. Blocks. What is no zip is
    told by ``unpack``."""
    try:
        _check_directory(file, intake)
        with zipfile.ZipFile(file) as archive:
            return sum(info.file_size for info in archive.infolist())
    except Exception:  # noqa: BLE001  whatever hostile bytes do to the parser, they are no zip
        return 0


def _check_directory(file: IO[bytes], intake: Intake) -> None:
    """Raise TooLarge for a directory that is long: it is read as a whole before the first member is seen."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - _END_SIZE - _LONGEST_COMMENT - _END_64_SIZE, 0))
    tail = file.read()
    end = len(tail) - _END_SIZE
    if end < 0 or tail[end : end + len(_END)] != _END or tail[-2:] != b"\0\0":
        end = tail.rfind(_END)
    if end < 0 or end + _END_SIZE > len(tail):
        raise InvalidArgument(OP, ".", "the body is no zip: it has no directory")
    if tail[max(end - _END_64_SIZE, 0) :].startswith(_END_64):
        raise InvalidArgument(OP, ".", "the zip is of the kind for more than 4 GiB", hint="send several batches")
    (length,) = struct.unpack_from("<I", tail, end + 12)
    if length > intake.most_members * _RECORD:
        raise TooLarge(OP, ".", "the zip's directory is too long", hint="send several batches")


def _take(archive: zipfile.ZipFile, info: zipfile.ZipInfo, intake: Intake) -> None:
    intake.count()
    name = info.orig_filename
    mode = info.external_attr >> 16 if info.create_system == _MADE_ON_UNIX else 0
    refusal = _refusal(info, mode)
    if refusal is not None:
        intake.refuse(name, Unsupported(OP, name[:200], refusal))
    elif name.endswith("/"):
        intake.directory(name)
    else:
        intake.reserve(info.file_size)
        try:
            with archive.open(info) as content:
                data = content.read(info.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            intake.refuse(name, Integrity(OP, name[:200], f"this member is broken: {error}"[:200]))
            return
        if len(data) != info.file_size:
            intake.refuse(name, Integrity(OP, name[:200], "this member is not as long as it says"))
            return
        intake.file(name, data, bool(mode & _EXECUTABLE) if mode else None)


def _refusal(info: zipfile.ZipInfo, mode: int) -> str | None:
    """Return why a member is not taken."""
    if stat.S_ISLNK(mode):
        return "this is a symbolic link; only files are taken"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "this is no regular file; only files are taken"
    if info.flag_bits & _ENCRYPTED:
        return "this is encrypted"
    if info.compress_type not in _METHODS:
        return "this is packed in another way than deflate"
    return None
