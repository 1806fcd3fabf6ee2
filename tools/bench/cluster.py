"""Run the benchmark on a Kubernetes cluster: ``python -m tools.bench.cluster --kubeconfig FILE``.

Needs kubectl, a user who may create and delete namespaces, and images as ``make test-cluster`` does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.namespace import Cluster
from tools import node
from tools.bench import large, many, small
from tools.bench.pods import namespace
from tools.bench.report import Fact, Report, Row, machine, save, show
from tools.bench.work import MIB

HOME = node.PROJECT / ".bench"
TITLE = "Median milliseconds in a pod; 1/N is N times as fast as the peer"


@dataclass(frozen=True)
class Sizes:
    """How often the small pieces of work are done, how often the large ones, and how large these are."""

    small_rounds: int = 40
    flights: int = 15
    large_rounds: int = 7
    large: int = 100 * 1000**2
    files: int = 1000
    giant: int = 1024 * MIB


QUICK = Sizes(small_rounds=8, flights=3, large_rounds=2, large=20 * 1000**2, files=200, giant=128 * MIB)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.bench.cluster", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="the cluster to run on")
    parser.add_argument("--json", type=Path, default=HOME / "cluster.json", help="where the result goes")
    parser.add_argument("--quick", action="store_true", help="little of everything: does it run at all?")
    parser.add_argument("--only", action="append", choices=PARTS, help="only this part; repeatable")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 where an aim is missed")
    return parser.parse_args()


@dataclass(frozen=True)
class Bench:
    """Where and how much a part measures; ``scratch`` is an empty directory of this machine."""

    cluster: Cluster
    scratch: Path
    sizes: Sizes


PARTS: dict[str, Callable[[Bench], Awaitable[Sequence[Row | Fact]]]] = {
    "small": lambda bench: small.compare(bench.cluster, bench.sizes.small_rounds),
    "flights": lambda bench: small.many_at_once(bench.cluster, bench.sizes.flights),
    "large": lambda bench: large.compare(bench.cluster, bench.scratch, bench.sizes.large, bench.sizes.large_rounds),
    "many": lambda bench: many.compare(bench.cluster, bench.scratch, bench.sizes.files, bench.sizes.large_rounds),
    "beside": lambda bench: large.beside_an_upload(bench.cluster, bench.scratch, bench.sizes.giant),
    "memory": lambda bench: large.peaks(bench.cluster, bench.scratch, bench.sizes.giant),
}


async def measure(cluster: Cluster, parts: Sequence[str], sizes: Sizes) -> list[Row | Fact]:
    found: list[Row | Fact] = []
    for part in parts:
        print(f"measuring: {part}", file=sys.stderr)
        with tempfile.TemporaryDirectory(dir=HOME) as scratch:
            found += await PARTS[part](Bench(cluster, Path(scratch), sizes))
    return found


def main() -> int:
    options = arguments()
    HOME.mkdir(exist_ok=True)
    kubeconfig = str(options.kubeconfig.resolve())
    with namespace(kubeconfig) as cluster:
        found = asyncio.run(measure(cluster, options.only or list(PARTS), QUICK if options.quick else Sizes()))
    rows = [entry for entry in found if isinstance(entry, Row)]
    facts = [entry for entry in found if isinstance(entry, Fact)]
    report = Report(TITLE, rows, facts, {**machine(HOME), "kubernetes": _version(kubeconfig)})
    show(report)
    save(options.json, report)
    return 1 if options.strict and not report.reached else 0


def _version(kubeconfig: str) -> str:
    argv = ["kubectl", "--kubeconfig", kubeconfig, "get", "--raw", "/version"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    version: str = json.loads(said)["gitVersion"]
    return version


if __name__ == "__main__":
    sys.exit(main())
