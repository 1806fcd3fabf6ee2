"""What a scripted model is asked and what it answers, whichever API it is spoken to in."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any


class ScriptError(Exception):
    """The conversation went another way than the script: the client is told so, and the run fails."""


@dataclass(frozen=True)
class Call:
    """A tool that the model wants called."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One request: the task, the tools on offer by name, and for each turn of calls the texts of its results."""

    task: str
    tools: dict[str, dict[str, Any]]
    results: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    """What the model says: words, and tools to call; without calls it is done."""

    text: str
    calls: list[Call] = field(default_factory=list)


Script = Generator[list[Call], list[str], str]
"""Yields the calls of a turn, is sent their results, returns the last words."""


def call(name: str, **arguments: Any) -> Call:
    """Make a call, to be yielded in a list."""
    return Call(name, arguments)


def expect(text: str, pattern: str) -> re.Match[str]:
    """Find what a result must say. Raises ScriptError if it does not."""
    found = re.search(pattern, text)
    if found is None:
        raise ScriptError(f"a result was to match {pattern!r} and is: {text[:500]!r}")
    return found


def answer(script: Callable[[], Script], asked: Asked) -> Answer:
    """Play a script from its beginning with all results so far: so a model has no memory, as real ones have none."""
    playing = script()
    try:
        calls = next(playing)
        for results in asked.results:
            if len(results) != len(calls):
                raise ScriptError(f"{len(calls)} tools were called and {len(results)} results came back")
            calls = playing.send(results)
    except StopIteration as end:
        return Answer(end.value)
    return Answer("", [_offered(wanted, asked.tools) for wanted in calls])


def _offered(wanted: Call, tools: dict[str, dict[str, Any]]) -> Call:
    """The call by the name that the client gave the tool (``mcp__devbox__read_file``). Raises ScriptError."""
    for name, schema in tools.items():
        if name == wanted.name or name.endswith(f"__{wanted.name}"):
            unknown = wanted.arguments.keys() - schema.get("properties", {}).keys()
            missing = set(schema.get("required", ())) - wanted.arguments.keys()
            if unknown or missing:
                raise ScriptError(f"{name}: unknown arguments {sorted(unknown)}, missing {sorted(missing)}")
            return Call(name, wanted.arguments)
    raise ScriptError(f"no tool {wanted.name} is offered; there are {', '.join(tools) or 'none'}")
