"""The benchmark's result, as a table for people and as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tools import node


@dataclass(frozen=True)
class Row:
    """One piece of work: median seconds of both, how often each was asked, and the ratio that ours may have."""

    work: str
    calls: int
    ours: float
    official: float
    aim: float | None

    @property
    def ratio(self) -> float:
        return self.ours / self.official

    @property
    def reached(self) -> bool:
        return self.aim is None or self.ratio <= self.aim


@dataclass(frozen=True)
class Fact:
    """A measure of ours alone, in ``unit``, with the most it may be."""

    what: str
    value: float
    unit: str
    most: float | None = None

    @property
    def reached(self) -> bool:
        return self.most is None or self.value <= self.most


def machine(directory: Path) -> dict[str, Any]:
    """Return what the numbers depend on."""
    version = subprocess.run([str(node.node()), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "node": version,
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


def show(rows: list[Row], facts: list[Fact], about: dict[str, Any]) -> None:
    console = Console()
    console.width = max(console.width, 100)
    table = Table(title="Median milliseconds over stdio, from writing a request to having parsed its answer")
    for heading in ("work", "calls", "devbox-mcp", "official", "ratio", "aim", ""):
        table.add_column(heading, justify="left" if heading == "work" else "right")
    for row in rows:
        aim = "" if row.aim is None else f"≤ {row.aim:.2f}"
        times = (f"{row.ours * 1e3:.2f}", f"{row.official * 1e3:.2f}", f"{row.ratio:.2f}")
        table.add_row(row.work, str(row.calls), *times, aim, aim and _mark(reached=row.reached))
    console.print(table)
    for fact in facts:
        most = "" if fact.most is None else f" (at most {fact.most:g} {fact.unit}) {_mark(reached=fact.reached)}"
        console.print(f"{fact.what}: {fact.value:.2f} {fact.unit}{most}", highlight=False)
    console.print(", ".join(f"{name} {value}" for name, value in about.items()), style="dim", highlight=False)


def save(path: Path, rows: list[Row], facts: list[Fact], about: dict[str, Any]) -> None:
    document = {
        "machine": about,
        "rows": [{**asdict(row), "ratio": row.ratio, "reached": row.reached} for row in rows],
        "facts": [{**asdict(fact), "reached": fact.reached} for fact in facts],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _mark(*, reached: bool) -> str:
    return "[green]ok[/green]" if reached else "[red]missed[/red]"
