"""How far a transfer is: a bar on a terminal's stderr, once it takes longer than a second."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from devbox_mcp.cli.output import human

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

_PATIENCE = 1.0
_NARROW = 60


class Meter:
    """Counts files and bytes, and shows them."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self._expected: int | None = None
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    @contextmanager
    def running(self, what: str, expected: int | None = None) -> Iterator[Meter]:
        """Show a bar during the block if it takes long; ``expected`` is in bytes, None while nobody knows. Afterwards
        a terminal is told what was done."""
        self._expected = expected
        if not sys.stderr.isatty():
            yield self
            return
        timer = asyncio.get_running_loop().call_later(_PATIENCE, self._show, what)
        try:
            yield self
        finally:
            timer.cancel()
            if self._bar is not None:
                self._bar.stop()
        sys.stderr.write(f"{self.files} file{'' if self.files == 1 else 's'}, {human(self.bytes)}\n")

    def expect(self, size: int) -> None:
        """Add to what is expected."""
        self._expected = (self._expected or 0) + size
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=self._expected)

    def add(self, size: int) -> None:
        """Count bytes that have passed."""
        self.bytes += size
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.bytes)

    def done(self) -> None:
        """Count a file."""
        self.files += 1

    def _show(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns: list[ProgressColumn] = [BarColumn(bar_width=None), DownloadColumn(binary_units=True)]
        if shutil.get_terminal_size().columns >= _NARROW:
            columns = [TextColumn("{task.description}"), *columns, TransferSpeedColumn(), TimeRemainingColumn()]
        # it is gone at the end, so that only the last line stays
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True, expand=True)
        self._task = self._bar.add_task(what, total=self._expected, completed=self.bytes)
        self._bar.start()
