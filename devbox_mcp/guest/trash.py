"""Deleting a directory in two steps: it vanishes at once, and what it holds goes after."""

import os
from contextlib import suppress

from . import names
from .errors import GuestError, os_errors
from .job import Job
from .locks import Parent, try_lock
from .places import Place
from .removal import Removal
from .renaming import rename_new


class Trash:
    """A directory that was set aside under a hidden name in its parent, locked so that no sweep takes it."""

    def __init__(self, place: Place, parent: Parent) -> None:
        """Set it aside; under the parent's lock. Raises busy for a mount point, permission_denied, …"""
        self._place = place
        self._parent = parent
        self._hidden = names.own_name("trash")
        self._fd = place.open_directory()
        try:
            with os_errors(place.path):
                try_lock(self._fd)
                os.rename(place.name, self._hidden, src_dir_fd=parent.fd, dst_dir_fd=parent.fd)
        except BaseException:
            os.close(self._fd)
            raise

    def empty(self, job: Job) -> int:
        """Remove it and return how many entries that were. On an error, which names the entry that stays, the
        directory is put back with what is left in it."""
        removal = Removal(job)
        try:
            removal.remove(self._parent.fd, self._hidden, self._place.path)
        except GuestError as error:
            # where something took its name meanwhile, what is left stays hidden until it is swept
            with suppress(OSError):
                rename_new(self._parent.fd, self._hidden, self._parent.fd, self._place.name)
            error.hint = error.hint or "%d entries were deleted, the rest is still there" % removal.count
            raise
        finally:
            os.close(self._fd)
        return removal.count
