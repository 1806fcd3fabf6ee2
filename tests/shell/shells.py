"""Shells of this machine, each with the tools that come with it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

NAMES = ("dash", "bash", "busybox")
_TOOLS = (
    *("cat", "chmod", "chown", "cp", "dd", "find", "id", "ln", "mkdir", "mv", "readlink", "rm", "rmdir"),
    *("sha256sum", "sh", "sleep", "stat", "sync", "xargs"),
)


@contextmanager
def tools_of_busybox() -> Iterator[Path]:
    """A directory that holds busybox under the name of each of its tools, for everybody."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        names = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout
        for name in names.split():
            Path(directory, name).symlink_to(busybox)
        yield Path(directory)


def tools_of_this_machine(directory: Path, without: str) -> None:
    """Fill a directory with the tools there are, but for one; ``sh`` is dash, which has none built in."""
    for name in _TOOLS:
        found = shutil.which("dash" if name == "sh" else name)
        if found is None:
            pytest.skip(f"{name} is not installed")
        if name != without:
            (directory / name).symlink_to(found)


def with_path(directory: Path) -> list[str]:
    """Return the command before a program that is to find nothing but what is in a directory."""
    return [shutil.which("env") or "env", f"PATH={directory}"]


def command(name: str, applets: Path) -> tuple[list[str], str]:
    """Return the command before a shell, and what the shell is called. Skips where it is not installed."""
    if name == "busybox":
        return with_path(applets), "sh"
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return [], name
