"""Zips and big files, streamed: nothing holds more of them than a few pieces.

Made by tools/sync_face.py from client/transferring.py: change it there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from devbox_mcp.client.blocking.changing import Changing
from devbox_mcp.client.connection import PathText
from devbox_mcp.client.here import Sink, Source
from devbox_mcp.client.sending import Progress
from devbox_mcp.client.shapes import Archived, Transferred


class Transferring(Changing):
    """What moves files between this machine and the devbox."""

    @overload
    def download_files(
        self, paths: Sequence[PathText], *, to: None = None, on_progress: Progress | None = None
    ) -> bytes: ...

    @overload
    def download_files(
        self, paths: Sequence[PathText], *, to: PathText | Sink, on_progress: Progress | None = None
    ) -> Archived: ...

    @overload
    def download_files(
        self, paths: Sequence[PathText], *, to: PathText | Sink | None, on_progress: Progress | None = None
    ) -> bytes | Archived: ...

    def download_files(
        self, paths: Sequence[PathText], *, to: PathText | Sink | None = None, on_progress: Progress | None = None
    ) -> bytes | Archived:
        """Pack files and directories (``.`` is everything) into a zip and return it; with ``to``, save it there, a
        local path (written atomically) or an open binary file. Links are stored as links; modes and times are kept.
        ``on_progress`` is told bytes that were packed, and all there are.

        Raises NotFound, Unsupported where the devbox cannot make one.
        """
        return self._portal.run(self._files.download_files(paths, to=to, on_progress=on_progress))

    def upload_large_file(
        self,
        local: PathText | Source,
        path: PathText,
        *,
        create: bool = False,
        if_match: str | None = None,
        executable: bool | None = None,
        on_progress: Progress | None = None,
    ) -> Transferred:
        """Write a file of any size from ``local``, a path on this machine or an open binary file. It is streamed,
        verified by its sha256, and takes its place only when all of it has arrived. When the connection breaks, a
        path is sent on from where the devbox says it stands, if that keeps what has arrived (all but a shell do).
        ``create`` fails if the file exists. Without ``executable``, the new file may be run if the local one may.
        ``on_progress`` is told bytes sent and all there are.

        Raises NotFound (also for ``local``), Conflict, Exists, Integrity, NoSpace, Unavailable.
        """
        return self._portal.run(
            self._files.upload_large_file(
                local, path, create=create, if_match=if_match, executable=executable, on_progress=on_progress
            )
        )

    def download_large_file(
        self, path: PathText, local: PathText | Sink, *, on_progress: Progress | None = None
    ) -> Transferred:
        """Copy a file of any size to ``local``, a path on this machine or an open binary file. It is streamed, of one
        version, and verified by its sha256 before it takes its place; an executable stays one. ``on_progress`` is
        told bytes received and all there are. ``path`` and ``created`` of the answer are the devbox's and False.

        Raises NotFound, IsDirectory, Conflict if the file is changed meanwhile, Integrity, Unavailable.
        """
        return self._portal.run(self._files.download_large_file(path, local, on_progress=on_progress))
