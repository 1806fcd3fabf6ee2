"""``Devbox.fs``: everything that can be done with files."""

from __future__ import annotations

from typing import BinaryIO, TextIO, overload

from devbox_mcp.client.blocking.transferring import Transferring
from devbox_mcp.client.blocking.watching import Watch
from devbox_mcp.client.connection import PathText
from devbox_mcp.client.files import ReadBytes, TextMode, WriteBytes
from devbox_mcp.client.openfiles import open_file


class Files(Transferring):
    """The files of a devbox. Paths are relative to the root, or absolute and beneath it; sizes are bytes, times
    seconds since 1970, versions sha256 in hex. Every method raises DevboxError and nothing else: Unavailable where
    the devbox cannot be reached, EscapesRoot and InvalidArgument for paths, and what is written at each. Only what is
    of another type than it has to be is a TypeError, before anything is done. Any number of threads may call at
    once."""

    @overload
    def open(
        self,
        path: PathText,
        mode: TextMode = "r",
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        if_match: str | None = None,
    ) -> TextIO: ...

    @overload
    def open(self, path: PathText, mode: ReadBytes | WriteBytes, *, if_match: str | None = None) -> BinaryIO: ...

    def open(
        self,
        path: PathText,
        mode: str = "r",
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        if_match: str | None = None,
    ) -> TextIO | BinaryIO:
        """Open a file object: ``with box.fs.open("a.csv") as file: file.read()``.

        What is read is of the version that was opened: Conflict once the file is another. What is written becomes
        the file when it is closed, atomically; if the block raises, nothing does. Text is UTF-8 unless ``encoding``
        says otherwise. ``if_match`` opens, or replaces, that version only.

        Raises NotFound, IsDirectory, Exists, Conflict, InvalidArgument for another mode.
        """
        return self._portal.run(
            open_file(
                self._connection, path, mode, self._portal.run, encoding=encoding, errors=errors, newline=newline,
                if_match=if_match,
            )
        )  # fmt: skip

    def watch(self, path: PathText = ".", *, recursive: bool = True) -> Watch:
        """Watch a directory: iterate over what changes, or decorate a function that is called with every Event.

        Raises NotFound, NotDirectory, Unsupported where the devbox cannot watch.
        """
        return Watch(self._connection, self._portal, path, recursive=recursive)
