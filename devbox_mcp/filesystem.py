"""The fsspec file system ``devbox``: pandas, DuckDB and whatever else knows fsspec read and write devboxes.

A URL is ``devbox://`` and a path from the devbox's root; which devbox is meant is said by the storage option ``box``.
Errors are those of ``OSError`` that fsspec's users expect, with the project's own as their cause.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, cast

try:
    from fsspec import AbstractFileSystem
    from fsspec.callbacks import DEFAULT_CALLBACK
    from fsspec.utils import isfilelike, stringify_path
except ModuleNotFoundError as error:
    raise ImportError("the packages for fsspec are missing; pip install 'devbox-mcp[fsspec]'") from error

from devbox_mcp.client.blocking.devbox import Devbox, forgettable
from devbox_mcp.client.shapes import FileInfo
from devbox_mcp.errors import DevboxError

#: By code of our errors; whatever is not here is EIO. Python makes FileNotFoundError and so on of these.
_ERRNO = {
    "not_found": errno.ENOENT,
    "exists": errno.EEXIST,
    "is_directory": errno.EISDIR,
    "not_directory": errno.ENOTDIR,
    "not_empty": errno.ENOTEMPTY,
    "escapes_root": errno.EACCES,
    "permission_denied": errno.EACCES,
    "denied": errno.EACCES,
    "forbidden": errno.EACCES,
    "unauthenticated": errno.EACCES,
    "too_many_links": errno.ELOOP,
    "read_only": errno.EROFS,
    "too_large": errno.EFBIG,
    "no_space": errno.ENOSPC,
    "busy": errno.EBUSY,
    "unsupported": errno.EOPNOTSUPP,
    "timeout": errno.ETIMEDOUT,
    "unavailable": errno.ECONNREFUSED,
    "invalid_argument": errno.EINVAL,
}
#: Ranges that are read at the same time.
_RANGES = 8
_LINKS = ("symlink",)


@contextmanager
def _as_os_errors(path: str) -> Iterator[None]:
    try:
        yield
    except DevboxError as error:
        raise OSError(_ERRNO.get(error.code, errno.EIO), str(error), path) from error


class DevboxFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The files of a devbox::

        pandas.read_csv("devbox://data/x.csv", storage_options={"box": "https://files.example.com/v1/devboxes/shop"})

    Instances are not cached: a connection lasts as long as its file system or a file of it is in use, and never
    longer than the credentials that it was opened with. Writing is atomic file by file; there are no transactions.
    """

    protocol = "devbox"
    root_marker = ""
    cachable = False

    def __init__(
        self,
        box: str | os.PathLike[str] | Devbox | None = None,
        *,
        devbox: str | os.PathLike[str] | None = None,
        api_key: str | None = None,
        read_only: bool = False,
        deny: Sequence[str] = (),
        force: bool = False,
        **storage_options: Any,
    ) -> None:
        """``box`` (or ``devbox``) is a DEVBOX, or an open Devbox; the rest is as for Devbox. Nothing is opened before
        the first call. Raises ValueError without a box."""
        super().__init__(**storage_options)
        meant = devbox if box is None else box
        if meant is None:
            raise ValueError('which devbox? pass storage_options={"box": "DIRECTORY or URL"}')
        if isinstance(meant, Devbox):
            self.box = meant
        else:
            self.box = forgettable(Devbox(meant, api_key=api_key, read_only=read_only, deny=deny, force=force))

    @property
    def fsid(self) -> str:
        """What tells this file system from others, without its credentials."""
        return f"devbox_{self.box!r}"

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """Return what makes this file system again; the key counts as a password."""
        found: dict[str, Any] = super().to_dict(include_password=include_password)
        return found if include_password else {name: value for name, value in found.items() if name != "api_key"}

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """Return a path from the root; the root is empty."""
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        text = stringify_path(path)
        for prefix in ("devbox://", "devbox::"):
            text = text.removeprefix(prefix)
        return text.strip("/")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.box!r})"

    __str__ = __repr__

    # -- looking

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Describe an entry; what a link leads to, with ``islink``."""
        name = self._strip_protocol(path)
        with _as_os_errors(name):
            return _described(self.box.fs.stat(name or "."))

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List a directory, or describe a file."""
        name = self._strip_protocol(path)
        with _as_os_errors(name):
            here = self.box.fs.stat(name or ".")
            entries = self.box.fs.list_dir(name or ".") if here.is_dir else [here]
            found = [_described(self._led(entry)) for entry in entries]
        return found if detail else [entry["name"] for entry in found]

    def _led(self, entry: FileInfo) -> FileInfo:
        """Return what a link in a listing leads to; the link itself where it leads nowhere."""
        if entry.type not in _LINKS:
            return entry
        try:
            return self.box.fs.stat(entry.path)
        except DevboxError:
            return entry

    def created(self, path: str) -> NoReturn:
        """Not known: what file systems call so is not the same everywhere."""
        raise NotImplementedError

    def modified(self, path: str) -> datetime:
        """Return when a file was last changed."""
        return datetime.fromtimestamp(self.info(path)["mtime"], UTC)

    def checksum(self, path: str) -> str:  # type: ignore[override, unused-ignore]  # theirs is a number
        """Return a file's sha256 in hex."""
        name = self._strip_protocol(path)
        with _as_os_errors(name):
            return self.box.fs.stat(name, sha256=True).sha256 or ""

    # -- reading and writing

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        if "b" in mode or compression is not None:
            return super().open(path, mode, block_size, cache_options, compression, **kwargs)
        text = {name: kwargs.pop(name) for name in ("encoding", "errors", "newline") if name in kwargs}
        return self._open_any(self._strip_protocol(path), mode, **text)

    def _open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> Any:
        return self._open_any(path, mode)

    def _open_any(self, path: str, mode: str, **text: Any) -> Any:
        opening = cast("Callable[..., Any]", self.box.fs.open)
        with _as_os_errors(path):
            return opening(path or ".", mode, **text)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return a file's bytes, or a slice of them as of a sequence."""
        name = self._strip_protocol(path)
        with _as_os_errors(name):
            if (start or 0) < 0 or (end or 0) < 0:
                start, end, _step = slice(start, end).indices(self.box.fs.stat(name).size)
            length = None if end is None else max(end - (start or 0), 0)
            return self.box.fs.read_bytes(name or ".", offset=start or 0, length=length)

    def cat_ranges(
        self,
        paths: list[str],
        starts: int | list[int] | None,
        ends: int | list[int] | None,
        max_gap: int | None = None,
        on_error: str = "return",
        **_: Any,
    ) -> list[bytes | Exception]:
        """Return slices of files, some of them at the same time."""
        froms = starts if isinstance(starts, list) else [starts] * len(paths)
        tos = ends if isinstance(ends, list) else [ends] * len(paths)
        if len(froms) != len(paths) or len(tos) != len(paths):
            raise ValueError("paths, starts and ends are not of one length")

        def one(path: str, start: int | None, end: int | None) -> bytes | Exception:
            try:
                return self.cat_file(path, start, end)
            except OSError as error:
                if on_error != "return":
                    raise
                return error

        with ThreadPoolExecutor(_RANGES) as pool:
            return list(pool.map(one, paths, froms, tos))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Write a whole file; ``create`` fails if something is there."""
        name = self._strip_protocol(path)
        with _as_os_errors(name):
            self.box.fs.write_file(name or ".", value, mode="create" if mode == "create" else "overwrite")

    def get_file(
        self, rpath: str, lpath: Any = None, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **_: Any
    ) -> None:
        """Copy a file to this machine, verified; a directory is made."""
        name = self._strip_protocol(rpath)
        target = lpath if outfile is None else outfile
        if not isfilelike(target):
            if self.isdir(name):
                Path(target).mkdir(parents=True, exist_ok=True)
                return
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        with _as_os_errors(name):
            self.box.fs.download_large_file(name or ".", target, on_progress=_told(callback))

    def put_file(
        self, lpath: Any, rpath: str, callback: Any = DEFAULT_CALLBACK, mode: str = "overwrite", **_: Any
    ) -> None:
        """Copy a file of this machine, verified; a directory is made."""
        name = self._strip_protocol(rpath)
        if Path(lpath).is_dir():
            self.makedirs(name, exist_ok=True)
            return
        with _as_os_errors(name):
            self.box.fs.upload_large_file(lpath, name or ".", create=mode == "create", on_progress=_told(callback))

    # -- directories and the rest

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Make a directory. Raises FileExistsError, FileNotFoundError for a missing parent if not to be made."""
        name = self._strip_protocol(path)
        if not create_parents:
            self.info(self._parent(name))
        self.makedirs(name)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a directory and its missing parents. Raises FileExistsError."""
        name = self._strip_protocol(path)
        with _as_os_errors(name):
            created = self.box.fs.make_dir(name or ".")
        if not created and not exist_ok:
            raise FileExistsError(errno.EEXIST, "there is a directory already", name)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        name = self._strip_protocol(path)
        if not self.isdir(name):
            raise NotADirectoryError(errno.ENOTDIR, "this is not a directory", name)
        self.rm_file(name)

    def rm_file(self, path: str) -> None:
        """Remove a file, a link, or an empty directory."""
        name = self._strip_protocol(path)
        with _as_os_errors(name):
            self.box.fs.delete(name or ".")

    _rm = rm_file

    def rm(self, path: str | list[str], recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove what paths and globs name; with ``recursive``, directories in one call each."""
        if maxdepth is not None or not recursive:
            super().rm(path, recursive=recursive, maxdepth=maxdepth)
            return
        for one in self.expand_path(path):
            with _as_os_errors(one):
                self.box.fs.delete(one or ".", recursive=True)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy a file within the devbox; a directory is made."""
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if self.isdir(source):
            self.makedirs(target, exist_ok=True)
            return
        with _as_os_errors(source):
            self.box.fs.copy(source, target, overwrite=True)

    def mv(self, path1: str, path2: str, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any) -> None:
        """Move a file by renaming it, and a directory too where nothing is at its new place."""
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if isinstance(source, str) and isinstance(target, str) and source != target:
            into = path2.endswith("/") or self.isdir(target)
            if self.isfile(source) or (recursive and not into and self.isdir(source)):
                place = f"{target}/{source.rpartition('/')[2]}".lstrip("/") if into else target
                with _as_os_errors(source):
                    self.box.fs.move(source, place, overwrite=True)
                return
        super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth, **kwargs)

    @property
    def transaction(self) -> NoReturn:
        """Refused: every file is written atomically, and no two of them together."""
        raise NotImplementedError("a devbox has no transactions")

    def start_transaction(self) -> NoReturn:
        """Refused as well."""
        raise NotImplementedError("a devbox has no transactions")


def _described(entry: FileInfo) -> dict[str, Any]:
    """Return an entry as fsspec has it."""
    return {
        "name": "" if entry.path == "." else entry.path,
        "size": None if entry.type == "directory" else entry.size,
        "type": entry.type,
        "mtime": entry.modified,
        "mode": entry.mode,
        "islink": entry.target is not None,
        "revision": entry.revision,
    }


def _told(callback: Any) -> Callable[[int, int | None], None]:
    """Return what tells an fsspec callback."""

    def on_progress(done: int, total: int | None) -> None:
        if total is not None and callback.size != total:
            callback.set_size(total)
        callback.absolute_update(done)

    return on_progress
