"""Writing one file: the old content or the new, whole, whatever happens in between."""

import os
import stat
from typing import Any, Callable, Dict, Iterable, Optional, Union

from . import targets
from .attributes import with_executable
from .beneath import Root
from .contents import copy_rest
from .drafts import Draft
from .durable import already_made, flush
from .errors import GuestError, os_errors
from .info import hash_file
from .job import Job
from .locks import Parent, locked
from .places import check_regular
from .sweep import sweep_once
from .targets import Target, written

_MODES = ("overwrite", "create", "append")
_IN_PLACE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def write(
    root: Root,
    path: str,
    body: Iterable[bytes],
    job: Job,
    *,
    mode: str = "overwrite",
    if_match: Optional[str] = None,
    executable: Optional[bool] = None,
    in_place: bool = False,
    sha256: Union[str, Callable[[], str], None] = None,
) -> Dict[str, Any]:
    """Write ``body`` to a file, through links, making missing parents; on any failure the old content stays.

    ``mode`` is overwrite, create (raises exists) or append. ``if_match``: only onto that version. ``executable``
    sets or clears x. ``in_place`` keeps the inode and its hard links; it is not atomic once it writes.
    ``sha256`` is what the sender says that ``body`` hashes to, or tells it when the body is through.

    Answers ``info`` (``describe``, with the sha256 of the new content), ``created``, ``previous`` (the sha256
    that was there, where ``if_match`` made it known) and ``unlinked`` (hard links that keep the old content).
    """
    check_mode(mode, path)
    with os_errors(path), targets.locate(root, path, if_match) as place, Parent(place) as parent:
        target = Target(place, parent, path, executable, create=mode == "create")
        sweep_once(root, parent)
        with target.draft() as draft:
            draft.fill(body, job)
            draft.start_writing()  # the disk is at it while the rest is made ready
            draft.verify(sha256() if callable(sha256) else sha256)
            return settle(target, draft, job, mode=mode, if_match=if_match, executable=executable, in_place=in_place)


def check_mode(mode: str, path: str) -> None:
    """Raise invalid_argument for what is no way to write."""
    if mode not in _MODES:
        raise GuestError("invalid_argument", path, "mode is one of %s" % ", ".join(_MODES))


def settle(
    target: Target,
    draft: Draft,
    job: Job,
    *,
    mode: str,
    if_match: Optional[str],
    executable: Optional[bool],
    in_place: bool,
) -> Dict[str, Any]:
    """Put a draft that is complete where it belongs; arguments and answer are those of ``write``."""
    spooled = in_place or mode == "append"
    if not spooled:
        target.dress(draft)
        draft.flush()  # here rather than under the lock, which is then held for an instant
    with locked((target.parent,), job):
        previous = target.look_again(if_match, job)
        if not spooled:
            answer = _publish(target, draft, previous, job)
        elif in_place and target.exists:
            answer = _write_over(target, draft, mode == "append", executable, previous, job)
        else:
            answer = _write_whole(target, draft, mode == "append", previous, job)
    target.parent.flush()
    return answer


def _write_whole(target: Target, addition: Draft, append: bool, previous: Optional[str], job: Job) -> Dict[str, Any]:
    """Publish the old content, with ``append``, and the addition. All of it under the lock, for what another
    append adds meanwhile must not get lost."""
    with target.draft() as whole:
        if append and target.exists:
            old_fd = target.place.open_file()
            try:
                whole.add_file(old_fd, job)
            finally:
                os.close(old_fd)
        whole.add_file(addition.fd, job)
        target.dress(whole)
        return _publish(target, whole, previous, job)


def _publish(target: Target, draft: Draft, previous: Optional[str], job: Job) -> Dict[str, Any]:
    with target.held(job):
        old = target.publish(draft)
    with already_made(target.path):
        return written(target.path, draft.stat(), draft.sha256, old, previous)


def _write_over(
    target: Target, addition: Draft, append: bool, executable: Optional[bool], previous: Optional[str], job: Job
) -> Dict[str, Any]:
    """Write the addition into the file itself."""
    access = os.O_RDWR if append else os.O_WRONLY
    fd = os.open(target.place.name, access | _IN_PLACE, dir_fd=target.parent.fd)
    try:
        old = os.fstat(fd)
        check_regular(old, target.path)
        os.lseek(addition.fd, 0, os.SEEK_SET)
        os.lseek(fd, old.st_size if append else 0, os.SEEK_SET)
        copy_rest(addition.fd, fd, target.path)  # with no job: not to be stopped in the middle
        if not append:
            os.ftruncate(fd, addition.size)
        if executable is not None:
            os.fchmod(fd, with_executable(stat.S_IMODE(old.st_mode), executable))
        flush(fd)
        sha256 = hash_file(fd, target.path, job) if append else addition.sha256
        return written(target.path, os.fstat(fd), sha256, old, previous)
    finally:
        os.close(fd)
