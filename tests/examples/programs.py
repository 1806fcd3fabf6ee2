"""Runs the examples as a user does: as programs, with their own environment's Python first on PATH."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent.parent
EXAMPLES = PROJECT / "examples" / "agents"
SCRIPTED = EXAMPLES / "scripted"
WORDCOUNT = PROJECT / "examples" / "wordcount"
MAIN = Path(sys.executable).parent

#: The environment that each framework's agent runs in.
AGENTS = {
    "anthropic_messages": "agents",
    "claude_agent_sdk": "agents",
    "openai_agents": "agents",
    "pydantic_ai": "agents",
    "langgraph": "agents-langchain",
}


@dataclass(frozen=True)
class Ran:
    """How a program ended."""

    status: int
    out: str
    err: str

    @property
    def calls(self) -> int:
        """Tool calls that the scripted model made."""
        found = re.search(r"scripted model: \d+ requests, (\d+) tool calls", self.err)
        assert found, self.err
        return int(found[1])


@dataclass(frozen=True)
class Programs:
    """Starts examples in an environment, with a home of their own and no key of any provider."""

    home: Path

    def environment(self, name: str, *first: Path) -> dict[str, str]:
        """The variables of a program; skips the test where its environment was not made. ``first`` leads PATH."""
        made = PROJECT / ".cache" / name
        if not (made / "ready").exists():
            pytest.skip("`make examples` makes what the examples need, and runs them")
        path = [*first, made / "bin", MAIN, *os.environ["PATH"].split(os.pathsep)]
        return {
            "PATH": os.pathsep.join(map(str, path)),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "MPLCONFIGDIR": str(self.home),
        }

    def command(self, example: str, *arguments: str) -> list[str]:
        """The command of ``folder/program.py`` with the scripted model."""
        return ["python", str(SCRIPTED), "python", str(EXAMPLES / example), *arguments]

    def run(
        self,
        example: str,
        *arguments: str,
        env: str = "agents",
        first: tuple[Path, ...] = (),
        **variables: str,
    ) -> Ran:
        """Run an example to its end."""
        ran = subprocess.run(
            self.command(example, *arguments),
            env={**self.environment(env, *first), **variables},
            check=False,
            capture_output=True,
            text=True,
            timeout=240,
            cwd=self.home,
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr)


def agent(name: str) -> list[str]:
    """The command of a framework's agent, to be given to an errand."""
    return ["python", str(EXAMPLES / name / "agent.py")]


def broken_project(directory: Path) -> Path:
    """A copy of the project whose test fails."""
    return Path(shutil.copytree(WORDCOUNT, directory / "wordcount", ignore=shutil.ignore_patterns("__pycache__")))


def pytest_in(project: Path) -> str:
    """The shell command that runs its tests."""
    return f"cd {shlex.quote(str(project))} && {MAIN}/python -m pytest -q -p no:cacheprovider --rootdir ."


def assert_mended(ran: Ran, project: Path) -> None:
    """The tests failed, the agent was asked, the tests pass, and the change is noted."""
    assert ran.status == 0, ran.out + ran.err
    assert "round 1: the tests fail" in ran.out
    assert ran.out.rstrip().endswith("the tests pass")
    assert "findall(text.lower())" in (project / "wordcount" / "__init__.py").read_text()
    assert "whatever their case" in (project / "CHANGELOG.md").read_text()
    assert ran.calls == 5
