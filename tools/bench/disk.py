"""What a pod's disk asks for durability, without anything of ours."""

from __future__ import annotations

from devbox_mcp.transports.base import ExecTransport
from tools.bench.pods import ROOT, run
from tools.bench.report import Fact

_PROGRAM = """
import os, statistics, sys, time
os.chdir(sys.argv[1])
directory = os.open(".", os.O_RDONLY)
def write(sync):
    begun = time.perf_counter()
    file = os.open("part", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(file, bytes(1024))
    if sync:
        os.fsync(file)
    os.close(file)
    os.rename("part", "whole")
    if sync:
        os.fsync(directory)
    return time.perf_counter() - begun
turns = [(write(False), write(True)) for _ in range(100)]
os.unlink("whole")
print(*map(statistics.median, zip(*turns)))
"""


async def durability(transport: ExecTransport) -> list[Fact]:
    """Measure what it costs a Python process in the pod to replace a small file, and to have it on the disk."""
    plain, synced = (float(word) * 1e3 for word in (await run(transport, "python3", "-c", _PROGRAM, ROOT)).split())
    return [
        Fact("write 1 KB and rename in the pod, plain Python", plain, "ms"),
        Fact("  the same with fsync of file and directory", synced, "ms"),
    ]
