"""Many files in one go: written side by side, flushed together, and with ``atomic`` all of them or none."""

from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from . import targets
from .beneath import Place, Root
from .drafts import Draft
from .durable import already_made
from .errors import GuestError, os_errors
from .job import Job
from .locks import Parent, locked
from .rollback import Replacements
from .sweep import sweep_once
from .targets import Target, written

_WAVE = 64  # files that are open, and flushed together, at a time


def write_batch(root: Root, items: Sequence[Dict[str, Any]], job: Job, *, atomic: bool = False) -> List[Dict[str, Any]]:
    """Write files: ``path``, ``data`` (bytes), ``executable`` and ``if_match`` of an item mean what they mean for
    ``write``, and a path may occur once.

    Answers, for each item in order, ``path``, ``written`` (what ``write`` answers, or None) and ``error`` (a
    GuestError, or None). With ``atomic`` any error undoes everything, directories made on the way too; being killed
    in the middle does not, but still leaves each file whole.
    """
    files = [_File(item) for item in items]
    batch = _Batch(root, job)
    try:
        if atomic:
            batch.write_all(files)
        else:
            for start in range(0, len(files), _WAVE):
                batch.write_each(files[start : start + _WAVE])
    finally:
        batch.close()
    return [{"path": file.path, "written": None if file.error else file.written, "error": file.error} for file in files]


class _File:
    """One file of a batch, and what became of it."""

    def __init__(self, item: Dict[str, Any]) -> None:
        self.path: str = item["path"]
        self.data: bytes = item["data"]
        self.executable: Optional[bool] = item.get("executable")
        self.if_match: Optional[str] = item.get("if_match")
        self.target: Optional[Target] = None
        self.draft: Optional[Draft] = None
        self.written: Optional[Dict[str, Any]] = None
        self.error: Optional[GuestError] = None
        self.previous: Optional[str] = None

    def attempt(self, step: "Callable[[_File], None]") -> bool:
        """Take a step unless one failed before; return whether all went well so far."""
        if self.error is None:
            try:
                with os_errors(self.path):
                    step(self)
            except GuestError as error:
                self.error = error
        return self.error is None

    def staged(self) -> Tuple[Target, Draft]:
        """Return what staging made."""
        assert self.target is not None
        assert self.draft is not None
        return self.target, self.draft


class _Batch:
    """The work on a batch; what is open is closed, and what was not published removed, by ``close``."""

    def __init__(self, root: Root, job: Job) -> None:
        self._root = root
        self._job = job
        self._parents: Dict[Tuple[int, int], Parent] = {}
        self._taken: Set[Tuple[Tuple[int, int], str]] = set()
        self._made: List[str] = []
        self._drafts: List[Draft] = []

    def write_each(self, files: Sequence[_File]) -> None:
        """Write files, each for itself."""
        self._stage(files)
        for file in files:
            file.attempt(self._publish)
        self._flush_parents(files)
        self.close()

    def write_all(self, files: Sequence[_File]) -> None:
        """Write all of the files or none."""
        for start in range(0, len(files), _WAVE):
            wave = files[start : start + _WAVE]
            self._stage(wave)
            for draft in self._drafts:
                draft.shut()
        if not any(file.error for file in files):
            try:
                with locked(self._parents.values(), self._job):
                    self._replace(files)
            except GuestError as error:  # a lock that was not to be had
                files[0].error = error
        self.close()
        failed = next((file for file in files if file.error is not None), None)
        if failed is not None:
            self._root.remove_made(self._made)
            for file in files:
                file.error = file.error or GuestError(
                    "cancelled", file.path, "nothing was written, because %s failed" % failed.path
                )

    def _stage(self, files: Sequence[_File]) -> None:
        for file in files:
            file.attempt(self._draft)
        for file in files:
            file.attempt(_flush)

    def _draft(self, file: _File) -> None:
        """Write the file's new content beside it."""
        with targets.locate(self._root, file.path, file.if_match, self._made) as place:
            parent = self._parent(place)
            at = Place(parent.fd, place.name, place.path, owned=False)
            at.st = place.st
        if (parent.identity, at.name) in self._taken:
            raise GuestError("invalid_argument", file.path, "the batch holds this file twice")
        self._taken.add((parent.identity, at.name))
        target = Target(at, parent, file.path, file.executable)
        sweep_once(self._root, parent)
        draft = target.draft()
        self._drafts.append(draft)
        try:
            draft.fill((file.data,), self._job)
            target.dress(draft)
        except (GuestError, OSError):
            draft.discard()  # at once, for on a full disk the others need its space
            raise
        draft.start_writing()
        file.target, file.draft = target, draft

    def _parent(self, place: Place) -> Parent:
        """Return the one handle that the batch has for a directory."""
        parent = Parent(place)
        known = self._parents.setdefault(parent.identity, parent)
        if known is not parent:
            parent.close()
        return known

    def _publish(self, file: _File) -> None:
        target, draft = file.staged()
        with locked((target.parent,), self._job):
            previous = target.look_again(file.if_match, self._job)
            old = target.publish(draft)
            with already_made(file.path):
                file.written = written(file.path, draft.stat(), draft.sha256, old, previous)

    def _replace(self, files: Sequence[_File]) -> None:
        """Publish all drafts, or take back those that were; the locks are held."""
        replacements = Replacements()

        def check(file: _File) -> None:
            file.previous = file.staged()[0].look_again(file.if_match, self._job)

        def publish(file: _File) -> None:
            target, draft = file.staged()
            old = replacements.publish(target, draft)
            file.written = written(file.path, draft.stat(), draft.sha256, old, file.previous)

        for file in files:
            file.attempt(check)
        if any(file.error for file in files):  # every conflict is told, not only the first
            return
        try:
            if all(file.attempt(publish) for file in files) and self._flush_parents(files):
                replacements.settle()
                return
        except BaseException:
            replacements.undo()
            raise
        lost = replacements.undo()
        if lost:
            for file in files:
                if file.error is not None:
                    file.error.hint = "these could not be put back: %s" % ", ".join(lost)

    def _flush_parents(self, files: Sequence[_File]) -> bool:
        """Make the new names durable, and return whether that succeeded for every directory."""
        errors = {parent: _flush_parent(parent) for parent in self._parents.values()}
        for file in files:
            if file.error is None:
                file.error = errors[file.staged()[0].parent]
        return not any(errors.values())

    def close(self) -> None:
        """Remove what was not published, and close everything."""
        for draft in self._drafts:
            draft.discard()
        for parent in self._parents.values():
            parent.close()
        self._drafts.clear()
        self._parents.clear()


def _flush(file: _File) -> None:
    file.staged()[1].flush()


def _flush_parent(parent: Parent) -> Optional[GuestError]:
    try:
        parent.flush()
    except GuestError as error:
        return error
    return None
