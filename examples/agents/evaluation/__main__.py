"""Count what tasks cost a model that works through devbox-mcp: ``python examples/agents/evaluation``

With ANTHROPIC_API_KEY the model is a real one; ``make evaluation`` runs it with the scripted one. A change to a
tool's description or output shows in the tokens, in the calls, or in a task that is no longer done.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from measuring import evaluate
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

BASELINE = Path(__file__).parent / "baseline.json"


def table(now: dict[str, Any], before: dict[str, Any]) -> Table:
    """The costs, and what the tokens were before. An error is recovered from where the task was done in the end."""
    shown = Table("task", "done", box=SIMPLE)
    for column in ("calls", "errors", "recovered", "tokens", "before"):
        shown.add_column(column, justify="right")
    costs, old = now["tasks"], before["tasks"]
    for name, cost in costs.items():
        recovered = cost["errors"] if cost["done"] else 0
        was = old[name]["tokens"] if name in old else ""
        numbers = (cost["calls"], cost["errors"], recovered, cost["tokens"], was)
        shown.add_row(name, "yes" if cost["done"] else "NO", *map(str, numbers))
    shown.add_section()
    sums = [sum(cost[field] for cost in costs.values()) for field in ("calls", "errors")]
    recovered = sum(cost["errors"] for cost in costs.values() if cost["done"])
    results = [sum(cost["tokens"] for cost in run["tasks"].values()) for run in (now, before)]
    done = f"{sum(cost['done'] for cost in costs.values())}/{len(costs)}"
    shown.add_row("all results", done, *map(str, [*sums, recovered, *results]))
    shown.add_row("tool descriptions", *[""] * 4, str(now["descriptions"]), str(before["descriptions"]))
    return shown


def main() -> int:
    """Evaluate, show, and keep the numbers if asked to. Exits with 1 where a task was not done."""
    parser = argparse.ArgumentParser(description="Count what tasks cost a model: calls, errors, tokens of results.")
    parser.add_argument("--against", type=Path, default=BASELINE, help="numbers to compare with (%(default)s)")
    parser.add_argument("--save", type=Path, help="keep these numbers as a file")
    options = parser.parse_args()
    before = json.loads(options.against.read_text()) if options.against.exists() else {"descriptions": 0, "tasks": {}}
    now = asyncio.run(evaluate())
    Console().print(table(now, before))
    print("tokens are estimated: four characters each")
    if options.save:
        options.save.write_text(json.dumps(now, indent=2) + "\n")
    return 0 if all(cost["done"] for cost in now["tasks"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
