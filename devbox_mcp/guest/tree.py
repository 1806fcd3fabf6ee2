"""Directories and entries as such: make, delete, move, and set the mode."""

import errno
import os
import stat
from typing import Any, Dict, List, Optional

from .beneath import Root, adopt, flush_directory
from .durable import already_made
from .errors import GuestError, from_os_error, os_errors
from .guards import refuse_denied, refuse_into_itself, refuse_root, refuse_same
from .info import describe
from .job import Job
from .locks import Parent, locked
from .modes import set_mode
from .names import is_own
from .places import Place
from .renaming import rename_new
from .staging import Staged
from .trash import Trash
from .versions import check_prefix, missing_is_conflict, require_match
from .walk import require_shallow, walk


def mkdir(root: Root, path: str) -> bool:
    """Make a directory and its missing parents, and return False if it was there. Raises exists for a file there."""
    root.policy.check_write(path)
    with os_errors(path), root.locate(path, make_parents=True) as place:
        if place.st is None and _make(place):
            return True
        if not stat.S_ISDIR(place.require().st_mode):
            raise GuestError("exists", path, "a file of that name is here already")
        return False


def _make(place: Place) -> bool:
    """Make the directory, and return False if somebody was quicker."""
    try:
        os.mkdir(place.name, dir_fd=place.fd)
    except FileExistsError:
        place.look()
        return False
    adopt(place.fd, place.name)
    flush_directory(place.fd)
    return True


def delete(root: Root, path: str, job: Job, *, recursive: bool = False, if_match: Optional[str] = None) -> int:
    """Delete an entry, of a link the link itself, and return how many entries went.

    Raises not_empty for a directory with entries unless ``recursive``, invalid_argument for the root, denied where
    the tree holds something that the policy denies. Where something in it cannot be removed, the error names it and
    the rest stays.
    """
    check_prefix(if_match, path)
    root.policy.check_write(path)
    with os_errors(path), missing_is_conflict(if_match, path), root.locate(path, follow=False) as place:
        refuse_root(place, "deleted")
        refuse_denied(root, place, job)
        with Parent(place) as parent:
            with locked((parent,), job):
                is_directory = stat.S_ISDIR(_look_again(place).st_mode)
                require_match(place, path, if_match, job)
                trash = _set_aside(place, parent, recursive) if is_directory else None
                if trash is None and not is_directory:
                    os.unlink(place.name, dir_fd=parent.fd)
            count = 1 if trash is None else trash.empty(job)
            parent.flush()
            return count


def _look_again(place: Place) -> os.stat_result:
    """Under the lock: return what is there now. Raises conflict for another directory than the one whose entries
    were judged."""
    seen, now = place.require(), place.look()
    if now is not None and stat.S_ISDIR(now.st_mode) and now.st_ino != seen.st_ino:
        raise GuestError("conflict", place.path, "another directory has taken its place", "try again")
    return place.require()


def _set_aside(place: Place, parent: Parent, recursive: bool) -> Optional[Trash]:
    """Remove the directory if it is empty; otherwise set it aside and return it."""
    try:
        os.rmdir(place.name, dir_fd=parent.fd)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not (recursive or _looks_empty(place)):
            raise from_os_error(error, place.path) from error
        return Trash(place, parent)
    return None


def _looks_empty(place: Place) -> bool:
    """Whether a directory holds only what a crash of ours left behind, which nobody else gets to see."""
    fd = place.open_directory()
    try:
        return all(is_own(name) for name in os.listdir(fd))
    finally:
        os.close(fd)


def move(
    root: Root, source: str, destination: str, job: Job, *, overwrite: bool = False, if_match: Optional[str] = None
) -> Dict[str, Any]:
    """Rename an entry, of a link the link itself, making the destination's missing parents; describe it.

    ``overwrite`` may replace a file or link by a file or link, and an empty directory by a directory. Raises exists,
    is_directory, not_empty, conflict, invalid_argument for the root or a move into itself, denied where the tree
    holds something that the policy denies. To another file system it is copied, then deleted.
    """
    check_prefix(if_match, source)
    for path in (source, destination):
        root.policy.check_write(path)
    refuse_into_itself(source, destination)
    with os_errors(source), missing_is_conflict(if_match, source), root.locate(source, follow=False) as place:
        refuse_root(place, "moved")
        place.require()  # before parents are made for it
        refuse_denied(root, place, job)
        with os_errors(destination), root.locate(destination, follow=False, make_parents=True) as target:
            refuse_root(target, "replaced")
            refuse_into_itself(place.path, target.path)
            with Parent(place) as old, Parent(target) as new:
                with locked((old, new), job):
                    _look_again(place)
                    require_match(place, source, if_match, job)
                    _check_replaceable(place, target, overwrite)
                    _rename(root, place, old, target, new, overwrite, job)
                with already_made(destination):
                    target.look()
                    new.flush()
                    if old.identity != new.identity:
                        old.flush()
            return _describe(target, destination)


def _check_replaceable(place: Place, target: Place, overwrite: bool) -> None:
    """Raise unless ``place`` may take the name ``target``. Whether a directory is empty, the rename itself says."""
    is_directory = stat.S_ISDIR(place.require().st_mode)
    if target.look() is None:
        return
    refuse_same(place, target)
    mode = target.require().st_mode
    if not overwrite or (is_directory and not stat.S_ISDIR(mode)):
        raise GuestError("exists", target.path, "something is here already")
    if stat.S_ISDIR(mode) and not is_directory:
        raise GuestError("is_directory", target.path, "a file cannot replace a directory")
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise GuestError("exists", target.path, "a special file is here")


def _rename(root: Root, place: Place, old: Parent, target: Place, new: Parent, overwrite: bool, job: Job) -> None:
    try:
        if overwrite:
            os.rename(place.name, target.name, src_dir_fd=old.fd, dst_dir_fd=new.fd)
        else:
            rename_new(old.fd, place.name, new.fd, target.name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise _rename_error(error, place, target) from error
    else:
        return
    with Staged(root, place, new, target.path, job, keep=True) as staged:
        staged.publish(target.name, new=not overwrite)
    # from here on it is there twice until it is done, so it is not to be stopped
    if stat.S_ISDIR(place.require().st_mode):
        Trash(place, old).empty(Job())
    else:
        with os_errors(place.path):
            os.unlink(place.name, dir_fd=old.fd)


def _rename_error(error: OSError, place: Place, target: Place) -> GuestError:
    if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR):
        mapped = from_os_error(error, target.path)
        if mapped.code == "not_empty":
            mapped.hint = "only an empty directory can be replaced"
        return mapped
    return from_os_error(error, place.path)


def _describe(place: Place, path: str) -> Dict[str, Any]:
    st = place.require()
    link = os.readlink(place.name, dir_fd=place.fd) if stat.S_ISLNK(st.st_mode) else None
    return describe(path, st, link)


def chmod(root: Root, path: str, mode: int, job: Job, *, recursive: bool = False) -> int:
    """Set permission bits, of a link's target, and return how many entries that changed.

    ``recursive`` goes through a directory, never through a link, and leaves special files and what the policy
    denies alone. Raises invalid_argument for setuid, setgid, sticky, permission_denied, …
    """
    if mode & ~0o777:
        raise GuestError("invalid_argument", path, "only permission bits can be set, 0 to 0777")
    root.policy.check_write(path)
    with root.locate(path) as place:
        if not recursive or not stat.S_ISDIR(place.require().st_mode):
            return set_mode(place.fd, place.name, mode, path)
        # a mode that shuts directories comes last, from the bottom up; one that opens them first
        opens = mode & 0o500 == 0o500
        changed = set_mode(place.fd, place.name, mode, path) if opens else 0
        shut_later: List[str] = []
        unreadable: List[str] = []
        for entry in walk(root, place, job, unreadable=unreadable):
            if entry.kind == "file" or (entry.kind == "directory" and opens):
                changed += set_mode(entry.fd, entry.name, mode, entry.path)
            elif entry.kind == "directory":
                shut_later.append(entry.path)
            job.advance(1)
        for below in reversed(shut_later):
            with root.locate(below, follow=False) as directory:
                changed += set_mode(directory.fd, directory.name, mode, below)
        require_shallow(unreadable)
        return changed if opens else changed + set_mode(place.fd, place.name, mode, path)
