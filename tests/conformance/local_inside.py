"""A sandbox that is a directory of this machine: the local backend's, and every other's that is tried on one."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from .inside import MADE, Entry, Hard, Inside, Kind, Link, Seen, Tree

_KINDS = {
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFSOCK: Kind.SOCKET,
    stat.S_IFCHR: Kind.DEVICE,
}
_NOBODY = 65534


class LocalInside(Inside):
    """The root is ``base/root``."""

    def __init__(self, base: Path) -> None:
        self.root = os.path.realpath(base / "root")
        os.mkdir(self.root)

    def _host(self, path: str) -> str:
        return os.path.normpath(os.path.join(self.root, path))

    def make(self, tree: Tree) -> None:
        for path, entry in tree.items():
            host = self._host(path)
            os.makedirs(os.path.dirname(host), exist_ok=True)
            if isinstance(entry, bytes):
                self._make_file(host, entry)
            elif isinstance(entry, Link):
                os.symlink(entry.target, host)
            elif isinstance(entry, Hard):
                os.link(self._host(entry.path), host)
            else:
                _make_special(host, entry)

    @staticmethod
    def _make_file(host: str, data: bytes) -> None:
        new = not os.path.lexists(host)
        with open(host, "wb") as file:
            file.write(data)
        if new:
            os.utime(host, (MADE, MADE))

    def snapshot(self, path: str = ".") -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        start = self._host(path)
        for directory, directories, files in os.walk(start, onerror=_raise):
            for name in directories + files:
                host = os.path.join(directory, name)
                found[os.path.relpath(host, start)] = _entry(host)
        return found

    def look(self, path: str) -> Seen:
        host = self._host(path)
        st = os.lstat(host)
        attributes = {}
        if sys.platform == "linux" and not stat.S_ISLNK(st.st_mode):
            names = [name for name in os.listxattr(host) if name.startswith("user.")]
            attributes = {name: os.getxattr(host, name) for name in names}
        return Seen(
            stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_nlink, st.st_ino, st.st_mtime_ns / 1e9, attributes
        )

    def give(
        self,
        path: str,
        *,
        mode: int | None = None,
        owner: tuple[int, int] | None = None,
        attributes: Mapping[str, bytes] | None = None,
        modified: float | None = None,
    ) -> None:
        host = self._host(path)
        if owner is not None:
            if os.geteuid() != 0:
                pytest.skip("only root gives files away")
            os.chown(host, *owner, follow_symlinks=False)
        if mode is not None:
            os.chmod(host, mode)
        for name, value in (attributes or {}).items():
            try:
                os.setxattr(host, name, value)
            except (AttributeError, OSError) as error:
                pytest.skip(f"no extended attributes here: {error}")
        if modified is not None:
            os.utime(host, (modified, modified))

    def rename(self, source: str, destination: str) -> None:
        os.replace(self._host(source), self._host(destination))

    def remove(self, path: str) -> None:
        host = self._host(path)
        if os.path.isdir(host) and not os.path.islink(host):
            shutil.rmtree(host)
        else:
            os.unlink(host)

    def release(self, fifo: str) -> None:
        os.close(os.open(self._host(fifo), os.O_RDWR | os.O_NONBLOCK))

    def umask(self) -> int:
        umask = os.umask(0o077)
        os.umask(umask)
        return umask

    @contextmanager
    def unprivileged(self) -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(_NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)


def _raise(error: OSError) -> None:
    raise error


def _entry(host: str) -> Entry:
    mode = os.lstat(host).st_mode
    if stat.S_ISLNK(mode):
        return Link(os.readlink(host))
    if stat.S_ISREG(mode):
        with open(host, "rb") as file:
            return file.read()
    return _KINDS[stat.S_IFMT(mode)]


def _make_special(host: str, kind: Kind) -> None:
    if kind is Kind.DIRECTORY:
        os.makedirs(host, exist_ok=True)
    elif kind is Kind.FIFO:
        os.mkfifo(host)
    elif kind is Kind.SOCKET:
        # the name of a socket is at most 107 bytes long, a temporary directory's path may be longer
        with socket.socket(socket.AF_UNIX) as server:
            directory = os.open(os.path.dirname(host), os.O_RDONLY)
            try:
                server.bind(f"/proc/self/fd/{directory}/{os.path.basename(host)}")
            finally:
                os.close(directory)
    else:
        try:
            os.mknod(host, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # zero: a read would never end
        except PermissionError:
            pytest.skip("only root makes devices")
