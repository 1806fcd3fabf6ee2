"""The pieces of work that are timed, each with a check that it was done, made outside the clock."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.raw import RawClient
from tools.bench.contestants import ENTRIES_MOST, Contestant

KIB = 1024
MIB = 1024 * KIB


class WrongAnswerError(Exception):
    """A server answered, but not with the work that was asked for."""


@dataclass
class Timings:
    """Seconds of each call, by contestant."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, seconds: float) -> None:
        self.seconds.setdefault(name, []).append(seconds)

    def medians(self) -> dict[str, float]:
        return {name: median(values) for name, values in self.seconds.items()}


def text_of(size: int) -> str:
    """Return ``size`` characters of ASCII, in lines of 80, all different."""
    lines = (hashlib.sha256(str(number).encode()).hexdigest() + "=" * 15 + "\n" for number in range(size // 80 + 1))
    return "".join(lines)[:size]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def call(client: RawClient, question: tuple[str, dict[str, Any]]) -> tuple[float, dict[str, Any]]:
    """Call a tool; return seconds and result. Raises WrongAnswerError for an error result."""
    tool, arguments = question
    seconds, result = client.timed("tools/call", {"name": tool, "arguments": arguments})
    if result.get("isError"):
        raise WrongAnswerError(f"{tool}: {str(result['content'])[:500]}")
    return seconds, result


Task = Callable[[Contestant, RawClient], float]
"""one checked call; returns its seconds"""


def reading(path: Path, text: str) -> Task:
    path.write_text(text, encoding="utf-8", newline="")
    wanted = _sha256(text)

    def task(contestant: Contestant, client: RawClient) -> float:
        seconds, result = call(client, contestant.read(path))
        if _sha256(contestant.content(result)) != wanted:
            raise WrongAnswerError(f"{contestant.name}: the content of {path.name} came back changed or cut")
        return seconds

    return task


def writing(path: Path, size: int) -> Task:
    """Overwrite a file, each time with another text."""
    path.write_text(text_of(size), encoding="utf-8", newline="")
    written = 0

    def task(contestant: Contestant, client: RawClient) -> float:
        nonlocal written
        written += 1
        text = f"{written:020}" + text_of(size)[20:]
        seconds, _ = call(client, contestant.write(path, text))
        if path.read_bytes() != text.encode():
            raise WrongAnswerError(f"{contestant.name}: {path.name} does not hold what was written")
        return seconds

    return task


def listing(directory: Path) -> Task:
    names = {f"file-{number:04}.txt" for number in range(ENTRIES_MOST)}
    directory.mkdir()
    for name in names:
        (directory / name).touch()

    def task(contestant: Contestant, client: RawClient) -> float:
        seconds, result = call(client, contestant.list_directory(directory))
        listed = contestant.entries(result)
        if len(listed) != len(names) or set(listed) != names:
            raise WrongAnswerError(f"{contestant.name}: {len(listed)} entries listed instead of {len(names)}")
        return seconds

    return task


def start(contestant: Contestant) -> float:
    """Start the server and shake hands; return the seconds from the start of the process to the answer."""
    begun = time.perf_counter()
    with RawClient(contestant.argv) as client:
        client.initialize()
        return time.perf_counter() - begun


def plain_write(path: Path, size: int, *, sync: bool) -> float:
    """Replace a file by temporary and rename, in this very process; with ``sync`` file and directory are flushed.
    The difference between the two is what durability costs on this disk."""
    data = text_of(size).encode()
    temporary = path.with_suffix(".part")
    begun = time.perf_counter()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, data)
    if sync:
        os.fsync(descriptor)
    os.close(descriptor)
    temporary.rename(path)
    if sync:
        directory = os.open(path.parent, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
    return time.perf_counter() - begun
