"""Changing files and directories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from devbox_mcp.client import shapes
from devbox_mcp.client.connection import PathText, spelled
from devbox_mcp.client.reading import AsyncReading
from devbox_mcp.client.shapes import Edited, FileInfo, Uploaded, Written
from devbox_mcp.edits import Edit
from devbox_mcp.errors import Cancelled, DevboxError, InvalidArgument
from devbox_mcp.limits import MIB
from devbox_mcp.models import BatchItem, WriteMode
from devbox_mcp.sandbox import Sandbox

#: Files and bytes of one batch, the most that a gateway takes.
_BATCH_FILES = 1000
_BATCH = 32 * MIB


class AsyncChanging(AsyncReading):
    """What changes files. Every write is atomic: after any failure the old content is there, whole."""

    async def write_file(
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
        sandbox, parsed = await self._connection.at(path, "write")
        data = _encoded(content, encoding, path)
        return shapes.written(
            await sandbox.write(parsed, data, mode=mode, if_match=if_match, executable=executable, in_place=in_place)
        )

    async def append(self, path: PathText, content: str | bytes, *, if_match: str | None = None) -> Written:
        """Add text or bytes at the end of a file, which need not exist yet; as atomic as any other write.

        Raises IsDirectory, Conflict, NoSpace, ReadOnly.
        """
        return await self.write_file(path, content, mode="append", if_match=if_match)

    async def edit_file(
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
        sandbox, parsed = await self._connection.at(path, "edit")
        wanted = [_edit(one) for one in edits]
        return shapes.edit(await sandbox.edit(parsed, wanted, if_match=if_match, dry_run=dry_run, in_place=in_place))

    async def make_dir(self, path: PathText) -> bool:
        """Make a directory and its missing parents; return False if it was there.

        Raises Exists where a file is.
        """
        sandbox, parsed = await self._connection.at(path, "mkdir")
        return await sandbox.make_dir(parsed)

    async def delete(self, path: PathText, *, recursive: bool = False, if_match: str | None = None) -> int:
        """Delete a file, link or directory and return how many entries went; of a link, never what it leads to.

        Raises NotFound, NotEmpty unless ``recursive``, Conflict, InvalidArgument for the root.
        """
        sandbox, parsed = await self._connection.at(path, "delete")
        return await sandbox.delete(parsed, recursive=recursive, if_match=if_match)

    async def move(
        self, source: PathText, destination: PathText, *, overwrite: bool = False, if_match: str | None = None
    ) -> FileInfo:
        """Move or rename an entry; ``destination`` is its full new path, whose missing parents are made. ``overwrite``
        may replace a file or an empty directory.

        Raises NotFound, Exists, NotEmpty, Conflict.
        """
        sandbox, parsed = await self._connection.at(source, "move")
        target = await sandbox.parse(spelled(destination), "move")
        return shapes.info(await sandbox.move(parsed, target, overwrite=overwrite, if_match=if_match))

    async def copy(self, source: PathText, destination: PathText, *, overwrite: bool = False) -> FileInfo:
        """Copy a file, or a directory with everything in it, all or nothing; ``destination`` is the copy's full path.

        Raises NotFound, Exists, NoSpace.
        """
        sandbox, parsed = await self._connection.at(source, "copy")
        target = await sandbox.parse(spelled(destination), "copy")
        return shapes.info(await sandbox.copy(parsed, target, overwrite=overwrite))

    async def chmod(self, path: PathText, mode: int, *, recursive: bool = False) -> int:
        """Set permission bits (``0o644``) and return how many entries changed.

        Raises NotFound, PermissionDenied, InvalidArgument for setuid and setgid.
        """
        sandbox, parsed = await self._connection.at(path, "chmod")
        return await sandbox.chmod(parsed, mode, recursive=recursive)

    async def upload_files(
        self, files: Mapping[str, str | bytes], *, atomic: bool = False, if_match: Mapping[str, str] | None = None
    ) -> list[Uploaded]:
        """Write many files by path, each atomically, flushed together; text is written as UTF-8. Answers for each
        file, in order: one that fails does not keep the others from being written.

        With ``atomic`` all are written or none, and the first error is raised; then they may have 1000 files and
        32 MiB together. ``if_match`` holds sha256 prefixes by path.
        """
        sandbox = await self._connection.core.sandbox()
        versions = if_match or {}
        outcomes: list[Uploaded | None] = []
        items: list[BatchItem] = []
        for text, content in files.items():
            try:
                path = await sandbox.parse(text, "write")
                items.append(BatchItem(path, _encoded(content, "utf-8", text), None, versions.get(text)))
            except DevboxError as error:
                if atomic:
                    raise
                outcomes.append(Uploaded(text, None, error))
            else:
                outcomes.append(None)
        rest = iter(await self._write_all(sandbox, items, atomic=atomic))
        return [next(rest) if outcome is None else outcome for outcome in outcomes]

    async def _write_all(self, sandbox: Sandbox, items: Sequence[BatchItem], *, atomic: bool) -> list[Uploaded]:
        if atomic and items:
            done = [shapes.uploaded(outcome) for outcome in await sandbox.write_batch(items, atomic=True)]
            failed = [one.error for one in done if one.error is not None]
            # those that were fine themselves were cancelled because of another
            for error in sorted(failed, key=lambda error: isinstance(error, Cancelled)):
                raise error
            return done
        done = []
        for batch in _batches(items):
            if len(batch) == 1:
                done.append(await _write_alone(sandbox, batch[0]))
            else:
                done += map(shapes.uploaded, await sandbox.write_batch(batch))
        return done


async def _write_alone(sandbox: Sandbox, item: BatchItem) -> Uploaded:
    """Write what may be too large for any batch."""
    try:
        return Uploaded(
            item.path.text, shapes.written(await sandbox.write(item.path, item.data, if_match=item.if_match))
        )
    except DevboxError as error:
        return Uploaded(item.path.text, None, error)


def _edit(given: object) -> Edit:
    """Return an edit as a caller may write it. Raises TypeError."""
    try:
        if isinstance(given, Mapping):
            given = Edit(**given)
        elif isinstance(given, tuple | list):
            given = Edit(*given)
    except TypeError:
        pass  # too few parts, or others
    if isinstance(given, Edit) and all(isinstance(text, str) for text in (given.old_text, given.new_text)):
        return given
    raise TypeError(f"an edit is an Edit, a pair of texts, or a mapping of old_text and new_text, not {given!r:.100}")


def _encoded(content: str | bytes, encoding: str, path: PathText) -> bytes:
    if not isinstance(content, str):
        try:
            memoryview(content)  # bytes(5) would be five zeros
        except TypeError:
            raise TypeError(f"the content of a file is text or bytes, not {type(content).__name__}") from None
        return bytes(content)
    try:
        return content.encode(encoding)
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            "write", spelled(path), f"the content cannot be written as {encoding}: {error.reason}", hint="pass bytes"
        ) from None
    except LookupError:
        raise InvalidArgument("write", spelled(path), f"there is no encoding {encoding!r}") from None


def _batches(items: Sequence[BatchItem]) -> list[list[BatchItem]]:
    """Split what is too much for one call."""
    batches: list[list[BatchItem]] = []
    size = _BATCH + 1
    for item in items:
        size += len(item.data)
        if size > _BATCH or len(batches[-1]) == _BATCH_FILES:
            batches.append([])
            size = len(item.data)
        batches[-1].append(item)
    return batches
