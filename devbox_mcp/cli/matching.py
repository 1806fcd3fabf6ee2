"""What ``grep`` does."""

from __future__ import annotations

from dataclasses import dataclass

from devbox_mcp.cli.boxes import opened
from devbox_mcp.cli.failing import Failed
from devbox_mcp.cli.listing import incomplete
from devbox_mcp.cli.locations import Location
from devbox_mcp.cli.output import Output
from devbox_mcp.cli.running import tell
from devbox_mcp.models import Gap, Match
from devbox_mcp.paths import SandboxPath

_PAGE = 1000
_NOTHING = 1
_PATH, _NUMBER, _BETWEEN = "35", "32", "36"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; ``ignored`` files too if that is set."""

    pattern: str
    glob: str | None
    regex: bool
    ignore_case: bool
    context: int
    ignored: bool


async def search(location: Location, wanted: Wanted, *, only_names: bool, nul: bool, as_json: bool) -> int:
    """Print matching lines, or the names of files that have some. Returns the exit code. Raises Failed."""
    output = Output(as_json=as_json, nul=nul and only_names)
    printer = _Printer(output, wanted.context)
    unreadable, after, last = 0, None, None
    gaps: list[Gap] = []
    async with opened([location], "search") as (place,):
        box = place.box
        while True:
            with box.telling():
                found = await box.sandbox.search(
                    place.path, wanted.pattern, glob=wanted.glob, regex=wanted.regex, ignore_case=wanted.ignore_case,
                    context=wanted.context, ignored=wanted.ignored, limit=_PAGE, after=after,
                )  # fmt: skip
            for match in found.matches:
                if not only_names:
                    printer.show(match, box.sandbox.name)
                elif match.path != last:
                    path = match.path.shown(box.sandbox.name)
                    output.record({"path": path}) if as_json else output.line(output.name(match.path.text, _PATH))
                last = match.path
            output.flush()
            unreadable = max(unreadable, found.unreadable)
            gaps += found.gaps
            if found.timed_out and found.after in (None, after):
                raise Failed("timeout", location.text, "the search took too long and is not complete", "look in less")
            after = found.after
            if after is None:
                break
    printer.finish()
    reasons = {"long": "too_large", "slow": "timeout"}
    codes = [
        tell(Failed(reasons[gap.reason], gap.path.text, f"not searched: {gap.extent}")) for gap in dict.fromkeys(gaps)
    ]
    return max([incomplete(location, unreadable), *codes]) or (_NOTHING if last is None else 0)


class _Printer:
    """Prints matches as grep does: ``path:line:text``, lines of context with dashes, ``--`` where some are left out."""

    def __init__(self, output: Output, context: int) -> None:
        self._output = output
        self._context = context
        self._path: SandboxPath | None = None
        self._last = 0
        #: Lines behind the last match, of which the next match may be one.
        self._held: list[str] = []

    def show(self, match: Match, devbox: str) -> None:
        """Print one more match."""
        if self._output.as_json:
            self._output.record(
                {
                    "path": match.path.shown(devbox), "line": match.line, "text": match.text,
                    "before": match.before, "after": match.after,
                }
            )  # fmt: skip
            return
        if match.path != self._path:
            self.finish()
        while self._held and self._last + 1 < match.line:
            self._line(self._last + 1, "-", self._held.pop(0))
        gap = match.path != self._path or self._last + 1 < match.line - len(match.before)
        if self._context and self._path is not None and gap:
            self._output.line(self._output.styled("--", _BETWEEN))
        if match.path != self._path:
            self._path, self._last = match.path, 0
        first = match.line - len(match.before)
        for number, text in enumerate(match.before, first):
            if number > self._last:
                self._line(number, "-", text)
        self._line(match.line, ":", match.text)
        self._held = list(match.after)

    def finish(self) -> None:
        """Print what was held back."""
        for text in self._held:
            self._line(self._last + 1, "-", text)
        self._held = []

    def _line(self, number: int, mark: str, text: str) -> None:
        output = self._output
        path = "" if self._path is None else output.name(self._path.text, _PATH)
        between = output.styled(mark, _BETWEEN)
        output.line(path, between, output.styled(str(number), _NUMBER), between, output.name(text))
        self._last = number
