"""Contestants that take turns on one event loop, so that all meet the same weather."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from tools.bench.report import Row
from tools.bench.work import Timings

Timed = Callable[[], Awaitable[float]]
"""one piece of work; returns its seconds"""

Check = Callable[[str], Awaitable[None]]
"""looks whether a contestant, named by its argument, did it, and clears away behind it"""


@dataclass(frozen=True)
class Contestant:
    """``burst`` is how often in a row it has its turn: what is quick needs more samples."""

    task: Timed
    burst: int = 1


async def take_turns(contestants: Mapping[str, Contestant], rounds: int) -> Timings:
    """Let everybody work in turn, ``rounds`` times, after one round that does not count."""
    timings = Timings()
    for turn in range(rounds + 1):
        for name, contestant in contestants.items():
            for _ in range(contestant.burst):
                seconds = await contestant.task()
                if turn:
                    timings.add(name, seconds)
    return timings


async def carry_in_turns(contestants: Mapping[str, Timed], rounds: int, check: Check) -> Timings:
    """As ``take_turns``, for what is large: checked every time, and nobody pays for what another left to be written
    to disk."""
    timings = Timings()
    for turn in range(rounds + 1):
        for name, task in contestants.items():
            await asyncio.to_thread(os.sync)
            seconds = await task()
            await check(name)
            if turn:
                timings.add(name, seconds)
    return timings


def row(work: str, timings: Timings, ours: str, theirs: str, aim: float | None = None, against: str = "") -> Row:
    """Compare two contestants; ``against`` is what the table calls the other one."""
    medians = timings.medians()
    return Row(work, len(timings.seconds[ours]), medians[ours], medians[theirs], against or theirs, aim)
