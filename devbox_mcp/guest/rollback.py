"""Replacing many files so that it can be taken back."""

import os
from contextlib import suppress
from typing import List, Optional, Tuple

from . import names
from .drafts import Draft
from .errors import os_errors
from .targets import Target


class Replacements:
    """Files replaced so far, the old ones kept under hidden names until ``settle`` or ``undo``. All of it under the
    locks of their directories."""

    def __init__(self) -> None:
        self._done: List[Tuple[Target, Optional[str]]] = []

    def publish(self, target: Target, draft: Draft) -> Optional[os.stat_result]:
        """Put a draft in its target's place; return the stat of what it replaced."""
        if target.exists:
            self._done.append((target, _keep_old(target)))
        old = target.publish(draft)
        if old is None:
            self._done.append((target, None))
        return old

    def settle(self) -> None:
        """Let the old files go."""
        for target, kept in self._done:
            if kept is not None:
                with suppress(OSError):  # a sweep will come
                    os.unlink(kept, dir_fd=target.parent.fd)

    def undo(self) -> List[str]:
        """Put the old files back, and return the paths where that failed."""
        return [target.path for target, kept in reversed(self._done) if not _restore(target, kept)]


def _keep_old(target: Target) -> str:
    """Keep what is there under a hidden name too, which is returned. Its own name is never free, not even for a
    moment, unless the file system knows no hard links."""
    name, fd = target.place.name, target.parent.fd
    kept = names.own_name("trash")
    with os_errors(target.path):
        try:
            os.link(name, kept, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
        except OSError:
            os.rename(name, kept, src_dir_fd=fd, dst_dir_fd=fd)
    return kept


def _restore(target: Target, kept: Optional[str]) -> bool:
    """Put back what was there, and return whether that succeeded."""
    name, fd = target.place.name, target.parent.fd
    try:
        if kept is None:
            os.unlink(name, dir_fd=fd)
        else:
            os.rename(kept, name, src_dir_fd=fd, dst_dir_fd=fd)
            with suppress(FileNotFoundError):  # a rename of one link over another of the same file does nothing
                os.unlink(kept, dir_fd=fd)
    except OSError:
        return False
    return True
