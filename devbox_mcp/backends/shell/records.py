"""What the shell's tools say of entries, taken apart. No input or output."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from devbox_mcp.guest.names import is_own
from devbox_mcp.guest.places import kind_of
from devbox_mcp.models import FileInfo, FileType
from devbox_mcp.paths import SandboxPath

#: How many words a ``stat`` of the program is.
STAT_WORDS = 12
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  the program asks for UTC
_PRINTED: dict[str, FileType] = {"f": "file", "d": "directory", "l": "symlink", "p": "fifo", "s": "socket"}


class Malformed(ValueError):
    """This is not what the program writes."""


@dataclass(frozen=True, slots=True)
class Stat:
    """One entry as ``stat -c "$fields"`` describes it, and its ``version`` in the program's words."""

    raw: int
    size: int
    links: int
    inode: int
    modified_ns: int
    changed_ns: int
    version: tuple[str, str, str]

    def info(self, path: SandboxPath, target: str | None = None, sha256: str | None = None) -> FileInfo:
        """Describe it under a name."""
        return _info(
            path, _type(self.raw), self.size, self.raw, self.links, self.inode, self.modified_ns, self.changed_ns,
            target, sha256,
        )  # fmt: skip


def parse_stat(words: Sequence[str]) -> Stat:
    """Parse the words of a stat. Raises Malformed."""
    try:
        raw, size, links, inode, _uid, _gid, date, time, _, changed_date, changed_time, _ = words
        return Stat(
            int(raw, 16), int(size), int(links), int(inode),
            _nanoseconds(date, time), _nanoseconds(changed_date, changed_time), (size, date, time),
        )  # fmt: skip
    except ValueError as error:
        raise Malformed(" ".join(words)) from error


def printed_entries(data: bytearray) -> Iterator[FileInfo | int]:
    """Yield the entries that ``find -printf`` wrote, and the exit status at the end; what is not whole yet stays."""
    while True:
        middle = data.find(b"\0")
        if middle < 0:
            return
        if data[:1] == b"=":
            status = _number(bytes(data[1:middle]))
            del data[: middle + 1]
            yield status
            return
        end = data.find(b"\0", middle + 1)
        if end < 0:
            return
        head, slash, name = bytes(data[:middle]).partition(b"/")
        target = bytes(data[middle + 1 : end])
        del data[: end + 1]
        words = head.decode("ascii", "replace").split(" ")
        if not slash or len(words) != 7:
            raise Malformed(repr(head))
        kind, mode, size, links, inode, modified, changed = words
        try:
            raw = int(mode, 8)
            yield _info(
                _path(name), _PRINTED.get(kind, "device"), int(size), raw, int(links), int(inode),
                _seconds(modified), _seconds(changed), os.fsdecode(target) if kind == "l" else None, None,
            )  # fmt: skip
        except ValueError as error:
            raise Malformed(repr(head)) from error


def stat_entries(data: bytearray, targets: dict[bytes, str]) -> Iterator[FileInfo | int]:
    """Yield the entries that ``find -exec stat`` wrote, as ``printed_entries`` does. ``targets`` remembers those of
    links, which come before them."""
    while data:
        if data[:2] != b"//":
            if len(data) < 2:
                return
            raise Malformed(repr(bytes(data[:80])))
        if data[2:3] == b"@":
            taken = _take_target(data, targets)
            if not taken:
                return
            continue
        end = data.find(b"\n//", 2)
        if data[2:3] == b"=":
            end = data.find(b"\n")
            if end >= 0:
                status = _number(bytes(data[3:end]))
                del data[: end + 1]
                yield status
            return
        if end < 0:
            return
        head, _, name = bytes(data[2:end]).partition(b"/")
        del data[: end + 1]
        found = parse_stat(head.decode("ascii", "replace").split(" "))
        path = _path(name.removeprefix(b"./"))
        yield found.info(path, targets.pop(name, None) if stat.S_ISLNK(found.raw) else None)


def _take_target(data: bytearray, targets: dict[bytes, str]) -> bool:
    """Take a link's record off the beginning, and return whether it was all there."""
    slash = data.find(b"/", 3)
    middle = data.find(b"//", slash + 1)
    if slash < 0 or middle < 0:
        return False
    length = _number(bytes(data[3:slash]))
    if len(data) < middle + 2 + length:
        return False
    targets[bytes(data[slash + 1 : middle])] = os.fsdecode(bytes(data[middle + 2 : middle + 2 + length]))
    del data[: middle + 2 + length]
    return True


def renamed(info: FileInfo, path: SandboxPath) -> FileInfo:
    """Return the info under another name."""
    return replace(info, path=path)


def _path(name: bytes) -> SandboxPath:
    """Return a path below the listed directory. Raises Malformed for what no listing can hold."""
    parts = os.fsdecode(name).split("/")
    if any(part in ("", ".", "..") or is_own(part) for part in parts):
        raise Malformed(repr(name))
    return SandboxPath("/".join(parts))


def _type(raw: int) -> FileType:
    return kind_of(raw)  # type: ignore[return-value]  # the guest says str for what is one of these


def _info(
    path: SandboxPath, kind: FileType, size: int, raw: int, links: int, inode: int, modified_ns: int, changed_ns: int,
    target: str | None, sha256: str | None,
) -> FileInfo:  # fmt: skip
    revision = f"{inode:x}-{size:x}-{modified_ns:x}-{changed_ns:x}"
    return FileInfo(path, kind, size, stat.S_IMODE(raw), modified_ns / 1e9, links, revision, target, sha256)


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise Malformed(repr(text)) from error


def _nanoseconds(date: str, time: str) -> int:
    clock, _, fraction = time.partition(".")
    since = datetime.fromisoformat(f"{date}T{clock}") - _EPOCH
    return since // timedelta(seconds=1) * 10**9 + int(fraction.ljust(9, "0")[:9] or 0)


def _seconds(text: str) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole) * 10**9 + int(fraction.ljust(9, "0")[:9] or 0)
