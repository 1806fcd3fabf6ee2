"""The names in a tree, kept up to date by inotify, and what that tells about changes.

The kernel reports names in watched directories, later than they change; what has happened since is only seen by
looking. So the mirror keeps which names it has told of. A new directory is watched first and then looked into:
what both the look and the queue bring is told once, whichever comes first. Where a watch turns out to belong to
another directory than thought (names were exchanged meanwhile), that directory is told again from the start.
"""

import os
import stat
import time
from typing import Dict, Iterator, List, Optional, Set, Tuple

from . import inotify, names
from .errors import GuestError
from .inotify import Inotify, RawEvent
from .job import Job
from .journal import CREATED, DELETED, MODIFIED, MOVED, Event
from .scope import Scope

#: Both halves of a move are queued one right after the other, but a read may come between them.
_SECOND_HALF_SECONDS = 0.01
#: How often a directory may turn out to be another one while watches are being set.
_MOST_TRIES = 8


class Lost(Exception):
    """Changes may have gone unseen: the queue overflowed, or inotify does not cover the whole tree."""


class _Directory:
    """A directory that is known: its entries by name (a directory, or None for anything else) and its watch.
    Once ``forgotten`` it is no longer part of the tree."""

    __slots__ = ("entries", "forgotten", "name", "parent", "wd")

    def __init__(self, parent: "Optional[_Directory]", name: str) -> None:
        self.parent = parent
        self.name = name
        self.entries: Dict[str, Optional[_Directory]] = {}
        self.wd: Optional[int] = None
        self.forgotten = False

    @property
    def path(self) -> str:
        """The path from the root, by today's names."""
        parts = []
        here = self
        while here.parent is not None:
            parts.append(here.name)
            here = here.parent
        return names.join(here.name, "/".join(reversed(parts))) if parts else here.name

    def holds(self, other: "_Directory") -> bool:
        """Whether the other one is this one or lies beneath it."""
        here: Optional[_Directory] = other
        while here is not None and here is not self:
            here = here.parent
        return here is self

    def tree(self) -> "Iterator[_Directory]":
        """Yield this directory and every one beneath it."""
        pending = [self]
        while pending:
            here = pending.pop()
            yield here
            pending.extend(child for child in here.entries.values() if child is not None)


class Mirror:
    """One watched scope. To be used by one thread at a time, and closed."""

    def __init__(self, scope: Scope, job: Job) -> None:
        """Watch everything there is. Raises Lost where inotify cannot, GuestError when the job is stopped."""
        self._scope = scope
        self._top = _Directory(None, scope.directory)
        self._by_wd: Dict[int, _Directory] = {}
        self._devices: Set[int] = set()  # on which inotify is known to see everything
        self._unwatched = {self._top}  # to be watched and looked into as soon as they are found under their names
        self._doubtful: Set[Tuple[_Directory, str]] = set()  # entries to be looked at again
        self._told: List[Event] = []
        self.ended = False
        try:
            self._inotify = Inotify()
        except OSError as error:
            raise Lost from error
        self.fd = self._inotify.fd
        try:
            self._settle(job)
        except BaseException:
            self.close()
            raise
        self._told.clear()

    def close(self) -> None:
        """Stop watching."""
        self._inotify.close()

    def update(self, job: Job) -> List[Event]:
        """Return what has changed since the last call; after ``deleted`` of the scope itself it has ``ended``.

        Raises Lost, and then is to be closed. A job is stopped before anything is read, or not at all: what was
        taken from the queue has to be told.
        """
        job.check(self._scope.path)
        raw = self._read()
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
        told, self._told = self._told, []
        return told

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

    # -- from raw events to what they mean

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
            self._appear(directory, event.name, is_directory)
        elif event.mask & inotify.DELETE:
            self._vanish(directory, event.name)
        elif event.mask & inotify.MOVED_FROM:
            arrival = arrivals.get(event.cookie)
            destination = None if arrival is None else self._shown_in(arrival)
            if arrival is None or destination is None:
                self._vanish(directory, event.name)
                self._doubtful.add((directory, event.name))
            else:
                del arrivals[event.cookie]
                self._move(directory, event.name, destination, arrival.name, is_directory)
        elif event.mask & inotify.MOVED_TO:
            if event.cookie in arrivals:
                self._arrive(directory, event.name, is_directory)
        else:
            self._modify(directory, event.name)

    def _shown_in(self, event: RawEvent) -> Optional[_Directory]:
        """Return the directory that an entry's event is about, None where nothing is to be told of the entry."""
        directory = self._by_wd.get(event.wd)
        if directory is None or not self._scope.shows(names.join(directory.path, event.name), event.name):
            return None
        return directory

    def _happened_to(self, event: RawEvent) -> None:
        """Something happened to a watched directory itself. Where it has a parent, that one's watch tells most."""
        directory = self._by_wd.get(event.wd)
        if directory is None:
            return
        if directory is self._top:
            if event.mask & (inotify.DELETE_SELF | inotify.UNMOUNT | inotify.IGNORED):
                self._end()
        elif event.mask & inotify.IGNORED:
            self._lose_watch(directory)

    # -- what happened to one name

    def _tell(self, kind: str, path: str, directory: bool, source: Optional[str] = None) -> None:
        self._told.append(Event(kind, path, directory, source))

    def _end(self) -> None:
        self.ended = True
        if self._scope.only is None:
            self._tell(DELETED, self._scope.path, True)
        else:
            self._vanish(self._top, self._scope.only)

    def _appear(self, directory: _Directory, name: str, is_directory: bool) -> None:
        if name in directory.entries:
            if (directory.entries[name] is not None) == is_directory:
                return  # a look into the directory has told it already
            self._vanish(directory, name)
        child = _Directory(directory, name) if is_directory else None
        directory.entries[name] = child
        self._tell(CREATED, names.join(directory.path, name), is_directory)
        if child is not None and self._scope.recursive:
            self._unwatched.add(child)

    def _vanish(self, directory: _Directory, name: str) -> None:
        if name not in directory.entries:
            return
        child = directory.entries.pop(name)
        self._tell(DELETED, names.join(directory.path, name), child is not None)
        if child is not None:
            self._forget(child)

    def _modify(self, directory: _Directory, name: str) -> None:
        if name not in directory.entries:
            self._doubtful.add((directory, name))
            return
        child = directory.entries[name]
        self._tell(MODIFIED, names.join(directory.path, name), child is not None)
        if child is not None and child.wd is None and self._scope.recursive:
            self._unwatched.add(child)  # perhaps it can be read from now on

    def _arrive(self, directory: _Directory, name: str, is_directory: bool) -> None:
        """An entry came from where nobody looks, perhaps over another one."""
        if not is_directory and directory.entries.get(name, directory) is None:
            self._tell(MODIFIED, names.join(directory.path, name), False)
            return
        self._vanish(directory, name)
        self._appear(directory, name, is_directory)

    def _move(self, source: _Directory, old: str, destination: _Directory, name: str, is_directory: bool) -> None:
        """An entry got another name. It is told as a move where what is known beneath the old one still holds."""
        if destination.entries.get(name) is not None:
            self._vanish(destination, name)  # an empty directory was replaced
        if not source.forgotten and self._is_sound(source, old, destination, is_directory):
            old_path = names.join(source.path, old)
            child = source.entries.pop(old)
            destination.entries[name] = child
            if child is not None:
                child.parent, child.name = destination, name
            self._tell(MOVED, names.join(destination.path, name), is_directory, old_path)
        else:
            if not source.forgotten:
                self._vanish(source, old)
            if not destination.forgotten:
                self._arrive(destination, name, is_directory)
        self._doubtful |= {(source, old), (destination, name)}

    def _is_sound(self, source: _Directory, old: str, destination: _Directory, is_directory: bool) -> bool:
        """Whether what is known of an entry is the one that was moved: a look may have shown a later one."""
        child = source.entries.get(old)
        if old not in source.entries or (child is not None) != is_directory:
            return False
        if child is None:
            return True
        taken = child in self._unwatched and child.entries
        return not (taken or child.holds(destination) or self._scope.names_hide_by_place)

    # -- watches

    def _settle(self, job: Job) -> None:
        """Watch and look into every directory that is not watched yet. What cannot be found stays for later:
        that it went away, or where to, is in the queue."""
        self._doubtful = {entry for entry in self._doubtful if not self._look(*entry)}
        missing: Set[_Directory] = set()
        tries: Dict[_Directory, int] = {}
        todo = set(self._unwatched)
        while todo:
            for directory in todo:
                if directory not in self._unwatched:
                    continue
                job.check(self._scope.path)
                tries[directory] = tries.get(directory, 0) + 1
                if tries[directory] > _MOST_TRIES:
                    raise Lost  # one directory in two places, as a bind mount makes it: they share one watch
                if not self._enter(directory, job):
                    missing.add(directory)
            todo = self._unwatched - missing

    def _look(self, directory: _Directory, name: str) -> bool:
        """Set right what is known of one entry: of two names that were exchanged the queue tells two moves, as if
        nothing were left under the first one. Return False where the directory is not found, for later."""
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
        self._appear(directory, name, stat.S_ISDIR(st.st_mode))
        child = directory.entries[name]
        if child is not None and child.wd is not None:
            fd = self._open(child)
            if fd is None:
                self._lose_watch(child)
            else:
                os.close(fd)
        return True

    def _open(self, directory: _Directory) -> Optional[int]:
        """Open a watched directory; None where another one has its name by now."""
        try:
            fd = self._scope.open_directory(directory.path)
        except GuestError:
            return None
        try:
            if self._inotify.add(fd) == directory.wd:
                return fd
        except OSError:
            pass
        os.close(fd)
        return None

    def _enter(self, directory: _Directory, job: Job) -> bool:
        """Watch a directory and tell what is in it; return whether it was found."""
        path = directory.path
        try:
            fd = self._scope.open_directory(path)
            try:
                self._watch(directory, fd)
                found = list(self._scope.entries(fd, path, job))
            finally:
                os.close(fd)
        except GuestError as error:
            if directory is self._top or error.code in ("cancelled", "timeout"):
                raise
            self._lose_watch(directory)
            if error.code == "permission_denied":
                self._unwatched.discard(directory)
            return False
        if directory.entries:
            self._tell_again(directory, path)
        for entry in found:
            self._appear(directory, entry.name, entry.kind == "directory")
        return True

    def _watch(self, directory: _Directory, fd: int) -> None:
        try:
            device = os.fstat(fd).st_dev
            if device not in self._devices:
                if not inotify.sees_every_change(device):
                    raise Lost
                self._devices.add(device)
            wd = self._inotify.add(fd)
        except OSError as error:
            raise Lost from error
        other = self._by_wd.get(wd)
        if other is not None:
            self._lose_watch(other)
        self._by_wd[wd] = directory
        directory.wd = wd
        self._unwatched.discard(directory)

    def _tell_again(self, directory: _Directory, path: str) -> None:
        """Tell a directory as another one than it was taken for."""
        for child in directory.entries.values():
            if child is not None:
                self._forget(child)
        directory.entries.clear()
        self._tell(DELETED, path, True)
        self._tell(CREATED, path, True)

    def _lose_watch(self, directory: _Directory) -> None:
        if directory is self._top:
            raise Lost
        if directory.wd is not None:
            del self._by_wd[directory.wd]
            directory.wd = None
        self._unwatched.add(directory)

    def _forget(self, directory: _Directory) -> None:
        for gone in directory.tree():
            gone.forgotten = True
            self._unwatched.discard(gone)
            if gone.wd is not None:
                del self._by_wd[gone.wd]
                self._inotify.remove(gone.wd)
