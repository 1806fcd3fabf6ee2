"""Directories, page by page."""

from typing import Any, Dict, List, Optional

from . import names
from .beneath import Root
from .errors import GuestError
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
