"""Clearing away what a crash left behind: hidden files and directories that nobody works with any more."""

import os
import stat
import time
from contextlib import suppress
from typing import List, Optional

from . import names
from .beneath import Root
from .errors import GuestError
from .job import Job
from .locks import Parent, try_lock
from .places import DIRECTORY
from .removal import Removal

OLD = 3600.0  # seconds since the last change
#: How old what is left behind has to be, by what it is; half-done uploads are kept for a day, to be resumed.
_AGES = {"part": OLD, "trash": OLD, "upload": 24 * 3600.0}
_PREFIXES = {names.OWN_PREFIX + kind + "-": age for kind, age in _AGES.items()}
_MOST_REMEMBERED = 4096


def sweep_once(root: Root, parent: Parent) -> None:
    """Sweep a directory, unless this process has done so before."""
    if parent.identity not in root.swept:
        if len(root.swept) >= _MOST_REMEMBERED:
            root.swept.clear()
        root.swept.add(parent.identity)
        sweep(parent)


def sweep(parent: Parent, now: Optional[float] = None) -> None:
    """Remove from a directory what the guest left there long ago and no process holds locked.

    Failing to is no error: it is somebody else's, or the next write here tries again.
    """
    now = time.time() if now is None else now
    found: List[str] = []
    with suppress(OSError), os.scandir(parent.fd) as entries:
        found += [entry.name for entry in entries if entry.name.startswith(tuple(_PREFIXES))]
    for name in found:
        with suppress(OSError, GuestError):
            _sweep_one(parent, name, now)


def _sweep_one(parent: Parent, name: str, now: float) -> None:
    st = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
    # the ctime: what was set aside by a rename has an old mtime, and is in use all the same
    if now - st.st_ctime < next(age for prefix, age in _PREFIXES.items() if name.startswith(prefix)):
        return
    if not stat.S_ISREG(st.st_mode) and not stat.S_ISDIR(st.st_mode):
        os.unlink(name, dir_fd=parent.fd)
        return
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(name, flags | (DIRECTORY if stat.S_ISDIR(st.st_mode) else 0), dir_fd=parent.fd)
    try:
        if try_lock(fd):
            Removal(Job()).remove(parent.fd, name, parent.path)
    finally:
        os.close(fd)
