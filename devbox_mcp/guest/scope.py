"""What a watch covers: a directory with everything beneath it, or only its entries, or only one of them."""

import os
import stat
from typing import Iterator, Optional

from . import names
from .beneath import Root
from .errors import GuestError, os_errors
from .job import Job
from .places import Place
from .walk import Entry, walk

#: The codes that say that a path leads nowhere, or no longer to the same place.
GONE = ("not_found", "not_directory", "too_many_links", "escapes_root")


class Scope:
    """``path`` is what is watched, with every link resolved; ``directory`` the directory that this takes: itself,
    or for anything else the one that holds it, and then ``only`` is the one name that counts."""

    def __init__(self, root: Root, path: str, recursive: bool) -> None:
        """Raises not_found for a path where nothing is, denied, escapes_root, …"""
        with root.locate(path) as place:
            st = place.require()
            self.path = self.directory = place.path
            self.only: Optional[str] = None
            if not stat.S_ISDIR(st.st_mode):
                self.directory = place.path.rpartition("/")[0] or "."
                self.only = place.name
                st = os.fstat(place.fd)
        self.root = root
        self.recursive = recursive and self.only is None
        self._identity = (st.st_dev, st.st_ino)
        # a rule with a slash may hide or show what lies in a directory once that directory has another name
        self.names_hide_by_place = any("/" in pattern.rstrip("/") for pattern in root.policy.deny)

    def shows(self, path: str, name: str) -> bool:
        """Whether an entry of a visible directory is told about."""
        return self.only in (None, name) and not names.is_own(name) and not self.root.policy.denies(path)

    def present(self) -> bool:
        """Whether the directory is still there under its name."""
        try:
            with os_errors(self.directory), self.root.locate(self.directory, follow=False) as place:
                st = place.st
                return st is not None and (st.st_dev, st.st_ino) == self._identity and place.path == self.directory
        except GuestError as error:
            return error.code not in GONE

    def lstat(self, path: str) -> Optional[os.stat_result]:
        """Return what is at a path, None where nothing is or a link is on the way. Raises GuestError."""
        try:
            with self.root.locate(path, follow=False) as place:
                return place.st if place.path == path else None
        except GuestError as error:
            if error.code in GONE:
                return None
            raise

    def open_directory(self, path: str) -> int:
        """Open a directory for watching and reading it. Raises not_found also where a link is on the way."""
        with self.root.locate(path, follow=False) as place:
            if place.path != path:
                raise GuestError("not_found", path, "a link has taken its place")
            return place.open_directory()

    def entries(self, fd: int, path: str, job: Job) -> Iterator[Entry]:
        """Yield the visible entries of an open directory, in the order of their names' bytes."""
        here = Place(fd, ".", path, owned=False)
        with os_errors(path):
            here.look()
        for entry in walk(self.root, here, job, depth=1):
            if self.only in (None, entry.name):
                yield entry
