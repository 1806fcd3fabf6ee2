"""A benchmark's result, as a table for people and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One piece of work: median seconds of ours and of the peer's, how often each was asked, who the peer is, and the
    ratio that ours may have."""

    work: str
    calls: int
    ours: float
    theirs: float
    against: str
    aim: float | None = None

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    @property
    def reached(self) -> bool:
        return self.aim is None or self.ratio <= self.aim


@dataclass(frozen=True)
class Fact:
    """A measure of ours alone, in ``unit``, with the most or the least it may be."""

    what: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def reached(self) -> bool:
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    @property
    def aim(self) -> str:
        return f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}" if self.most else ""


@dataclass(frozen=True)
class Report:
    """What a run found out, and what the numbers depend on."""

    title: str
    rows: Sequence[Row]
    facts: Sequence[Fact]
    about: dict[str, Any]

    @property
    def reached(self) -> bool:
        """Whether every aim was."""
        return all(row.reached for row in self.rows) and all(fact.reached for fact in self.facts)


def machine(directory: Path) -> dict[str, Any]:
    """Return what the numbers depend on everywhere; ``directory`` is where the files are."""
    return {
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "file_system": file_system(directory),
    }


def file_system(directory: Path) -> str:
    """Return the type of the file system that a directory is on; ``unknown`` without /proc."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "unknown"
    found = ("", "unknown")
    for line in mounts.read_text(encoding="utf-8").splitlines():
        _, where, kind, *_ = line.split()
        if directory.resolve().is_relative_to(where) and len(where) >= len(found[0]):
            found = (where, kind)
    return found[1]


def show(report: Report) -> None:
    console = Console()
    console.width = max(console.width, 116)
    table = Table(title=report.title)
    for heading in ("work", "calls", "devbox-mcp", "peer", "its time", "ratio", "aim", ""):
        table.add_column(heading, justify="left" if heading in ("work", "peer") else "right")
    for row in report.rows:
        aim = "" if row.aim is None else f"≤ {_ratio(row.aim)}"
        times = (f"{row.ours * 1e3:.2f}", row.against, f"{row.theirs * 1e3:.2f}", _ratio(row.ratio))
        table.add_row(row.work, str(row.calls), *times, aim, aim and _mark(reached=row.reached))
    if report.rows:
        console.print(table)
    else:
        console.print(report.title, style="bold")
    for fact in report.facts:
        aim = f" ({fact.aim} {fact.unit}) {_mark(reached=fact.reached)}" if fact.aim else ""
        console.print(f"{fact.what}: {fact.value:.2f} {fact.unit}{aim}", highlight=False)
    console.print(", ".join(f"{name} {value}" for name, value in report.about.items()), style="dim", highlight=False)


def save(path: Path, report: Report) -> None:
    document = {
        "machine": report.about,
        "rows": [{**asdict(row), "ratio": row.ratio, "reached": row.reached} for row in report.rows],
        "facts": [{**asdict(fact), "reached": fact.reached} for fact in report.facts],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"1/{1 / ratio:.0f}"


def _mark(*, reached: bool) -> str:
    return "[green]ok[/green]" if reached else "[red]missed[/red]"
