"""Many files in one go: written side by side, flushed together, and with ``atomic`` all of them or none."""

import itertools
import stat
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Set, Tuple, Union

from . import targets
from .beneath import Root
from .drafts import Draft
from .durable import already_made, flush_all, flushes_at_once
from .errors import GuestError, from_os_error
from .job import Job
from .locks import Parent, locked
from .places import Place
from .rollback import Replacements
from .sweep import sweep_once
from .targets import Target, written

_OPEN = 64  # files, and directories, that are open at a time
_WAVE = 1024  # files that are put in their places together
_MANY = 16  # files that it pays to flush at once, with whatever others left unwritten


def write_batch(
    root: Root,
    items: Sequence[Dict[str, Any]],
    job: Job,
    *,
    atomic: bool = False,
    verify: Callable[[], None] = lambda: None,
) -> List[Dict[str, Any]]:
    """Write files: ``path``, ``data``, ``executable`` and ``if_match`` of an item mean what they mean for ``write``,
    and a path may occur once. Where the bytes are still to come, ``data`` waits for those of its file; each is called
    once, in order, and ``verify`` behind the last. What they raise ends all, before anything has its name.

    Answers, for each item in order, ``path``, ``written`` (what ``write`` answers, or None) and ``error`` (a
    GuestError, or None). With ``atomic`` any error undoes everything, directories made on the way too; being killed
    in the middle does not, but still leaves each file whole.
    """
    files = [_File(item) for item in items]
    batch = _Batch(root, job)

    def complete() -> None:
        for file in files:
            file.arrive()
        verify()

    try:
        if atomic:
            batch.write_all(files, complete)
        else:
            batch.write_each(files, complete)
    except BaseException:
        batch.give_up()
        raise
    finally:
        batch.close()
    return [{"path": file.path, "written": None if file.error else file.written, "error": file.error} for file in files]


class _File:
    """One file of a batch, and what became of it."""

    def __init__(self, item: Dict[str, Any]) -> None:
        self.path: str = item["path"]
        self.data = b""
        self._coming: Union[bytes, Callable[[], bytes], None] = item["data"]
        self.executable: Optional[bool] = item.get("executable")
        self.if_match: Optional[str] = item.get("if_match")
        self.target: Optional[Target] = None
        self.draft: Optional[Draft] = None
        self.written: Optional[Dict[str, Any]] = None
        self.error: Optional[GuestError] = None
        self.previous: Optional[str] = None

    def arrive(self) -> None:
        """Wait for its bytes, whether it needs them or not: those of the next one come behind them."""
        coming, self._coming = self._coming, None
        if coming is not None:
            self.data = coming if isinstance(coming, bytes) else coming()

    def attempt(self, step: "Callable[[_File], None]") -> bool:
        """Take a step unless one failed before; return whether all went well so far."""
        if self.error is None:
            try:
                step(self)
            except GuestError as error:
                self.error = error
            except OSError as error:
                self.error = from_os_error(error, self.path)
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
        self._known: Dict[str, Parent] = {}
        self._at_once: Dict[int, bool] = {}
        self._made: List[str] = []
        self._drafts: List[Draft] = []

    def write_each(self, files: Sequence[_File], complete: Callable[[], None]) -> None:
        """Write files, each for itself. ``complete`` waits for all that is still to come."""
        for wave in _waves(files):
            self._stage(wave)
            complete()
            for run in _runs(wave):
                self._publish_run(run)
            self._flush_parents(wave)
            self.close()

    def write_all(self, files: Sequence[_File], complete: Callable[[], None]) -> None:
        """Write all of the files or none. ``complete`` as above."""
        self._stage(files)
        complete()
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
        """Write all new content, and wait until the disk has it."""
        many = len(files) >= _MANY
        together: List[_File] = []
        for start in range(0, len(files), _OPEN):
            few = files[start : start + _OPEN]
            alone: List[_File] = []
            for file in few:
                file.arrive()
                if file.attempt(self._draft):
                    target, draft = file.staged()
                    if many and self._flushes_at_once(target.parent):
                        together.append(file)
                    else:
                        draft.start_writing()
                        alone.append(file)
            for file in alone:
                file.attempt(_flush)
            for file in few:
                if file.draft is not None:
                    file.draft.shut()
        self._flush_at_once(together)

    def _flushes_at_once(self, parent: Parent) -> bool:
        device = parent.identity[0]
        if device not in self._at_once:
            self._at_once[device] = flushes_at_once(parent.fd)
        return self._at_once[device]

    def _flush_at_once(self, files: Sequence[_File]) -> None:
        flushed: Dict[int, Optional[GuestError]] = {}

        def flush(file: _File) -> None:
            target, draft = file.staged()
            device = target.parent.identity[0]
            if device not in flushed:
                flushed[device] = None
                try:
                    flush_all(target.parent.fd)
                except OSError as error:
                    flushed[device] = from_os_error(error, file.path)
            failure = flushed[device]
            if failure is not None:
                raise GuestError(failure.code, file.path, failure.detail)
            draft.note_flushed()

        for file in files:
            file.attempt(flush)

    def _draft(self, file: _File) -> None:
        """Write the file's new content beside it."""
        at, parent = self._locate(file)
        if (parent.identity, at.name) in self._taken:
            raise GuestError("invalid_argument", file.path, "the batch holds this file twice")
        self._taken.add((parent.identity, at.name))
        target = Target(at, parent, file.path, file.executable)
        sweep_once(self._root, parent)
        draft = target.draft()
        self._drafts.append(draft)
        try:
            draft.fill((file.data,), self._job)
            file.data = b""  # nothing needs it any more
            target.dress(draft)
        except (GuestError, OSError):
            draft.discard()  # at once, for on a full disk the others need its space
            raise
        file.target, file.draft = target, draft

    def _locate(self, file: _File) -> Tuple[Place, Parent]:
        """Return where the file is, and the one handle that the batch has for its directory."""
        directory, _, name = file.path.rpartition("/")
        parent = self._known.get(directory)
        if parent is not None:
            targets.check(self._root, file.path, file.if_match)
            at = Place(parent.fd, name, file.path, owned=False)
            st = at.look()
            if st is None or not stat.S_ISLNK(st.st_mode):
                return at, parent
        with targets.locate(self._root, file.path, file.if_match, self._made) as place:
            parent = self._parent(place)
            if place.path == file.path:  # no link is on the way: the next one need not be looked for
                self._known[directory] = parent
            at = Place(parent.fd, place.name, place.path, owned=False)
            at.st = place.st
        return at, parent

    def _parent(self, place: Place) -> Parent:
        parent = Parent(place)
        known = self._parents.setdefault(parent.identity, parent)
        if known is not parent:
            parent.close()
        return known

    def _publish_run(self, files: Sequence[_File]) -> None:
        """Put files of one directory in their places, under its lock."""
        try:
            with locked((files[0].staged()[0].parent,), self._job):
                for file in files:
                    file.attempt(self._publish)
        except GuestError as error:  # a lock that was not to be had
            for file in files:
                file.error = file.error or GuestError(error.code, file.path, error.detail, error.hint)

    def _publish(self, file: _File) -> None:
        target, draft = file.staged()
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

    def give_up(self) -> None:
        """Leave no directories behind either, in which nothing is."""
        self.close()
        self._root.remove_made(self._made)

    def close(self) -> None:
        """Remove what was not published, and close everything."""
        for draft in self._drafts:
            draft.discard()
        for parent in self._parents.values():
            parent.close()
        self._drafts.clear()
        self._parents.clear()
        self._known.clear()


def _waves(files: Sequence[_File]) -> Iterator[Sequence[_File]]:
    """Part files into such groups that the handles of their directories can be open together."""
    wave: List[_File] = []
    directories: Set[str] = set()
    for file in files:
        directory = file.path.rpartition("/")[0]
        if len(wave) == _WAVE or (len(directories) == _OPEN and directory not in directories):
            yield wave
            wave, directories = [], set()
        wave.append(file)
        directories.add(directory)
    if wave:
        yield wave


def _runs(files: Sequence[_File]) -> Iterator[Sequence[_File]]:
    """Yield those that are well so far, each time some in a row that are in one directory."""
    well = [file for file in files if file.error is None]
    for _, run in itertools.groupby(well, lambda file: file.staged()[0].parent):
        together = list(run)
        for start in range(0, len(together), _OPEN):
            yield together[start : start + _OPEN]


def _flush(file: _File) -> None:
    file.staged()[1].flush()


def _flush_parent(parent: Parent) -> Optional[GuestError]:
    try:
        parent.flush()
    except GuestError as error:
        return error
    return None
