"""New content on its way to a name: written beside it under a hidden name, flushed, then renamed over it."""

import errno
import hashlib
import os
from contextlib import suppress
from types import TracebackType
from typing import Iterable, Optional, Type, final

from . import attributes, names
from .contents import copy_file, write_all
from .durable import flush, start_writing
from .errors import GuestError, from_os_error
from .info import CHUNK
from .job import Job
from .locks import Parent, try_lock
from .renaming import rename_new

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@final
class Draft:
    """A hidden file in the directory ``parent``, locked while it is open, gone on leaving the context unless
    ``publish`` gave it its name or ``keep`` left it for later. ``path`` is what its errors name; ``size`` is what it
    holds so far. Where the system fails, it raises OSError."""

    def __init__(self, parent: Parent, path: str, name: str, fd: int, digest: "Optional[hashlib._Hash]" = None) -> None:
        """Take over the open file ``fd``, which is called ``name``; ``digest`` is that of all that it holds, None for
        an empty one."""
        self.fd = fd
        self.digest = digest or hashlib.sha256()
        self._parent = parent
        self._path = path
        self._name = name
        self._pending = True
        self._flushed = False
        try:
            self.size = 0 if digest is None else os.fstat(fd).st_size
            try_lock(fd)
        except OSError:
            self.discard()
            raise

    @classmethod
    def create(cls, parent: Parent, path: str, mode: int = 0o600, name: Optional[str] = None) -> "Draft":
        """Begin an empty one. ``mode`` meets the umask, as for any new file."""
        name = names.own_name("part") if name is None else name
        return cls(parent, path, name, os.open(name, _CREATE, mode, dir_fd=parent.fd))

    @property
    def name(self) -> str:
        """The name it has now."""
        return self._name

    @property
    def sha256(self) -> str:
        """The hash of what was written so far, in hex."""
        return self.digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self._flushed = False
        self.digest.update(data)
        self.size += len(data)
        write_all(self.fd, data)

    def fill(self, body: Iterable[bytes], job: Job) -> None:
        """Add everything that ``body`` yields."""
        for chunk in body:
            job.check(self._path)
            self.write(chunk)
            job.advance(len(chunk))

    def add_file(self, fd: int, job: Job) -> None:
        """Add the whole of an open file, from its start."""
        offset = 0
        while True:
            chunk = os.pread(fd, CHUNK, offset)
            if not chunk:
                return
            job.check(self._path)
            self.write(chunk)
            offset += len(chunk)

    def copy_file(self, fd: int, job: Job) -> None:
        """Become a copy of an open file, made by the kernel where it can; ``sha256`` does not tell its hash."""
        self._flushed = False
        self.size = copy_file(fd, self.fd, self._path, job)

    def verify(self, sha256: Optional[str]) -> None:
        """Raise integrity where the bytes are not those that the sender hashed."""
        if sha256 is not None and self.sha256 != sha256.lower():
            raise GuestError("integrity", self._path, "the bytes that arrived are not the bytes that were sent")

    def become_new(self, executable: Optional[bool]) -> None:
        """Take on what a new file has; for a draft made with mode 0666."""
        self._flushed = False
        attributes.make_new(self._parent.fd, self.fd, self._name, executable)

    def become_like(self, old_fd: int, old: os.stat_result, executable: Optional[bool] = None) -> None:
        """Take over what the file that is to be replaced, ``old_fd``, has."""
        self._flushed = False
        attributes.keep(self.fd, old_fd, executable, old)

    def set_mode(self, mode: int) -> None:
        """Set the permission bits."""
        self._flushed = False
        os.fchmod(self.fd, mode & 0o777)

    def start_writing(self) -> None:
        """Begin writing to disk without waiting, where many drafts are flushed together."""
        start_writing(self.fd)

    def flush(self) -> None:
        """Wait until the disk has it, unless it has it already. Raises integrity if it then is not as long as
        what was written."""
        if self._flushed:
            return
        flush(self.fd)
        self.note_flushed()

    def note_flushed(self) -> None:
        """The disk has it, as everything on its file system. Raises integrity as ``flush`` does."""
        size = self.stat().st_size
        if size != self.size:
            raise GuestError("integrity", self._path, "the file system kept %d of %d bytes" % (size, self.size))
        self._flushed = True

    def cut(self, size: int, digest: "hashlib._Hash") -> None:
        """Drop what was written behind ``size``; ``digest`` is that of the rest."""
        os.ftruncate(self.fd, size)
        os.lseek(self.fd, 0, os.SEEK_END)
        self.size, self.digest = size, digest

    def keep(self) -> None:
        """Leave it as it is, under its hidden name."""
        self._pending = False
        self.shut()

    def shut(self) -> None:
        """Close the file but keep it hidden; its youth keeps it from being swept."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def reopen(self) -> None:
        """Open the file again if it was shut, to change its attributes."""
        if self.fd < 0:
            self.fd = os.open(self._name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._parent.fd)

    def publish(self, name: str, new: bool) -> None:
        """Rename it to ``name``; with ``new`` the name must be free. Raises exists, busy, is_directory."""
        try:
            if new:
                rename_new(self._parent.fd, self._name, self._parent.fd, name)
            else:
                os.rename(self._name, name, src_dir_fd=self._parent.fd, dst_dir_fd=self._parent.fd)
        except OSError as error:
            mapped = from_os_error(error, self._path)
            if error.errno == errno.EBUSY:
                mapped.hint = "it is a mount point: write or edit it with in_place=true, which is not atomic"
            raise mapped from error
        self._pending = False
        self._name = name

    def stat(self) -> os.stat_result:
        """Return the stat of the file under the name it has now."""
        if self.fd >= 0:
            return os.fstat(self.fd)
        return os.stat(self._name, dir_fd=self._parent.fd, follow_symlinks=False)

    def discard(self) -> None:
        """Close it, and remove it unless it was published."""
        if self._pending:
            self._pending = False
            with suppress(OSError):  # the directory itself is gone, or the disk is; a sweep will come
                os.unlink(self._name, dir_fd=self._parent.fd)
        self.shut()

    def __enter__(self) -> "Draft":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.discard()
