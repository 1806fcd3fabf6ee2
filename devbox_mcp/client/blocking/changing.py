"""Changing files and directories.

Made by tools/sync_face.py from client/changing.py: change it there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from devbox_mcp.client.blocking.reading import Reading
from devbox_mcp.client.connection import PathText
from devbox_mcp.client.shapes import Edited, FileInfo, Uploaded, Written
from devbox_mcp.edits import Edit
from devbox_mcp.models import WriteMode


class Changing(Reading):
    """What changes files. Every write is atomic: after any failure the old content is there, whole."""

    def write_file(
        self,
        path: PathText,
        content: str | bytes,
        *,
        mode: WriteMode = "overwrite",
        if_match: str | None = None,
        executable: bool | None = None,
        in_place: bool = False,
        encoding: str = "utf-8",
    ) -> Written:
        """Write a whole file, making missing parents. Text is written exactly as given. ``create`` fails if something
        is there, ``append`` adds at the end. ``in_place`` keeps hard links, and is not atomic.

        ``if_match`` (12 hex digits of the sha256 or more) writes only over that version; otherwise Conflict, whose
        ``data`` holds the ``sha256`` of what is there now, and a ``diff`` where both are text. Raises Exists,
        IsDirectory, NoSpace, ReadOnly.
        """
        return self._portal.run(
            self._files.write_file(
                path, content, mode=mode, if_match=if_match, executable=executable, in_place=in_place, encoding=encoding
            )
        )

    def append(self, path: PathText, content: str | bytes, *, if_match: str | None = None) -> Written:
        """Add text or bytes at the end of a file, which need not exist yet; as atomic as any other write.

        Raises IsDirectory, Conflict, NoSpace, ReadOnly.
        """
        return self._portal.run(self._files.append(path, content, if_match=if_match))

    def edit_file(
        self,
        path: PathText,
        edits: Sequence[Edit | tuple[str, str] | Mapping[str, str | bool]],
        *,
        if_match: str | None = None,
        dry_run: bool = False,
        in_place: bool = False,
    ) -> Edited:
        """Replace exact texts in a file, in order, all or none. An edit is ``Edit(old_text, new_text)``, a pair of
        these, or a mapping with these keys; ``old_text`` occurs once, unless ``Edit(…, replace_all=True)``. A line
        break in it matches the file's own kind. With ``dry_run`` nothing is written, and the diff tells what would be.

        Raises EditMismatch, NotFound, Conflict, Unsupported for what is not UTF-8, TooLarge for files over 64 MiB.
        """
        return self._portal.run(
            self._files.edit_file(path, edits, if_match=if_match, dry_run=dry_run, in_place=in_place)
        )

    def make_dir(self, path: PathText) -> bool:
        """Make a directory and its missing parents; return False if it was there.

        Raises Exists where a file is.
        """
        return self._portal.run(self._files.make_dir(path))

    def delete(self, path: PathText, *, recursive: bool = False, if_match: str | None = None) -> int:
        """Delete a file, link or directory and return how many entries went; of a link, never what it leads to.

        Raises NotFound, NotEmpty unless ``recursive``, Conflict, InvalidArgument for the root.
        """
        return self._portal.run(self._files.delete(path, recursive=recursive, if_match=if_match))

    def move(
        self, source: PathText, destination: PathText, *, overwrite: bool = False, if_match: str | None = None
    ) -> FileInfo:
        """Move or rename an entry; ``destination`` is its full new path, whose missing parents are made. ``overwrite``
        may replace a file or an empty directory.

        Raises NotFound, Exists, NotEmpty, Conflict.
        """
        return self._portal.run(self._files.move(source, destination, overwrite=overwrite, if_match=if_match))

    def copy(self, source: PathText, destination: PathText, *, overwrite: bool = False) -> FileInfo:
        """Copy a file, or a directory with everything in it, all or nothing; ``destination`` is the copy's full path.

        Raises NotFound, Exists, NoSpace.
        """
        return self._portal.run(self._files.copy(source, destination, overwrite=overwrite))

    def chmod(self, path: PathText, mode: int, *, recursive: bool = False) -> int:
        """Set permission bits (``0o644``) and return how many entries changed.

        Raises NotFound, PermissionDenied, InvalidArgument for setuid and setgid.
        """
        return self._portal.run(self._files.chmod(path, mode, recursive=recursive))

    def upload_files(
        self, files: Mapping[str, str | bytes], *, atomic: bool = False, if_match: Mapping[str, str] | None = None
    ) -> list[Uploaded]:
        """Write many files by path, each atomically, flushed together; text is written as UTF-8. Answers for each
        file, in order: one that fails does not keep the others from being written.

        With ``atomic`` all are written or none, and the first error is raised; then they may have 1000 files and
        32 MiB together. ``if_match`` holds sha256 prefixes by path.
        """
        return self._portal.run(self._files.upload_files(files, atomic=atomic, if_match=if_match))
