"""The evaluation counts, compares, and fails where a task was not done."""

import json

import pytest

from tests.examples.programs import EXAMPLES, MAIN


def test_every_task_is_done_and_every_error_recovered_from(programs, tmp_path):
    saved = tmp_path / "now.json"
    ran = programs.run("evaluation", "--save", str(saved))
    assert ran.status == 0, ran.out + ran.err
    now = json.loads(saved.read_text())
    total = next(line.split() for line in ran.out.splitlines() if "all results" in line)
    assert total[2:6] == [f"{len(now['tasks'])}/{len(now['tasks'])}", "31", "6", "6"]
    assert 0 < now["descriptions"] < 10_000
    baseline = json.loads((EXAMPLES / "evaluation" / "baseline.json").read_text())
    assert baseline["tasks"].keys() == now["tasks"].keys()


@pytest.fixture
def read_only(tmp_path):
    """A directory for PATH whose devbox-mcp refuses every change."""
    wrapper = tmp_path / "bin" / "devbox-mcp"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec "{MAIN}/devbox-mcp" "$@" --read-only\n')
    wrapper.chmod(0o755)
    return wrapper.parent


def test_a_server_that_cannot_do_the_tasks_fails(programs, read_only):
    ran = programs.run("evaluation", first=(read_only,))
    assert ran.status == 1
    assert "0/10" in ran.out
    assert "no tool write_file is offered" in ran.err
