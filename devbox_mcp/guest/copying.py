"""Copies of files and of whole trees, all or nothing."""

import os
import stat
from typing import Any, Dict

from . import targets
from .beneath import Root
from .durable import already_made
from .errors import GuestError, os_errors
from .guards import refuse_denied, refuse_into_itself, refuse_same
from .info import describe
from .job import Job
from .locks import Parent, locked
from .places import Place
from .staging import Staged
from .sweep import sweep_once
from .targets import Target


def copy(root: Root, source: str, destination: str, job: Job, *, overwrite: bool = False) -> Dict[str, Any]:
    """Copy a file, or a directory with everything in it, making the destination's missing parents; describe it.

    A link given as ``source`` is followed, links within a tree are copied as links, modes are kept. ``overwrite``
    may replace a file by a file. Raises exists, is_directory, unsupported for a special file, invalid_argument for
    a copy into itself, denied where the tree holds something that the policy denies.
    """
    root.policy.check_write(destination)
    with os_errors(source), root.locate(source) as place:
        if stat.S_ISDIR(place.require().st_mode):
            refuse_into_itself(source, destination)
            return _copy_directory(root, place, destination, job)
        return _copy_file(root, place, destination, job, overwrite)


def _copy_file(root: Root, place: Place, path: str, job: Job, overwrite: bool) -> Dict[str, Any]:
    source = place.open_file()
    try:
        with os_errors(path), targets.locate(root, path, None) as at, Parent(at) as parent:
            target = Target(at, parent, path, create=not overwrite)
            refuse_same(place, at)
            sweep_once(root, parent)
            with target.draft() as draft:
                draft.copy_file(source, job)
                target.dress(draft)
                if not target.exists:
                    draft.set_mode(stat.S_IMODE(os.fstat(source).st_mode))
                draft.flush()
                with locked((parent,), job):
                    target.look_again(None, job)
                    target.publish(draft)
                with already_made(path):
                    parent.flush()
                    return describe(path, draft.stat())
    finally:
        os.close(source)


def _copy_directory(root: Root, place: Place, path: str, job: Job) -> Dict[str, Any]:
    refuse_denied(root, place, job)
    with os_errors(path), root.locate(path, make_parents=True) as at:
        if at.st is not None:
            raise GuestError("exists", path, "something is here already")
        refuse_into_itself(place.path, at.path)
        with Parent(at) as parent:
            sweep_once(root, parent)
            with Staged(root, place, parent, path, job) as staged:
                with locked((parent,), job):
                    staged.publish(at.name, new=True)
                with already_made(path):
                    parent.flush()
                    at.look()
        return describe(path, at.require())
