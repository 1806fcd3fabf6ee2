"""What ``doctor`` does: look, and say what is there and how to mend what is not."""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from devbox_mcp.cli.boxes import Place, opened
from devbox_mcp.cli.failing import Failed, wrong_usage
from devbox_mcp.cli.locations import Location, whole_devbox
from devbox_mcp.cli.output import Output, human
from devbox_mcp.models import Capability, FileInfo

_ROUNDS = 11
#: Seconds that clocks may differ before times of files mislead people.
_CLOCKS = 5.0
_WITHOUT = {
    "lines": "files are read whole",
    "search": "find and grep end with exit code 9",
    "watch": "watch ends with exit code 9",
    "archive": "zip ends with exit code 9",
    "batch": "many files are written one by one",
    "upload": "through a gateway, a broken upload begins anew",
}
_GOOD, _BAD = "32", "31"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; ``fix`` says what to do where it is not ``ok``."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


async def examine(devbox: str, *, write: bool, as_json: bool) -> int:
    """Print what a devbox offers; return the exit code, 0 where files can be worked on. Raises Failed."""
    try:
        written = whole_devbox(devbox)
    except ValueError as error:
        raise wrong_usage(str(error)) from None
    report = _Report(written)
    failed = 0
    try:
        async with opened([Location(written, written, ".")], "open") as (place,):
            await _look(place, report, write=write)
    except Failed as failure:
        if failure.code == "invalid_argument":
            raise
        failed = failure.exit_code
        report.add("reached", failure.detail, failure.hint, ok=False)
    output = Output(as_json=as_json)
    if as_json:
        output.record({"devbox": written, "ok": not failed, "checks": [asdict(finding) for finding in report.findings]})
    else:
        report.show(output)
    return failed


class _Report:
    def __init__(self, devbox: str) -> None:
        self.devbox = devbox
        self.findings: list[Finding] = []

    def add(self, name: str, detail: str, fix: str = "", *, ok: bool = True) -> None:
        self.findings.append(Finding(name, ok, detail, fix))

    @contextmanager
    def finding(self, name: str) -> Iterator[None]:
        """Report what fails in the block, and go on."""
        try:
            yield
        except Failed as failure:
            self.add(name, failure.detail, failure.hint, ok=False)

    def show(self, output: Output) -> None:
        output.line(output.name(self.devbox))
        for finding in self.findings:
            mark = output.styled("✓", _GOOD) if finding.ok else output.styled("✗", _BAD)
            output.line(f"{mark} {finding.name}: ", output.name(finding.detail))
            if finding.fix:
                output.line("  ", output.name(finding.fix))


async def _look(place: Place, report: _Report, *, write: bool) -> None:
    box, sandbox = place.box, place.box.sandbox
    with box.telling():
        about = await sandbox.describe()
    report.add("reached", f"{about.kind}, root {sandbox.root}")
    for name, fact in about.facts.items():
        if fact:
            report.add(name, human(int(fact)) if name == "free" else fact)
    for name, means in about.lacks.items():
        report.add(name, "not there", means, ok=False)
    offered = [capability.value for capability in Capability if capability in sandbox.capabilities]
    missing = [capability.value for capability in Capability if capability not in sandbox.capabilities]
    report.add("can", ", ".join(offered) or "the small operations only")
    if missing:
        report.add("cannot", ", ".join(missing), "; ".join(_WITHOUT[name] for name in missing), ok=False)
    with report.finding("root"):
        with box.telling():
            info = await sandbox.stat(place.path)
            page = await sandbox.list(place.path, limit=1)
        what = "empty" if not page.entries else "can be read"
        report.add("root", f"mode {info.mode:04o}, {what}")
    with report.finding("round trip"):
        report.add("round trip", f"{await _round_trip(place) * 1e3:.2f} ms, the median of {_ROUNDS}")
    if write:
        with report.finding("writing"):
            await _try_writing(place, report)


async def _round_trip(place: Place) -> float:
    taken = []
    with place.box.telling():
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            await place.box.sandbox.stat(place.path)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


async def _try_writing(place: Place, report: _Report) -> None:
    path = place.path.child(f".devbox-doctor-{secrets.token_hex(6)}")
    sandbox = place.box.sandbox
    with place.box.telling():
        before = time.time()
        written = await sandbox.write(path, b"", mode="create")
        after = time.time()
        await sandbox.delete(path)
    report.add("writing", "a file was made and deleted")
    _compare_clocks(written.info, before, after, report)


def _compare_clocks(info: FileInfo, before: float, after: float, report: _Report) -> None:
    if not info.modified:
        return
    apart = 0.0 if before <= info.modified <= after else info.modified - (before if info.modified < before else after)
    if abs(apart) < _CLOCKS:
        report.add("clock", "like this machine's")
    else:
        fix = "set the clock of this machine or of the sandbox's node; times of files mislead until then"
        report.add("clock", f"{apart:+.0f} s from this machine's", fix, ok=False)
