"""Searching the text of files, line by line."""

import os
import time
from contextlib import closing
from typing import Any, Callable, Dict, Generator, Iterator, List, Optional, Tuple

from . import names
from .beneath import Root
from .errors import GuestError, os_errors
from .globs import Glob
from .ignore import visible
from .job import Job
from .matching import MOST_CONTEXT, LineMatcher, compile_pattern
from .paging import gather, make_cursor, read_cursor
from .places import Place, kind_of
from .textfile import file_chunks, text_blocks
from .walk import Entry

_PAUSE = 0.1  # seconds between two parts without a match
_ALL_LINES = -1  # in a cursor: on with the next file

#: A path below the start and a line in it, up to which all is told, and perhaps the match that is in this line.
_Step = Tuple[str, int, Optional[Dict[str, Any]]]


def search(
    root: Root,
    path: str,
    pattern: str,
    job: Job,
    *,
    glob: Optional[str] = None,
    regex: bool = True,
    ignore_case: bool = False,
    context: int = 0,
    ignored: bool = False,
    limit: int = 200,
    after: Optional[str] = None,
) -> Dict[str, Any]:
    """Find the lines that match in the regular files below ``path``, or in the file ``path`` itself.

    ``pattern`` is in the syntax of ``re``, or plain text without ``regex``; it sees one line at a time, without its
    ending. ``glob`` chooses files by their path below ``path``. Without ``ignored``, ``.git`` and what .gitignore
    files exclude is left out. Binary files are passed over: those with a NUL among their first 8 KiB, unless they
    begin with the byte order mark of UTF-16 or UTF-32.

    Answers ``matches`` (``path``, ``line`` from 1, ``text``, and ``before`` and ``after``, lists of ``context``
    lines, at most 20; long lines are shortened to about 300 characters), ``files`` (how many were searched),
    ``skipped_binary``, ``unreadable`` (files and directories), ``gaps`` (``path``, ``line`` and ``reason``: of a
    ``long`` line only the first 1 MiB was searched; one that was too ``slow`` to match was given up with all behind
    it in its file), ``after`` (the cursor to go on with, None at the end, and where it would lead to where the search
    began) and ``timed_out``: the job's deadline ended it. The deadline does not interrupt the matching of one line,
    and there are patterns for which that takes years: that is what Worker is for. Raises not_found, unsupported for
    a special file, invalid_argument, cancelled.
    """
    parts = search_parts(
        root,
        path,
        pattern,
        job,
        glob=glob,
        regex=regex,
        ignore_case=ignore_case,
        context=context,
        ignored=ignored,
        limit=limit,
        after=after,
    )
    return gather(parts, "matches", "gaps")


def search_parts(
    root: Root,
    path: str,
    pattern: str,
    job: Job,
    *,
    glob: Optional[str],
    regex: bool,
    ignore_case: bool,
    context: int,
    ignored: bool,
    limit: int,
    after: Optional[str],
) -> Iterator[Dict[str, Any]]:
    """Search as ``search`` does, part by part; each match is a part as soon as it is known."""
    if not 0 <= context <= MOST_CONTEXT:
        raise GuestError("invalid_argument", path, "context is %d, but from 0 to %d" % (context, MOST_CONTEXT))
    matcher = LineMatcher(compile_pattern(pattern, regex=regex, ignore_case=ignore_case), context)
    wanted = None if glob is None else Glob(glob)
    with root.locate(path) as place:
        yield from _Search(root, path, place, job, matcher, wanted, ignored).parts(limit, after)


class _Search:
    """One call."""

    def __init__(
        self, root: Root, path: str, place: Place, job: Job, matcher: LineMatcher, glob: Optional[Glob], ignored: bool
    ) -> None:
        self._root = root
        self._path = path
        self._place = place
        self._job = job
        self._matcher = matcher
        self._glob = glob
        self._ignored = ignored
        self._files = 0
        self._binary = 0
        self._unreadable: List[str] = []
        self._gaps: List[Dict[str, Any]] = []
        self._start: Tuple[Any, ...] = ()

    def parts(self, limit: int, after: Optional[str]) -> Iterator[Dict[str, Any]]:
        """Yield parts whose cursors go on behind what was looked at and told until then."""
        position = self._start = tuple(read_cursor(after, "lines", self._path, str, int) or (".", 0))
        count = 0
        more = timed_out = False
        # a part before the first line is matched, so that there is an answer if that takes too long
        due = time.monotonic() + _PAUSE
        yield self._part([], position, timed_out=True)
        try:
            with closing(self._steps(*position)) as steps:
                for below, line, match in steps:
                    more = match is not None and count == limit
                    if more:
                        break
                    position = (below, line)
                    if match is not None or time.monotonic() >= due:
                        found = [] if match is None else [match]
                        count += len(found)
                        yield self._part(found, position, timed_out=True)
                        due = time.monotonic() + _PAUSE
        except GuestError as error:
            if error.code != "timeout":
                raise
            timed_out = True
        yield self._part([], position if more or timed_out else None, timed_out=timed_out)

    def _part(
        self, matches: List[Dict[str, Any]], position: Optional[Tuple[Any, ...]], *, timed_out: bool
    ) -> Dict[str, Any]:
        gaps, self._gaps = self._gaps, []
        return {
            "matches": matches,
            "gaps": gaps,
            "files": self._files,
            "after": None if position in (None, self._start) else make_cursor("lines", self._path, *position),
            "timed_out": timed_out,
            "skipped_binary": self._binary,
            "unreadable": len(self._unreadable),
        }

    def _steps(self, below: str, line: int) -> Generator[_Step, None, None]:
        """Go on behind a line of a file, both as a cursor has them."""
        if kind_of(self._place.require().st_mode) != "directory":
            yield from self._lines(self._place.open_file(), self._place.path, ".", line)
            return
        resume = tuple(names.parts(below))
        if resume and line != _ALL_LINES:
            yield from self._rest(below, line)
        entries = visible(
            self._root,
            self._place,
            self._job,
            ignored=self._ignored,
            after=resume or None,
            enter=self._may_hold_matches,
            unreadable=self._unreadable,
        )
        with closing(entries):
            for entry in entries:
                below = "/".join(entry.parts)
                if entry.kind == "file" and (self._glob is None or self._glob.matches(entry.parts)):
                    yield from self._readable(entry.open_file, entry.path, below, 0)
                yield below, _ALL_LINES, None

    def _may_hold_matches(self, entry: Entry) -> bool:
        return self._glob is None or self._glob.leads_on(entry.parts)

    def _rest(self, below: str, line: int) -> Iterator[_Step]:
        """Go on within the file that the page before ended in, if it is still there."""
        path = below if self._place.is_root else names.join(self._place.path, below)
        try:
            place = self._root.locate(path, follow=False)
        except GuestError:
            return
        with place:
            if place.path == path:
                yield from self._readable(place.open_file, path, below, line)

    def _readable(self, open_file: Callable[[], int], path: str, below: str, line: int) -> Iterator[_Step]:
        """Search a file, or count it among the unreadable ones."""
        try:
            with os_errors(path):
                fd = open_file()
            yield from self._lines(fd, path, below, line)
        except GuestError as error:
            if error.code in ("timeout", "cancelled"):
                raise
            if error.code != "not_found":
                self._unreadable.append(path)

    def _lines(self, fd: int, path: str, below: str, line: int) -> Iterator[_Step]:
        """Search an open file, and close it."""
        try:
            with os_errors(path):
                blocks = text_blocks(file_chunks(fd, lambda: self._job.check(path)))
                if blocks is None:
                    self._binary += 1
                    return
                self._files += 1
                self._job.advance(1)
                for number, match in self._matcher.steps(blocks, line):
                    yield below, number, None if match is None else {"path": path, **match}
        finally:
            os.close(fd)
            if self._matcher.gap is not None:
                self._gaps.append({"path": path, **self._matcher.gap})
                self._matcher.gap = None
