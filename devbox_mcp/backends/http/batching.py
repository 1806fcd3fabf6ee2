"""Many files in one request."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from devbox_mcp.backends import answers
from devbox_mcp.backends.http.asking import Asking, parsed
from devbox_mcp.backends.http.failures import problem
from devbox_mcp.backends.http.reading import FITS
from devbox_mcp.backends.http.shapes import Shapes
from devbox_mcp.backends.http.writing import digest
from devbox_mcp.models import BatchItem, BatchOutcome


async def write_batch(
    asking: Asking, shapes: Shapes, items: Sequence[BatchItem], shown: Sequence[str], atomic: bool
) -> Sequence[BatchOutcome]:
    """See ``Backend.write_batch``; ``shown`` are the paths as the API has them."""
    if not items:
        return []
    files = [
        {
            "path": path, "content": base64.b64encode(item.data).decode("ascii"), "encoding": "base64",
            "executable": item.executable, "if_match": item.if_match,
        }
        for path, item in zip(shown, items, strict=True)
    ]  # fmt: skip
    body = json.dumps({"files": files, "atomic": atomic}).encode("ascii")
    path = items[0].path.text
    headers = {"Content-Type": "application/json", **digest(body)}
    answer = await asking.ask(
        "write", path, "POST", "files", headers=headers, body=body, small=len(body) <= FITS,
        accept=lambda status: status in (200, 409),
    )  # fmt: skip
    return parsed(lambda found: _outcomes(shapes, items, found, answer.status), answer.body, "write", path)


def _outcomes(shapes: Shapes, items: Sequence[BatchItem], found: Any, status: int) -> Sequence[BatchOutcome]:
    """Return what became of each file; a problem of a batch that failed as one has it in its data."""
    if status == 409:
        if "files" not in found.get("data", {}):
            raise problem(found, "write", items[0].path.text)
        found = found["data"]
    outcomes = []
    for item, outcome in zip(items, found["files"], strict=True):
        written, error = None, None
        if outcome["ok"] is True:
            written = shapes.written(outcome["written"])
        else:
            error = answers.error_of("write", {"data": {}, **outcome["error"], "path": item.path.text})
        outcomes.append(BatchOutcome(item.path, written, error))
    return outcomes
