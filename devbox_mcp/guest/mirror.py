"""A tree kept in step by inotify: reads the kernel's queue, sets watches, and looks where the queue cannot tell.

The kernel reports names in watched directories, later than they change; what happens in a new directory before it
is watched is not reported at all. So a directory is watched first and then looked into, and ``Known`` sees to it
that what both the look and the queue bring is told once. A path is only ever opened from the root down, and what
is found there may be another directory than meant: which one it is, its watch tells.
"""

import os
import stat
import time
from typing import Dict, List, Optional, Set

from . import inotify, names
from .errors import GuestError
from .inotify import Inotify, RawEvent
from .job import Job
from .journal import DELETED, Event
from .known import Directory, Known, Lost
from .scope import Scope

#: Both halves of a move are queued one right after the other, but a read may come between them.
_SECOND_HALF_SECONDS = 0.01
#: How often a directory may turn out to be another one while watches are being set.
_MOST_TRIES = 8


class Mirror:
    """One watched scope. To be used by one thread at a time, and closed."""

    def __init__(self, scope: Scope, job: Job) -> None:
        """Watch everything there is. Raises Lost where inotify cannot, GuestError when the job is stopped."""
        try:
            self._inotify = Inotify()
        except OSError as error:
            raise Lost from error
        self.fd = self._inotify.fd
        self.ended = False
        self._scope = scope
        self._known = Known(
            scope.directory, scope.recursive, not scope.names_hide_by_place, unwatch=self._inotify.remove
        )
        self._devices: Set[int] = set()  # on which inotify is known to see everything
        try:
            self._settle(job)
        except BaseException:
            self.close()
            raise
        self._known.told.clear()

    def close(self) -> None:
        """Stop watching."""
        self._inotify.close()

    def update(self, job: Job) -> List[Event]:
        """Return what has changed since the last call; after ``deleted`` of the scope itself it has ``ended``.

        Raises Lost, and then is to be closed. A job is stopped before anything is read, or not at all: what was
        taken from the queue has to be told.
        """
        job.check(self._scope.path)
        try:
            raw = self._read()
        except OSError as error:
            raise Lost from error
        arrivals = {event.cookie: event for event in raw if event.mask & inotify.MOVED_TO}
        for event in raw:
            if event.mask & inotify.OVERFLOW:
                raise Lost
            if not self.ended:
                self._apply(event, arrivals)
        if not self.ended:
            self._settle(Job())
        if not self.ended and not self._scope.present():
            self._end()
        told, self._known.told = self._known.told, []
        return told

    # -- the queue

    def _read(self) -> List[RawEvent]:
        """Read the queue; where it ends in half a move, wait a little for the other half."""
        raw = self._inotify.read()
        deadline = time.monotonic() + _SECOND_HALF_SECONDS
        while self._has_half(raw):
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not self._inotify.wait(remaining):
                break
            raw += self._inotify.read()
        return raw

    def _has_half(self, raw: List[RawEvent]) -> bool:
        arrived = {event.cookie for event in raw if event.mask & inotify.MOVED_TO}
        return any(
            event.mask & inotify.MOVED_FROM and event.cookie not in arrived and self._shown_in(event) for event in raw
        )

    def _apply(self, event: RawEvent, arrivals: Dict[int, RawEvent]) -> None:
        """Tell one event; with the first half of a move also the second, which then is no longer in ``arrivals``."""
        if not event.name:
            self._happened_to(event)
            return
        directory = self._shown_in(event)
        if directory is None:
            return
        is_directory = bool(event.mask & inotify.IS_DIRECTORY)
        if event.mask & inotify.CREATE:
            self._known.appear(directory, event.name, is_directory)
        elif event.mask & inotify.DELETE:
            self._known.vanish(directory, event.name)
        elif event.mask & inotify.MOVED_FROM:
            arrival = arrivals.get(event.cookie)
            destination = None if arrival is None else self._shown_in(arrival)
            if arrival is None or destination is None:
                self._known.leave(directory, event.name)
            else:
                del arrivals[event.cookie]
                self._known.move(directory, event.name, destination, arrival.name, is_directory)
        elif event.mask & inotify.MOVED_TO:
            if event.cookie in arrivals:
                self._known.arrive(directory, event.name, is_directory)
        else:
            self._known.modify(directory, event.name)

    def _shown_in(self, event: RawEvent) -> Optional[Directory]:
        """Return the directory that an entry's event is about, None where nothing is to be told of the entry."""
        directory = self._known.by_wd.get(event.wd)
        if directory is None or not self._scope.shows(names.join(directory.path, event.name), event.name):
            return None
        return directory

    def _happened_to(self, event: RawEvent) -> None:
        """Something happened to a watched directory itself. Where it has a parent, that one's watch tells most."""
        directory = self._known.by_wd.get(event.wd)
        if directory is None:
            return
        if directory is self._known.top:
            if event.mask & (inotify.DELETE_SELF | inotify.UNMOUNT | inotify.IGNORED):
                self._end()
        elif event.mask & inotify.IGNORED:
            self._known.lose_watch(directory)

    def _end(self) -> None:
        self.ended = True
        if self._scope.only is None:
            self._known.tell(DELETED, self._scope.path, True)
        else:
            self._known.vanish(self._known.top, self._scope.only)

    # -- looking

    def _settle(self, job: Job) -> None:
        """Look wherever that is due. What cannot be found stays for later: that it went away, or where to, is in
        the queue."""
        self._known.doubtful = {entry for entry in self._known.doubtful if not self._look(*entry)}
        missing: Set[Directory] = set()
        tries: Dict[Directory, int] = {}
        todo = set(self._known.unwatched)
        while todo:
            for directory in todo:
                if directory not in self._known.unwatched:
                    continue
                job.check(self._scope.path)
                tries[directory] = tries.get(directory, 0) + 1
                if tries[directory] > _MOST_TRIES:
                    raise Lost  # one directory in two places, as a bind mount makes it: they share one watch
                if not self._enter(directory, job):
                    missing.add(directory)
            todo = self._known.unwatched - missing

    def _enter(self, directory: Directory, job: Job) -> bool:
        """Watch a directory and tell what is in it; return whether it was found."""
        path = directory.path
        try:
            fd = self._scope.open_directory(path)
            try:
                self._known.watch(directory, self._add(fd))
                for entry in self._scope.entries(fd, path, job):
                    self._known.appear(directory, entry.name, entry.kind == "directory")
            finally:
                os.close(fd)
        except GuestError as error:
            if directory is self._known.top or error.code in ("cancelled", "timeout"):
                raise
            self._known.lose_watch(directory)
            if error.code == "permission_denied":
                self._known.unwatched.discard(directory)
            return False
        return True

    def _add(self, fd: int) -> int:
        """Watch an open directory. Raises Lost where inotify does not see, or cannot take, everything."""
        try:
            device = os.fstat(fd).st_dev
            if device not in self._devices:
                if not inotify.reports_all_of(inotify.file_system(device)):
                    raise Lost
                self._devices.add(device)
            return self._inotify.add(fd)
        except OSError as error:
            raise Lost from error

    def _look(self, directory: Directory, name: str) -> bool:
        """Set right what is known of one entry; return False where its directory cannot be found."""
        if directory.forgotten:
            return True
        fd = self._open(directory)
        if fd is None:
            return False
        try:
            st = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError:
            return True
        finally:
            os.close(fd)
        self._known.appear(directory, name, stat.S_ISDIR(st.st_mode))
        child = directory.entries[name]
        if child is not None and child.wd is not None:
            fd = self._open(child)
            if fd is None:
                self._known.lose_watch(child)
            else:
                os.close(fd)
        return True

    def _open(self, directory: Directory) -> Optional[int]:
        """Open a watched directory; None where nothing or another one is under its path."""
        try:
            fd = self._scope.open_directory(directory.path)
        except GuestError:
            return None
        same = False
        try:
            same = self._add(fd) == directory.wd
        finally:
            if not same:
                os.close(fd)
        return fd if same else None
