"""The root as a directory handle, and the only way from a path to a file.

Nothing in the guest opens a path: it asks ``Root.locate`` for a ``Place`` (an open directory and a name in it)
and works with that. Where no symbolic link is on the way, ``openat2`` resolves in one system call; where one is,
or the kernel lacks it, a walk opens component by component, never following a link by itself, so that every
link's target is judged and every resolved path meets the policy.
"""

import errno
import functools
import os
import stat
from contextlib import suppress
from typing import List, Optional, Sequence, Set, Tuple

from . import names, openat2
from .errors import GuestError, WouldBlock, os_errors
from .places import DIRECTORY, Place
from .policy import Policy

MOST_LINKS = 40  # as the kernel's own MAXSYMLINKS

#: A handle to pass through needs no read permission on Linux; macOS has no such handle.
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | DIRECTORY
_PASS_NOFOLLOW = _PASS | os.O_NOFOLLOW


class Root:
    """A directory and everything that may be reached through it."""

    def __init__(
        self, directory: str, policy: Optional[Policy] = None, use_openat2: bool = True, handle: Optional[int] = None
    ) -> None:
        """Open ``directory``, a path of the host that the operator chose; it is resolved once, now. Or take over
        the ``handle`` of a root that another process opened under that path.

        Raises GuestError, whose path is then ``.``.
        """
        with os_errors("."):
            self.path = os.path.realpath(directory) if handle is None else directory
            # by what was given, which may be a link to a handle: its text may be another directory's name by now
            self.fd = os.open(directory, _PASS) if handle is None else handle
        self._identity = _identity(os.fstat(self.fd))
        self.policy = (policy or Policy()).beneath(self.relative)
        self._openat2 = openat2.probe() if use_openat2 else None
        #: Directories that were looked through for abandoned temporaries, by identity; sweep.py keeps it.
        self.swept: Set[Tuple[int, int]] = set()

    @property
    def uses_openat2(self) -> bool:
        """Whether the kernel resolves paths where it can."""
        return self._openat2 is not None

    def close(self) -> None:
        """Close the handle; every later call fails."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def relative(self, absolute: str) -> Optional[str]:
        """Return the path from the root for an absolute path that leads through the root, by its own name or
        by any alias of it; None for every other. ``..`` is resolved by its letters."""
        rest = self.rest_behind(os.path.normpath(absolute))
        return None if rest is None else rest or "."

    def rest_behind(self, absolute: str) -> Optional[str]:
        """Return what an absolute path says behind the last part of it that is the root, None if no part is.
        Only directories are compared: nothing outside is named."""
        prefix = absolute.rstrip("/")
        while True:
            try:
                st = os.stat(prefix or "/")
            except (OSError, ValueError):
                pass
            else:
                if _identity(st) == self._identity:
                    return absolute[len(prefix) :].strip("/")
            if not prefix:
                return None
            prefix = os.path.dirname(prefix).rstrip("/")

    def locate(
        self,
        path: str,
        follow: bool = True,
        make_parents: bool = False,
        cached: bool = False,
        made: Optional[List[str]] = None,
    ) -> Place:
        """Resolve ``path`` to a Place; with ``follow`` a final link leads to its target, which need not exist.

        ``make_parents`` makes missing directories on the way and adds their paths to ``made``; they are taken back
        where this raises. ``cached`` answers from the kernel's caches or raises WouldBlock. Raises not_found for a
        missing parent, not_directory, escapes_root, too_many_links, denied, and unavailable when the root is gone.
        """
        parts = names.parts(path)
        self.policy.check(path)
        if not parts:
            return self.root_place()
        place = self._quick(path, parts, cached)
        if place is None or (follow and place.st is not None and stat.S_ISLNK(place.st.st_mode)):
            if place is not None:
                place.close()
            if cached:
                raise WouldBlock
            place = _Walk(self, path, make_parents).locate(parts, follow, [] if made is None else made)
        return place

    def remove_made(self, made: Sequence[str]) -> None:
        """Remove directories that were made, in the order of their making, unless something is in them by now."""
        for path in reversed(made):
            with suppress(OSError, GuestError), self.locate(path, follow=False) as place:
                os.rmdir(place.name, dir_fd=place.fd)

    def root_place(self) -> Place:
        """Return the root itself as a Place."""
        place = Place(self.fd, ".", ".", owned=False)
        place.look()
        self.check_alive()
        return place

    def _quick(self, path: str, parts: List[str], cached: bool) -> Optional[Place]:
        """Locate in at most two system calls, or return None where the walk has to judge."""
        if len(parts) == 1:
            place = Place(self.fd, parts[0], path, owned=False)
        elif self._openat2 is None:
            return None
        else:
            try:
                fd = self._openat2.directory(self.fd, os.fsencode("/".join(parts[:-1])), cached)
            except OSError:
                return None
            place = Place(fd, parts[-1], path, owned=True)
        try:
            place.look()
        except GuestError:
            place.close()
            raise
        if place.st is None and len(parts) == 1:
            self.check_alive()
        return place

    def check_alive(self) -> None:
        """Raise unavailable when the root directory itself was deleted."""
        if os.fstat(self.fd).st_nlink == 0:
            raise GuestError(
                "unavailable", ".", "the root directory was deleted", "make it again and restart the server"
            )


def _identity(st: os.stat_result) -> Tuple[int, int]:
    return st.st_dev, st.st_ino


class _Walk:
    """One resolution, component by component, with the open directories from the root down kept on a stack."""

    def __init__(self, root: Root, path: str, make_parents: bool) -> None:
        self._root = root
        self._path = path
        self._make_parents = make_parents
        self._made: List[str] = []
        self._links = 0
        self._fds: List[int] = []
        self._names: List[str] = []

    def locate(self, parts: List[str], follow: bool, made: List[str]) -> Place:
        try:
            with os_errors(self._path):
                place = self._locate(list(reversed(parts)), follow)
        except GuestError:
            self._root.remove_made(self._made)
            raise
        finally:
            self._rewind()
            made += self._made
        if self._made:
            place.take_back = functools.partial(self._root.remove_made, self._made)
        return place

    def _locate(self, pending: List[str], follow: bool) -> Place:
        while pending:
            name = pending.pop()
            if name == "..":
                self._up()
                continue
            last = not pending
            self._root.policy.check(self._resolved(name))
            st = self._lstat(name)
            if st is not None and stat.S_ISLNK(st.st_mode) and (follow or not last):
                pending.extend(reversed(self._target(name)))
            elif last:
                return self._place(name, st)
            else:
                self._down(name, st)
        # a link or `..` led to a directory that is already open: the root, or one on the way
        if not self._names:
            return self._root.root_place()
        name = self._names[-1]
        self._up()
        return self._place(name, self._lstat(name))

    def _here(self) -> int:
        return self._fds[-1] if self._fds else self._root.fd

    def _resolved(self, name: str) -> str:
        return "/".join([*self._names, name])

    def _lstat(self, name: str) -> Optional[os.stat_result]:
        try:
            return os.stat(name, dir_fd=self._here(), follow_symlinks=False)
        except FileNotFoundError:
            if not self._fds:
                self._root.check_alive()
            return None

    def _place(self, name: str, st: Optional[os.stat_result]) -> Place:
        fd = self._fds.pop() if self._fds else self._root.fd
        place = Place(fd, name, self._resolved(name), owned=fd != self._root.fd)
        place.st = st
        return place

    def _down(self, name: str, st: Optional[os.stat_result]) -> None:
        here = self._here()
        if st is None:
            if not self._make_parents:
                raise GuestError("not_found", self._path, "its parent %s does not exist" % self._resolved(name))
            self._root.policy.check_write(self._path)
            try:
                os.mkdir(name, dir_fd=here)
            except FileExistsError:
                pass
            else:
                self._made.append(self._resolved(name))
                adopt(here, name)
                flush_directory(here)
        elif not stat.S_ISDIR(st.st_mode):
            raise GuestError("not_directory", self._path, "%s is not a directory" % self._resolved(name))
        try:
            fd = os.open(name, _PASS_NOFOLLOW, dir_fd=here)
        except OSError as error:
            # a link may have taken the directory's place since it was looked at
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise GuestError("conflict", self._path, "a directory on the way was replaced; try again") from error
            raise
        self._fds.append(fd)
        self._names.append(name)

    def _up(self) -> None:
        if not self._names:
            raise self._escape()
        os.close(self._fds.pop())
        self._names.pop()

    def _target(self, name: str) -> List[str]:
        self._links += 1
        if self._links > MOST_LINKS:
            raise GuestError("too_many_links", self._path, "more than %d symbolic links in a row" % MOST_LINKS)
        try:
            target = os.readlink(name, dir_fd=self._here())
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise GuestError("conflict", self._path, "a link on the way was replaced; try again") from error
            raise
        if target.startswith("/"):
            rest = self._root.rest_behind(target)
            if rest is None:
                raise self._escape()
            self._rewind()
            target = rest  # with its `..`, which count from where the links before them lead
        found = [part for part in target.split("/") if part not in ("", ".")]
        if any(names.is_own(part) for part in found):
            raise GuestError("invalid_argument", self._path, "a link on the way points at a reserved name")
        return found

    def _rewind(self) -> None:
        while self._fds:
            os.close(self._fds.pop())
        self._names.clear()

    def _escape(self) -> GuestError:
        return GuestError(
            "escapes_root", self._path, "a symbolic link on the way leads outside the root", "use a path beneath it"
        )


def adopt(fd: int, name: str) -> None:
    """Give a new entry its parent directory's owner and group, where the writer is root and they differ."""
    if os.geteuid() != 0:
        return
    parent = os.fstat(fd)
    if parent.st_uid or parent.st_gid:
        with suppress(PermissionError):  # a root without that privilege, as in many containers
            os.chown(name, parent.st_uid, parent.st_gid, dir_fd=fd, follow_symlinks=False)


def flush_directory(fd: int) -> None:
    """Make a directory's entries durable; ``fd`` may be a handle that only passes through."""
    readable = os.open(".", os.O_RDONLY | DIRECTORY, dir_fd=fd)
    try:
        os.fsync(readable)
    finally:
        os.close(readable)
