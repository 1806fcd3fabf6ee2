"""The errands that are programs of their own."""

import os
import re
import signal
import subprocess
import zipfile

import pytest

from tests.examples.programs import EXAMPLES, PROJECT, agent


def test_a_table_becomes_a_report_and_a_plot_in_a_zip(programs, tmp_path):
    box = tmp_path / "box"
    box.mkdir()
    (box / "sales.csv").write_bytes((EXAMPLES / "csv_report" / "sales.csv").read_bytes())
    ran = programs.run("csv_report/report.py", str(box), "sales.csv", str(tmp_path / "report.zip"))
    assert ran.status == 0, ran.out + ran.err
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        report = archive.read("report/report.md").decode()
        assert "North brought 13,437, south 9,456" in report
        assert "2026-06 with 2,668" in report
        assert archive.read("report/revenue.png").startswith(b"\x89PNG\r\n")


@pytest.mark.parametrize("name", ["anthropic_messages", "openai_agents"])
def test_two_agents_write_one_file_and_lose_nothing(programs, tmp_path, name):
    ran = programs.run("two_agents/together.py", str(tmp_path), *agent(name))
    assert ran.status == 0, ran.out + ran.err
    log = (tmp_path / "log.md").read_text()
    assert sorted(log.splitlines()[2:]) == ["- Ada: the boat is painted", "- Grace: the engine runs"]
    # Both read and both write; the second is refused, reads again and writes again.
    assert ran.calls == 6


def test_what_arrives_is_noted(programs, tmp_path):
    command = programs.command("watcher/watch.py", str(tmp_path), *agent("anthropic_messages"))
    watching = subprocess.Popen(
        command,
        env={**programs.environment("agents"), "WATCH_FILES": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        first = watching.stdout.readline()
        assert first == "watching inbox/\n", first + watching.stdout.read()
        (tmp_path / "inbox" / "engine.txt").write_text("Subject: The engine runs\n\nAt last.\n")
        # Another program may well write a file piece by piece.
        with (tmp_path / "inbox" / "boat.txt").open("w") as slowly:
            for piece in ("Subject: ", "The boat ", "is painted\n"):
                slowly.write(piece)
                slowly.flush()
        said = watching.communicate(timeout=120)[0]
    finally:
        if watching.poll() is None:
            os.killpg(watching.pid, signal.SIGKILL)
    assert watching.returncode == 0, said
    notes = {path.name: path.read_text() for path in (tmp_path / "notes").iterdir()}
    assert notes == {"boat.md": "- The boat is painted\n", "engine.md": "- The engine runs\n"}


#: Goes on from a cursor of another server's life, and prints which files have arrived.
GO_ON = """
import asyncio, sys
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from watch import arrived

async def main():
    async with Client(StdioServerParameters(command="devbox-mcp", args=["serve", sys.argv[1]])) as tools:
        paths, _ = await arrived(tools, "0123456789abcdef-7")
        print(sorted(paths))

asyncio.run(main())
"""


def test_what_arrived_while_nobody_could_watch_is_found(programs, tmp_path):
    (tmp_path / "inbox").mkdir()
    for name in ("one.txt", "two.txt", "three.log"):
        (tmp_path / "inbox" / name).write_text("Subject: late\n")
    ran = subprocess.run(
        ["python", "-c", GO_ON, str(tmp_path)],
        env={**programs.environment("agents"), "PYTHONPATH": str(EXAMPLES / "watcher")},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.stdout == "['inbox/one.txt', 'inbox/two.txt']\n", ran.stderr


def test_a_client_without_a_framework_searches(programs, tmp_path):
    (tmp_path / "shop.py").write_text("def pay():\n    pass  # TODO: money\n")
    ran = subprocess.run(
        ["python", str(EXAMPLES / "plain" / "client.py"), str(tmp_path)],
        env=programs.environment("agents"),
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert "2:     pass  # TODO: money" in ran.stdout


def test_every_example_says_how_it_is_run():
    folders = [path for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"]
    overview = (EXAMPLES / "README.md").read_text()
    assert folders
    for folder in folders:
        readme = (folder / "README.md").read_text()
        assert f"examples/agents/{folder.name}" in readme, folder
        assert f"({folder.name}/)" in overview, folder
        for program in (path for path in folder.glob("*.py") if folder.name not in {"scripted", "evaluation"}):
            assert program.name in readme, program
            assert len(program.read_text().splitlines()) <= 80, f"{program.relative_to(PROJECT)} is long for an example"


def test_every_program_that_a_readme_names_is_there():
    for readme in EXAMPLES.rglob("README.md"):
        named = re.findall(r"(?:python|cp|cp -r) (examples/[\w./]+)", readme.read_text())
        assert named, readme
        for path in named:
            assert (PROJECT / path).exists(), f"{readme.relative_to(PROJECT)} names {path}"
