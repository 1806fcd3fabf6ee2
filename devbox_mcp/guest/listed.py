"""Directories by name, remembered for as long as their own times say that nothing came or went.

A directory's times change with every entry that is made, removed or renamed in it, so one ``stat`` tells whether what
was read is still true. That holds where the kernel of this machine keeps the times, on a block device: elsewhere
(network file systems, FUSE, overlays) directories are read anew each time.
"""

import os
import stat
import threading
import time
from bisect import bisect_right
from collections import OrderedDict
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from . import names
from .beneath import Root
from .errors import GuestError, WouldBlock
from .job import Job
from .listing import Names, list_directory, read_names

#: What changed so lately, in seconds, may change again without its times telling: they move in steps of a clock
#: tick, at most 10 ms, or of up to two seconds on file systems that keep whole seconds.
_RACY, _RACY_IN_SECONDS = 0.1, 2.0
_DIRECTORIES = 64
_LONGEST = 10_000  # names of one directory

_Version = Tuple[int, int]


class _Listed(NamedTuple):
    version: _Version
    names: Names


class NameLister:
    """Lists directories beneath a root by name only; may be used from several threads."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._listed: OrderedDict[Tuple[int, int], _Listed] = OrderedDict()

    def list(
        self,
        path: str,
        job: Job,
        depth: int = 1,
        glob: Optional[str] = None,
        limit: int = 1000,
        after: Optional[str] = None,
    ) -> Dict[str, Any]:
        """List what ``list_directory`` lists, by name only.

        Answers ``names`` (below ``path``, directories with a slash at their end), ``targets`` (of links, by name),
        ``after`` (a name without its slash, to resume behind; None at the end) and ``unreadable``.
        """
        if depth == 1 and glob is None and not self._root.policy.deny:
            return _page(self._read(path), limit, after)
        resume = None if after is None else names.join(path, after)
        found = list_directory(self._root, path, job, depth, glob, limit, resume)
        strip = 0 if path == "." else len(path) + 1
        return {
            "names": [one["path"][strip:] + ("/" if one["type"] == "directory" else "") for one in found["entries"]],
            "targets": {one["path"][strip:]: one["target"] for one in found["entries"] if one["target"] is not None},
            "after": None if found["after"] is None else found["after"][strip:],
            "unreadable": found["unreadable"],
        }

    def list_now(
        self,
        path: str,
        depth: int = 1,
        glob: Optional[str] = None,
        limit: int = 1000,
        after: Optional[str] = None,
    ) -> Dict[str, Any]:
        """Answer as ``list`` does for a directory that is known, or raise WouldBlock."""
        if depth != 1 or glob is not None or self._root.policy.deny:
            raise WouldBlock
        with self._root.locate(path, cached=True) as place:
            st = place.require()
        with self._lock:
            listed = self._listed.get((st.st_dev, st.st_ino))
        if listed is None or listed.version != _version(st) or not stat.S_ISDIR(st.st_mode):
            raise WouldBlock
        return _page(listed.names, limit, after)

    def _read(self, path: str) -> Names:
        began = time.time()
        with self._root.locate(path) as place:
            fd = place.open_directory()
        try:
            st = os.fstat(fd)
            found = read_names(fd, path)
            if (
                os.major(st.st_dev)
                and len(found.bare) <= _LONGEST
                and began - max(st.st_mtime, st.st_ctime) > _racy(st)
                and _version(os.fstat(fd)) == _version(st)
            ):
                self._remember((st.st_dev, st.st_ino), _Listed(_version(st), found))
        finally:
            os.close(fd)
        return found

    def _remember(self, key: Tuple[int, int], listed: _Listed) -> None:
        with self._lock:
            self._listed[key] = listed
            self._listed.move_to_end(key)
            while len(self._listed) > _DIRECTORIES:
                self._listed.popitem(last=False)


def _version(st: os.stat_result) -> _Version:
    return st.st_mtime_ns, st.st_ctime_ns


def _racy(st: os.stat_result) -> float:
    return _RACY_IN_SECONDS if st.st_ctime_ns % 1_000_000_000 == 0 else _RACY


def _page(found: Names, limit: int, after: Optional[str]) -> Dict[str, Any]:
    start = 0 if after is None else _behind(found.bare, after)
    page = found.shown[start : start + limit]
    end = start + len(page)
    return {
        "names": page,
        "targets": {name: found.targets[name] for name in page if name in found.targets} if found.targets else {},
        "after": found.bare[end - 1] if page and end < len(found.bare) else None,
        "unreadable": [],
    }


def _behind(bare: List[str], after: str) -> int:
    """Return where the names behind ``after`` begin; it may be a path, from a listing that went deeper."""
    parts = names.parts(after)
    if not parts:
        raise GuestError("invalid_argument", after, "the cursor names no entry", "start without a cursor")
    return bisect_right([os.fsencode(name) for name in bare], os.fsencode(parts[0]))
