"""What happens behind the devboxes is counted, and told to Prometheus."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.guarding import Measures
from devbox_mcp.settings import load

MIB = 1024 * 1024


def told(measures: Measures) -> dict[str, float]:
    return {
        sample.labels["event"]: sample.value
        for family in text_string_to_metric_families(generate_latest(measures.registry).decode())
        for sample in family.samples
        if sample.name == "devbox_mcp_events_total"
    }


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()]


async def stream(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // MIB):
        yield b"x" * MIB


async def test_sessions_and_chunks_are_counted(tmp_path: Path) -> None:
    before = set(children())
    sandboxes = await Sandboxes.open(load({"devboxes": (f"app=exec:env?root={tmp_path}",)}, None))
    measures = Measures(sandboxes.tally)
    try:
        await sandboxes.default.write(SandboxPath("small"), b"x")
        assert told(measures) == {"session_opened": 1}
        await sandboxes.default.write(SandboxPath("large"), stream(25 * MIB))
        assert told(measures) == {"session_opened": 1, "chunk_sent": 3}
        for pid in set(children()) - before:
            os.kill(pid, signal.SIGKILL)
        await sandboxes.default.stat(SandboxPath("small"))
        assert told(measures)["session_reopened"] == 1
        assert sandboxes.called_by(sandboxes.caller).tally is sandboxes.tally
    finally:
        await sandboxes.aclose()
