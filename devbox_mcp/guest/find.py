"""Finding entries by glob."""

import heapq
import os
import time
from contextlib import closing
from typing import Any, Dict, Generator, Iterator, List, NamedTuple, Optional, Tuple

from . import names
from .beneath import Root
from .errors import GuestError
from .globs import Glob
from .ignore import visible
from .info import describe
from .job import Job
from .paging import gather, make_cursor, read_cursor
from .places import Place
from .walk import Entry

_BATCH = 100  # entries in one part
_PAUSE = 0.1  # seconds between two parts


def find(
    root: Root,
    path: str,
    pattern: str,
    job: Job,
    *,
    sort: str = "name",
    ignored: bool = False,
    limit: int = 200,
    after: Optional[str] = None,
) -> Dict[str, Any]:
    """Find what lies below ``path`` and matches a glob there: files, directories, links, whatever there is.

    ``sort`` is ``name`` (the order of the walk) or ``newest`` (by time of modification, then by path). Without
    ``ignored``, ``.git`` and what .gitignore files exclude is left out. Answers ``entries`` (as ``describe``),
    ``after`` (the cursor to go on with, None at the end), ``unreadable`` (how many directories could not be
    looked into) and ``timed_out``: the job's deadline ended it. The newest are then only the newest of what was
    seen until then. Raises not_found, not_directory, invalid_argument, cancelled.
    """
    return gather(find_parts(root, path, pattern, job, sort=sort, ignored=ignored, limit=limit, after=after), "entries")


def find_parts(
    root: Root, path: str, pattern: str, job: Job, *, sort: str, ignored: bool, limit: int, after: Optional[str]
) -> Iterator[Dict[str, Any]]:
    """Find as ``find`` does, part by part."""
    glob = Glob(pattern)
    with root.locate(path) as place:
        search = _Find(root, path, place, job, glob, ignored)
        if sort == "name":
            yield from search.by_name(limit, after)
        elif sort == "newest":
            yield from search.newest(limit, after)
        else:
            raise GuestError("invalid_argument", path, "there is no order %s" % sort, "sort by name or newest")


class _Candidate(NamedTuple):
    """A match as ``newest`` orders them."""

    age: int  # nanoseconds, the less the newer
    name: bytes
    path: str
    st: os.stat_result
    target: Optional[str]


class _Find:
    """One call."""

    def __init__(self, root: Root, path: str, place: Place, job: Job, glob: Glob, ignored: bool) -> None:
        self._root = root
        self._path = path
        self._place = place
        self._job = job
        self._glob = glob
        self._ignored = ignored
        self._unreadable: List[str] = []
        self._timed_out = False

    def by_name(self, limit: int, after: Optional[str]) -> Iterator[Dict[str, Any]]:
        """Yield matches as the walk meets them. A part's cursor goes on behind the last entry looked at."""
        (position,) = read_cursor(after, "name", self._path, str) or ["."]
        batch: List[Dict[str, Any]] = []
        count = 0
        more = False
        due = 0.0
        with closing(self._entries(tuple(names.parts(position)))) as entries:
            for entry in entries:
                found = _look(entry) if self._glob.matches(entry.parts) else None
                if found is not None:
                    more = count == limit
                    if more:
                        break
                    batch.append(describe(entry.path, *found))
                    count += 1
                position = "/".join(entry.parts)
                if len(batch) == _BATCH or time.monotonic() >= due:
                    yield self._part(batch, make_cursor("name", self._path, position), timed_out=True)
                    batch = []
                    due = time.monotonic() + _PAUSE
        cursor = make_cursor("name", self._path, position) if more or self._timed_out else None
        yield self._part(batch, cursor, timed_out=self._timed_out)

    def newest(self, limit: int, after: Optional[str]) -> Iterator[Dict[str, Any]]:
        """Yield one part: the walk has to be over before the newest are known. Only ``limit`` are kept meanwhile."""
        last = read_cursor(after, "newest", self._path, int, str)
        behind = None if last is None else (-last[0], os.fsencode(last[1]))
        found = heapq.nsmallest(limit + 1, self._candidates(behind))
        shown = found[:limit]
        cursor = None
        if len(found) > limit:
            cursor = make_cursor("newest", self._path, -shown[-1].age, shown[-1].path)
        infos = [describe(one.path, one.st, one.target) for one in shown]
        yield self._part(infos, cursor, timed_out=self._timed_out)

    def _candidates(self, behind: Optional[Tuple[int, bytes]]) -> Iterator[_Candidate]:
        for entry in self._entries(()):
            found = _look(entry) if self._glob.matches(entry.parts) else None
            if found is not None:
                candidate = _Candidate(-found[0].st_mtime_ns, os.fsencode(entry.path), entry.path, *found)
                if behind is None or candidate[:2] > behind:
                    yield candidate

    def _entries(self, after: Tuple[str, ...]) -> Generator[Entry, None, None]:
        """Walk until the end or the deadline."""
        try:
            yield from visible(
                self._root,
                self._place,
                self._job,
                ignored=self._ignored,
                after=after or None,
                enter=self._may_hold_matches,
                unreadable=self._unreadable,
            )
        except GuestError as error:
            if error.code != "timeout":
                raise
            self._timed_out = True

    def _may_hold_matches(self, entry: Entry) -> bool:
        return self._glob.leads_on(entry.parts)

    def _part(self, entries: List[Dict[str, Any]], after: Optional[str], *, timed_out: bool) -> Dict[str, Any]:
        return {"entries": entries, "after": after, "timed_out": timed_out, "unreadable": len(self._unreadable)}


def _look(entry: Entry) -> Optional[Tuple[os.stat_result, Optional[str]]]:
    """Return an entry's stat and, for a link, its target; None if it is gone by now."""
    try:
        return entry.lstat(), entry.readlink() if entry.kind == "symlink" else None
    except OSError:
        return None
