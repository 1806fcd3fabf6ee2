"""Run the benchmark: ``make bench``, or ``python -m tools.bench --help``."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from statistics import median

from tests.raw import RawClient
from tools import node
from tools.bench import memory
from tools.bench.contestants import Contestant, official, ours
from tools.bench.report import Fact, Report, Row, file_system, machine, save, show
from tools.bench.work import KIB, MIB, Task, Timings, listing, plain_write, reading, start, text_of, writing

HOME = node.PROJECT / ".bench"
WARM_UP = 20
BURST = 25
STARTS = 20
BIG_CALLS = 40


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--calls", type=int, default=1000, help="calls of each small piece of work (default 1000)")
    parser.add_argument("--json", type=Path, default=HOME / "result.json", help="where the result goes")
    parser.add_argument("--skip-memory", action="store_true", help="leave the gibibytes out")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 where an aim is missed")
    return parser.parse_args()


def interleaved(task: Task, clients: dict[Contestant, RawClient], calls: int, burst: int) -> Timings:
    """Let the contestants take turns, ``burst`` calls each, so that both meet the same weather."""
    timings = Timings()
    for contestant, client in clients.items():
        for _ in range(min(WARM_UP, burst)):
            task(contestant, client)
    for _ in range(-(-calls // burst)):
        for contestant, client in clients.items():
            for _ in range(burst):
                timings.add(contestant.name, task(contestant, client))
    return timings


def summed(work: str, timings: Timings, aim: float | None) -> Row:
    mine, theirs = timings.medians().values()
    return Row(work, min(len(values) for values in timings.seconds.values()), mine, theirs, "official", aim)


def compare(contestants: list[Contestant], files: Path, calls: int) -> list[Row]:
    starts = Timings()
    for _ in range(STARTS):
        for contestant in contestants:
            starts.add(contestant.name, start(contestant))
    rows = [summed("start to the initialize answer", starts, None)]
    pieces = [
        ("read 1 KB", reading(files / "small.txt", text_of(KIB)), calls, BURST, 0.7),
        ("write 1 KB (ours: flushed to disk)", writing(files / "written.txt", KIB), calls, BURST, 1.0),
        ("list 1000 entries", listing(files / "many"), calls, BURST, 0.8),
        ("read 10 MB", reading(files / "big.txt", text_of(10 * MIB)), BIG_CALLS, 1, 0.3),
    ]
    clients = {contestant: RawClient(contestant.argv) for contestant in contestants}
    try:
        for client in clients.values():
            client.initialize()
        for work, task, count, burst, aim in pieces:
            rows.append(summed(work, interleaved(task, clients, count, burst), aim))
    finally:
        for client in clients.values():
            client.close()
    return rows


def durability(files: Path, calls: int) -> list[Fact]:
    """Measure what flushing costs on this disk, without any server."""
    path = files / "plain.txt"
    seconds = {sync: [plain_write(path, KIB, sync=sync) for _ in range(calls)] for sync in (False, True)}
    plain, synced = (median(seconds[sync]) * 1e3 for sync in (False, True))
    return [
        Fact("write 1 KB and rename, in plain Python", plain, "ms"),
        Fact("  the same with fsync of file and directory", synced, "ms"),
        Fact("  so durability costs", synced - plain, "ms"),
    ]


def main() -> int:
    options = arguments()
    if file_system(node.PROJECT) in {"tmpfs", "ramfs"}:
        raise SystemExit("the project lies in memory; run the benchmark from a checkout on a disk")
    modules = node.install(Path(__file__).with_name("package.json"), HOME / "node")
    files = HOME / "files"
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir(parents=True)
    try:
        contestants = [ours(files, "--max-text", "16M", "--max-inline", "16M"), official(files, modules)]
        rows = compare(contestants, files, options.calls)
        facts = [Fact("our start", rows[0].ours, "s", 1.0), *durability(files, options.calls)]
        if not options.skip_memory:
            peaks = memory.measure(files / "memory")
            facts += [Fact(f"peak memory: {case}", value / MIB, "MiB", 150) for case, value in peaks.items()]
    finally:
        shutil.rmtree(files)
    title = "Median milliseconds over stdio, from writing a request to having parsed its answer"
    report = Report(title, rows, facts, {**machine(HOME), "node": node.version()})
    show(report)
    save(options.json, report)
    return 1 if options.strict and not report.reached else 0


if __name__ == "__main__":
    sys.exit(main())
