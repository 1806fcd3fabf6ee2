"""The file that a write is aimed at, and the draft that is to take its place."""

import os
import stat
from contextlib import contextmanager, suppress
from typing import Any, Dict, Iterator, List, Optional, Tuple

from . import names
from .attributes import with_executable
from .beneath import Root
from .drafts import Draft
from .errors import GuestError
from .info import describe, revision
from .job import Job
from .locks import Parent
from .places import Place, check_regular
from .versions import check_prefix, missing_is_conflict, require_match

#: Opens nothing and reads nothing, but keeps a file; only Linux has that.
_HANDLE: Optional[int] = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC if hasattr(os, "O_PATH") else None


def locate(root: Root, path: str, if_match: Optional[str], made: Optional[List[str]] = None) -> Place:
    """Resolve the path of a file to write, through links. Missing parents are made (and added to ``made``), except
    with ``if_match``, which a missing file cannot satisfy: that raises conflict."""
    check_prefix(if_match, path)
    root.policy.check_write(path)
    with missing_is_conflict(if_match, path):
        return root.locate(path, make_parents=if_match is None, made=made)


def check(root: Root, path: str, if_match: Optional[str]) -> None:
    """Raise what ``locate`` raises before it looks at anything, for a path of whose directory it is known that no link
    leads there."""
    check_prefix(if_match, path)
    root.policy.check_write(path)
    names.parts(path)
    root.policy.check(path)


class Target:
    """A file about to be written at ``place``, in the directory ``parent``; both stay the caller's.

    In order: ``draft`` and fill it, ``dress`` and flush it, then under the lock ``look_again`` and ``publish``.
    ``path`` is what the caller calls it; ``create`` demands that nothing is there.
    """

    def __init__(
        self, place: Place, parent: Parent, path: str, executable: Optional[bool] = None, create: bool = False
    ) -> None:
        """Raises exists, is_directory, unsupported for a special file, permission_denied."""
        self.place = place
        self.parent = parent
        self.path = path
        self._executable = executable
        self._create = create
        self._begun_on = place.st
        self._dressed_as: Optional[str] = None
        self._writable_as: Optional[str] = None
        self._check()

    @property
    def exists(self) -> bool:
        """Whether a file was there when last looked at."""
        return self.place.st is not None

    def _check(self) -> None:
        if self.place.st is None:
            return
        if self._create:
            raise GuestError("exists", self.path, "something is here already")
        check_regular(self.place.st, self.path)
        # a change of mode or owner is a change of the ctime
        seen = revision(self.place.st)
        if seen == self._writable_as:
            return
        if not os.access(self.place.name, os.W_OK, dir_fd=self.parent.fd):
            if os.fstatvfs(self.parent.fd).f_flag & os.ST_RDONLY:
                raise GuestError("read_only", self.path, "the file system is read-only")
            raise GuestError("permission_denied", self.path, "the file is write-protected")
        self._writable_as = seen

    def draft(self) -> Draft:
        """Begin new content. Only its owner can read what is to replace a file, until it is dressed like it."""
        self._begun_on = self.place.st
        return Draft.create(self.parent, self.path, 0o600 if self.exists else 0o666)

    def dress(self, draft: Draft) -> None:
        """Give the draft the owner, mode and so on that the file has, or a new file is to have. Where nothing was seen
        nobody looks again: ``publish`` does this anew for what has come since."""
        opened = self._open_old() if self.exists else None
        if opened is None:
            draft.become_new(self._executable)
            if self._begun_on is not None:  # deleted since the draft was begun
                draft.set_mode(with_executable(self._begun_on.st_mode, self._executable))
            return
        old_fd, old = opened
        try:
            self._dressed_as = revision(old)
            draft.become_like(old_fd, old, self._executable)
        finally:
            os.close(old_fd)

    def _open_old(self) -> Optional[Tuple[int, os.stat_result]]:
        """Open what is there now, and return its stat as well; None for nothing."""
        self._look()
        try:
            return None if self.place.st is None else self.place.open_seen()
        except GuestError as error:
            if error.code == "not_found":
                return None
            raise

    def _look(self) -> None:
        st = self.place.look()
        if st is not None and stat.S_ISLNK(st.st_mode):
            raise GuestError("conflict", self.path, "a symbolic link has taken the file's place", "try again")
        self._check()

    def look_again(self, if_match: Optional[str], job: Job) -> Optional[str]:
        """Under the lock: see what is there now, and return its sha256 if ``if_match`` asks for it.
        Raises conflict, and what the constructor raises."""
        self._look()
        return require_match(self.place, self.path, if_match, job)

    @contextmanager
    def held(self, job: Job) -> Iterator[None]:
        """Keep what is there now until the job ends, though the block deletes it: its space is not freed, which some
        disks take long for, while others wait for the lock and the caller for the answer."""
        fd = -1
        if _HANDLE is not None and self.exists:
            with suppress(OSError):
                fd = os.open(self.place.name, _HANDLE, dir_fd=self.parent.fd)
        try:
            yield
        finally:
            if fd >= 0:
                job.close_later(fd)

    def publish(self, draft: Draft) -> Optional[os.stat_result]:
        """Under the lock, after ``look_again``: put the draft in the file's place, and return the stat of what it
        replaced. It lasts once the parent is flushed."""
        old = self.place.st
        if old is not None and self._dressed_as != revision(old):
            draft.reopen()
            self.dress(draft)
        draft.flush()
        draft.publish(self.place.name, new=self._create)
        return old


def written(
    path: str, st: os.stat_result, sha256: str, old: Optional[os.stat_result], previous: Optional[str]
) -> Dict[str, Any]:
    """Return the answer of a write that replaced ``old``, or wrote into it."""
    return {
        "info": describe(path, st, sha256=sha256),
        "created": old is None,
        "previous": previous,
        "unlinked": old.st_nlink - 1 if old is not None and old.st_ino != st.st_ino else 0,
    }
