"""What is carried: made, hashed, compared."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from tools.bench.work import KIB, MIB, WrongAnswerError

_PIECE = 256 * KIB


def random_file(path: Path, size: int) -> str:
    """Make a file that nothing compresses; return its sha256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        while left := size - file.tell():
            block = os.urandom(min(MIB, left))
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def small_files(directory: Path, count: int) -> dict[str, str]:
    """Make a directory of random files of 1 KB; return the sha256 of each by its name."""
    directory.mkdir()
    hashes = {}
    for number in range(count):
        data = os.urandom(KIB)
        (directory / f"file-{number:04}").write_bytes(data)
        hashes[f"file-{number:04}"] = hashlib.sha256(data).hexdigest()
    return hashes


def hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def pieces(path: Path) -> AsyncIterator[bytes]:
    """Yield a file, which the page cache holds."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


async def save(chunks: AsyncIterator[bytes], path: Path) -> None:
    """Write to a file, and leave it to the page cache as others do."""
    with path.open("wb") as file:
        async for chunk in chunks:
            file.write(chunk)


def same(found: object, wanted: object, who: str) -> None:
    """Raise WrongAnswerError where two hashes, or collections of them, differ."""
    if found != wanted:
        raise WrongAnswerError(f"{who}: what arrived is not what was sent")
