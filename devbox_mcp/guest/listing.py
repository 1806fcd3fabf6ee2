"""Directories, page by page."""

import os
from contextlib import suppress
from typing import Any, Dict, List, Optional

from . import names
from .beneath import Root
from .errors import GuestError, os_errors
from .globs import Glob
from .info import describe
from .job import Job
from .walk import Entry, walk


def list_directory(
    root: Root,
    path: str,
    job: Job,
    depth: int = 1,
    glob: Optional[str] = None,
    limit: int = 1000,
    after: Optional[str] = None,
    details: bool = False,
) -> Dict[str, Any]:
    """List what is beneath a directory, ``depth`` levels deep, parents before their entries.

    Answers ``entries`` (``describe`` with ``details``, otherwise only ``path``, ``type`` and a link's ``target``),
    ``after`` (the last path, to resume behind; None at the end) and ``unreadable`` (paths not looked into).
    """
    wanted = None if glob is None else Glob(glob)
    unreadable: List[str] = []
    found: List[Dict[str, Any]] = []
    more: Optional[str] = None
    with root.locate(path) as place:
        resume = None if after is None else _below(path, after)
        entries = walk(root, place, job, depth=depth, after=resume, unreadable=unreadable)
        try:
            for entry in entries:
                if wanted is not None and not wanted.matches(entry.parts):
                    continue
                if len(found) == limit:
                    more = found[-1]["path"]
                    break
                info = _info(entry, names.join(path, "/".join(entry.parts)), details)
                if info is not None:
                    found.append(info)
        finally:
            entries.close()
        if place.path != path:
            unreadable = ["/".join([path, *_below(place.path, one)]) for one in unreadable]
    return {"entries": found, "after": more, "unreadable": unreadable}


def list_names(
    root: Root,
    path: str,
    job: Job,
    depth: int = 1,
    glob: Optional[str] = None,
    limit: int = 1000,
    after: Optional[str] = None,
) -> Dict[str, Any]:
    """List what ``list_directory`` lists, by name only.

    Answers ``names`` (below ``path``, directories with a slash at their end), ``targets`` (of links, by name),
    ``after`` (a name without its slash, to resume behind; None at the end) and ``unreadable``.
    """
    if depth == 1 and glob is None and after is None and not root.policy.deny:
        return _names_of_one(root, path, limit)
    resume = None if after is None else names.join(path, after)
    found = list_directory(root, path, job, depth, glob, limit, resume)
    strip = 0 if path == "." else len(path) + 1
    return {
        "names": [one["path"][strip:] + ("/" if one["type"] == "directory" else "") for one in found["entries"]],
        "targets": {one["path"][strip:]: one["target"] for one in found["entries"] if one["target"] is not None},
        "after": None if found["after"] is None else found["after"][strip:],
        "unreadable": found["unreadable"],
    }


def _names_of_one(root: Root, path: str, limit: int) -> Dict[str, Any]:
    """List one whole directory with as little as possible done for each entry: a page of a thousand is a third of
    the time of a walk."""
    with root.locate(path) as place:
        fd = place.open_directory()
    try:
        directories = set()
        links = set()
        found: List[str] = []
        with os_errors(path), os.scandir(fd) as entries:
            for entry in entries:
                found.append(entry.name)
                if not entry.is_file(follow_symlinks=False):
                    if entry.is_dir(follow_symlinks=False):
                        directories.add(entry.name)
                    elif entry.is_symlink():
                        links.add(entry.name)
        found = [name for name in found if not name.startswith(names.OWN_PREFIX)]
        # the order of the bytes, which for ASCII is that of the characters
        found.sort(key=None if "".join(found).isascii() else os.fsencode)
        page = found[:limit]
        targets = {}
        for name in links.intersection(page):
            with suppress(OSError):
                targets[name] = os.readlink(name, dir_fd=fd)
    finally:
        os.close(fd)
    return {
        "names": [name + "/" if name in directories else name for name in page] if directories else page,
        "targets": targets,
        "after": page[-1] if len(found) > limit else None,
        "unreadable": [],
    }


def _info(entry: Entry, path: str, details: bool) -> Optional[Dict[str, Any]]:
    """Describe an entry under the name the caller knows, None if it is gone by now."""
    try:
        target = entry.readlink() if entry.kind == "symlink" else None
        if details:
            return describe(path, entry.lstat(), target)
    except OSError:
        return None
    return {"path": path, "type": entry.kind, "target": target}


def _below(start: str, path: str) -> "tuple[str, ...]":
    """Return the parts of ``path`` below ``start``. Raises invalid_argument for a cursor from elsewhere."""
    above, parts = names.parts(start), names.parts(path)
    if parts[: len(above)] != above:
        raise GuestError("invalid_argument", path, "the cursor belongs to another listing", "start without a cursor")
    return tuple(parts[len(above) :])
