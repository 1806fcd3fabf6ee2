"""One server for all modules of the HTTP API, its directory emptied for every test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rest.served import Client, serving


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory around ``box``, which is served, with a secret beside it."""
    ground = tmp_path_factory.mktemp("rest")
    (ground / "box").mkdir()
    (ground / "other").mkdir()
    (ground / "secret.txt").write_text("not yours")
    return ground


@pytest.fixture(scope="session")
def port(ground: Path) -> Iterator[int]:
    boxes = (f"main={ground / 'box'}", f"other={ground / 'other'}")
    # a tunnel carries more at a time than one caller may have of streams
    limits = ("--max-file-size", "8M", "--max-batch-size", "256K", "--max-transfer", "6M", "--max-transfers", "256")
    with serving(ground / "log", *boxes, *limits, "--deny", "secrets/**", "--audit-log", str(ground / "audit")) as port:
        yield port


@pytest.fixture
def ask(port: int, ground: Path) -> Client:
    """A client, and an empty box."""
    empty(ground / "box")
    return Client(port, ground / "box")


def empty(directory: Path) -> None:
    """Remove everything in a directory, also what has been made unreadable."""
    for entry in os.scandir(os.fsencode(directory)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
