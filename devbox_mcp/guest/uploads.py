"""A file that arrives in chunks, each verified, over as many sessions as it takes.

What has arrived lies beside the target under a hidden name, which is the upload's token. It outlives the session that
began it, and is swept when nobody has added to it for a day. Nothing is seen of it until it is finished, which is a
write like any other.
"""

import errno
import hashlib
import os
import re
import threading
from collections import OrderedDict
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterable, Iterator, NamedTuple, Optional, Set

from . import names, targets
from .beneath import Root
from .contents import copy_rest
from .drafts import Draft
from .errors import GuestError, os_errors
from .info import CHUNK
from .job import Job
from .locks import Parent, try_lock
from .places import Place, check_regular
from .sweep import sweep_once
from .targets import Target
from .versions import check_prefix
from .writing import check_mode, settle

_KIND = "upload"
_TOKEN = re.compile(r"[0-9a-f]{16}")
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_REMEMBERED = 64
_LOOK = 0.1  # seconds between two looks whether to go on waiting
#: What keeps an upload from its end today and may not tomorrow: what has arrived stays.
_PASSING = ("busy", "cancelled", "no_space", "timeout")


class _Arrived(NamedTuple):
    size: int
    digest: "hashlib._Hash"


class Uploads:
    """The uploads beneath a root; may be used from several threads."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._lock = threading.Lock()
        #: What verified bytes hash to, so that they are not read again; another session's are.
        self._arrived: OrderedDict[str, _Arrived] = OrderedDict()
        self._changed = threading.Condition()
        self._adding: Set[str] = set()

    def begin(
        self, path: str, token: str, job: Job, *, mode: str = "overwrite", if_match: Optional[str] = None
    ) -> None:
        """Make room for an upload to ``path``. The caller makes up the ``token``, 16 random hex digits, so that it
        can abandon what it does not know to have begun, and begin it twice. What can be refused now is refused now:
        see ``writing.write``."""
        check_mode(mode, path)
        name = _name(token, path)
        with os_errors(path), targets.locate(self._root, path, if_match) as place, Parent(place) as parent:
            target = Target(place, parent, path, create=mode == "create")
            target.look_again(if_match, job)  # what counts is the look at the end, but most conflicts show here
            sweep_once(self._root, parent)
            try:
                draft = Draft.create(parent, path, 0o600 if target.exists else 0o666, name)
            except FileExistsError:
                return
            self._remember(token, _Arrived(0, draft.digest.copy()))
            draft.keep()

    def add(
        self,
        path: str,
        token: str,
        offset: int,
        body: Iterable[bytes],
        job: Job,
        sha256: Optional[Callable[[], str]],
        *,
        early: bool = False,
    ) -> str:
        """Add a chunk behind the first ``offset`` bytes, which have arrived; what lies behind them is dropped, for an
        acknowledgement may have got lost. ``sha256`` tells, when the chunk is through, what all that has arrived
        hashes to; None where ``body`` verifies itself.

        Returns the token to go on with: another one where a session that is lost, but not ended, still holds this
        one. Raises not_found for an upload that is gone, conflict where fewer bytes have arrived, integrity.

        A chunk that is ``early`` waits for the one before it, and is refused unless just that has arrived: conflict,
        or busy where another session holds it.
        """
        with self._turn(path, token, job, early), os_errors(path), self._place(path, token) as place, Parent(
            place
        ) as parent:
            draft = self._resumed(parent, path, token, offset, job, exact=early)
            return self._filled(draft, body, path, job, sha256, draft.digest)

    def extend(
        self, path: str, token: str, offset: int, body: Iterable[bytes], job: Job, sha256: Optional[Callable[[], str]]
    ) -> int:
        """Add a chunk where the upload stands, all of it or none, and return how much has arrived then; for senders
        that may meet each other. ``sha256`` tells the chunk's hash when it is through; None where ``body`` verifies
        itself.

        Raises not_found for an upload that is gone, conflict where it stands elsewhere (``size`` tells where), busy
        while somebody else adds to it, integrity.
        """
        with os_errors(path), self._place(path, token) as place, Parent(place) as parent:
            draft = self._resumed(parent, path, token, offset, job, exact=True)
            self._filled(draft, body, path, job, sha256, hashlib.sha256())
            return draft.size

    def size(self, path: str, token: str) -> int:
        """Return how much has arrived. Raises not_found for an upload that is gone."""
        name = _name(token, path)
        with os_errors(path), self._root.locate(path) as place, Parent(place) as parent:
            fd = _open(parent, path, name)
            try:
                st = os.fstat(fd)
            finally:
                os.close(fd)
            _check(st, path)
            return st.st_size

    def finish(
        self,
        path: str,
        token: str,
        size: int,
        sha256: Optional[str],
        job: Job,
        *,
        mode: str = "overwrite",
        if_match: Optional[str] = None,
        executable: Optional[bool] = None,
        in_place: bool = False,
        exact: bool = False,
    ) -> Dict[str, Any]:
        """Let an upload of ``size`` bytes become the file; the rest is as for ``writing.write``. Without a ``sha256``
        what lies there must be what had arrived, as far as this session saw it. Whatever comes of it, the upload is
        over; with ``exact``, which is for those who ``extend``, it stays where it may be finished later."""
        check_mode(mode, path)
        with os_errors(path), self._place(path, token, if_match) as place, Parent(place) as parent, self._resumed(
            parent, path, token, size, job, exact=exact
        ) as draft:
            try:
                if sha256 is None and self._recall(token, size) is not None:
                    sha256 = _hash(draft.fd, size, path, job).hexdigest()
                draft.verify(sha256)
                target = Target(place, parent, path, executable, create=mode == "create")
                answer = settle(
                    target, draft, job, mode=mode, if_match=if_match, executable=executable, in_place=in_place
                )
            except GuestError as error:
                if exact and error.code in _PASSING:
                    draft.keep()
                else:
                    self._forget(token)
                raise
            self._forget(token)
            return answer

    def abandon(self, path: str, token: str) -> None:
        """Remove what has arrived, if there is anything."""
        self._forget(token)
        name = _name(token, path)
        try:
            with os_errors(path), self._place(path, token) as place, Parent(place) as parent:
                os.unlink(name, dir_fd=parent.fd)
        except GuestError as error:
            if error.code != "not_found":
                raise

    @contextmanager
    def _turn(self, path: str, token: str, job: Job, wait: bool) -> Iterator[None]:
        """Note that somebody adds to an upload; with ``wait``, when nobody else in this session does."""
        with self._changed:
            while wait and token in self._adding:
                job.check(path)
                self._changed.wait(_LOOK)
            self._adding.add(token)
        try:
            yield
        finally:
            with self._changed:
                self._adding.discard(token)
                self._changed.notify_all()

    def _place(self, path: str, token: str, if_match: Optional[str] = None) -> Place:
        """Resolve the path of an upload that was begun: its parents are there, or it is gone."""
        _name(token, path)
        check_prefix(if_match, path)
        self._root.policy.check_write(path)
        return self._root.locate(path)

    def _filled(
        self,
        draft: Draft,
        body: Iterable[bytes],
        path: str,
        job: Job,
        sha256: Optional[Callable[[], str]],
        digest: "hashlib._Hash",
    ) -> str:
        """Add a chunk, all of it or none, and return the token to go on with. ``digest`` is what ``sha256`` is of."""
        size, before = draft.size, draft.digest.copy()
        try:
            _fill(draft, body, path, job, sha256, digest)
        except BaseException:
            draft.cut(size, before)
            raise
        else:
            token = draft.name.rpartition("-")[2]
            self._remember(token, _Arrived(draft.size, draft.digest.copy()))
            return token
        finally:
            draft.keep()

    def _resumed(self, parent: Parent, path: str, token: str, size: int, job: Job, *, exact: bool = False) -> Draft:
        """Open what has arrived, cut to ``size``, locked, and positioned at its end. With ``exact`` nothing is cut,
        and who holds it is not passed by."""
        name = _name(token, path)
        fd = _open(parent, path, name)
        try:
            free = try_lock(fd)
            _check_state(parent, name, os.fstat(fd), size, path, free=free, exact=exact)
            digest = self._recall(token, size) or _hash(fd, size, path, job)
            if not free:
                return self._moved(parent, path, fd, size, digest)
        except BaseException:
            os.close(fd)
            raise
        draft = Draft(parent, path, name, fd, digest)
        try:
            draft.cut(size, digest)
        except BaseException:
            draft.keep()
            raise
        return draft

    def _moved(self, parent: Parent, path: str, fd: int, size: int, digest: "hashlib._Hash") -> Draft:
        """Go on in a copy: somebody who is cut off may still write into the old file."""
        draft = Draft.create(parent, path, os.fstat(fd).st_mode & 0o777, names.own_name(_KIND))
        try:
            os.lseek(fd, 0, os.SEEK_SET)
            copy_rest(fd, draft.fd, path)
            draft.cut(size, digest)
        except BaseException:
            draft.discard()
            raise
        finally:
            os.close(fd)
        return draft

    def _recall(self, token: str, size: int) -> "Optional[hashlib._Hash]":
        with self._lock:
            arrived = self._arrived.get(token)
        return arrived.digest.copy() if arrived is not None and arrived.size == size else None

    def _remember(self, token: str, arrived: _Arrived) -> None:
        with self._lock:
            self._arrived[token] = arrived
            self._arrived.move_to_end(token)
            while len(self._arrived) > _REMEMBERED:
                self._arrived.popitem(last=False)

    def _forget(self, token: str) -> None:
        with self._lock:
            self._arrived.pop(token, None)


def _name(token: str, path: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise GuestError("invalid_argument", path, "this is no token of an upload")
    return "%s%s-%s" % (names.OWN_PREFIX, _KIND, token)


def _open(parent: Parent, path: str, name: str) -> int:
    try:
        return os.open(name, _FLAGS, dir_fd=parent.fd)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP):
            raise
        raise _gone(path) from error


def _check_state(
    parent: Parent, name: str, st: os.stat_result, size: int, path: str, *, free: bool, exact: bool
) -> None:
    """Look under the lock: until then somebody may have finished it, and it be the file."""
    if exact and not free:
        raise GuestError("busy", path, "somebody else is adding to this upload", "try again in a moment")
    if not _is_named(parent, name, st):
        raise _gone(path)
    _check(st, path)
    if st.st_size < size or (exact and st.st_size != size):
        detail = "%d bytes have arrived, not %d" % (st.st_size, size)
        raise GuestError("conflict", path, detail, "go on from where it stands", size=st.st_size)


def _is_named(parent: Parent, name: str, st: os.stat_result) -> bool:
    try:
        there = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (st.st_dev, st.st_ino)


def _gone(path: str) -> GuestError:
    return GuestError("not_found", path, "the upload is gone", "begin again")


def _check(st: os.stat_result, path: str) -> None:
    check_regular(st, path)
    # a name more would be another file's, put here to be cut
    if st.st_uid != os.geteuid() or st.st_nlink != 1:
        raise GuestError("permission_denied", path, "the upload is another user's", "begin again")


def _fill(
    draft: Draft,
    body: Iterable[bytes],
    path: str,
    job: Job,
    sha256: Optional[Callable[[], str]],
    digest: "hashlib._Hash",
) -> None:
    """Add a chunk. Raises integrity where it is not the one that was sent."""
    for piece in body:
        job.check(path)
        if digest is not draft.digest:
            digest.update(piece)
        draft.write(piece)
        job.advance(len(piece))
    if sha256 is not None and digest.hexdigest() != sha256():
        raise GuestError("integrity", path, "the bytes that arrived are not the bytes that were sent")
    draft.start_writing()  # what is on its way to the disk by then need not be waited for at the end


def _hash(fd: int, size: int, path: str, job: Job) -> "hashlib._Hash":
    digest = hashlib.sha256()
    offset = 0
    while offset < size:
        job.check(path)
        chunk = os.pread(fd, min(CHUNK, size - offset), offset)
        if not chunk:
            raise GuestError("conflict", path, "only %d of %d bytes have arrived" % (offset, size))
        digest.update(chunk)
        offset += len(chunk)
    return digest
