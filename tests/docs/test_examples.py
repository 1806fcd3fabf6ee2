"""Every code block of the documentation does what it can: programs run, commands run, files are what programs take."""

from __future__ import annotations

import asyncio
import gc
import json
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from devbox_mcp import settings
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.guest.policy import Policy
from tests.docs.blocks import PROJECT, Block, Stage, all_blocks, blocks

#: ``text`` is for what cannot run; ``console`` has what is printed too, and tests/cli runs and compares it.
LANGUAGES = {"python", "sh", "toml", "json", "yaml", "text", "console"}
PARSERS = {"toml": tomllib.loads, "json": json.loads, "yaml": lambda text: list(yaml.safe_load_all(text))}


def each(*languages: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", all_blocks(*languages), ids=str)


def test_every_block_says_what_it_is() -> None:
    assert [str(block) for block in all_blocks() if block.language not in LANGUAGES] == []


def test_what_a_page_prints_is_compared_somewhere() -> None:
    assert {block.page.name for block in all_blocks("console")} == {"command-line.md"}


PROGRAMS = [block for block in all_blocks("python") if block.page.name != "CONTRIBUTING.md"]


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_a_program_runs(block: Block, stage: Stage) -> None:
    # examples go on where their page began
    source = f"from devbox_mcp import Devbox\n{block.text}" if block.page.parent.name == "docs" else block.text
    for devbox in ("k8s://default/my-pod", "https://files.example.com/v1/devboxes/shop"):
        source = source.replace(devbox, str(stage.directory / "box"))
    names: dict[str, Any] = {"__name__": "example"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # some leave their box open, to be short
        exec(compile(stage.meant(source), str(block), "exec"), names)
        names.clear()
        gc.collect()
    if "dataset.csv" in source:
        assert (stage.directory / "copy.csv").read_text() == "x\n1\n"


def test_whoever_adds_a_backend_is_shown_a_test_that_works(tmp_path: Path) -> None:
    (block,) = blocks(PROJECT / "CONTRIBUTING.md", "python")
    names: dict[str, Any] = {"__name__": "tests.conformance.test_mine", "__package__": "tests.conformance"}
    names["MyBackend"] = lambda root, policy: LocalBackend(root, policy=policy)
    exec(compile(block.text, str(block), "exec"), names)
    backend = asyncio.run(names["Mine"](tmp_path).open(Policy()))
    assert asyncio.run(backend.root()) == str(tmp_path / "root")


@each("sh")
def test_commands_run(block: Block, stage: Stage) -> None:
    stage.run(["sh", "-euc", stage.meant(block.text)])


@each(*PARSERS)
def test_a_file_is_well_formed(block: Block) -> None:
    assert PARSERS[block.language](block.text)


def servers(node: Any) -> Iterator[dict[str, Any]]:
    """Return what clients' configurations start, at every depth."""
    if isinstance(node, dict):
        if "command" in node:
            yield node
        for inner in node.values():
            yield from servers(inner)


CONFIGURATIONS = [block for block in all_blocks("json", "toml") if "command" in block.text]


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=str)
def test_what_a_client_is_told_to_start_starts(block: Block, stage: Stage) -> None:
    found = list(servers(PARSERS[block.language](stage.meant(block.text))))
    assert found
    for server in found:
        variables = [f"{name}={value}" for name, value in server.get("env", {}).items()]
        stage.run(["env", *variables, server["command"], *server["args"]])


def test_clients_are_configured_on_the_page_and_in_the_readme() -> None:
    assert {block.page.name for block in CONFIGURATIONS} >= {"mcp.md", "README.md"}


def test_the_page_shows_clients_what_is_packaged_for_them() -> None:
    shown = [PARSERS[block.language](block.text) for block in CONFIGURATIONS if block.page.name == "mcp.md"]
    clients = PROJECT / "packaging" / "clients"
    for file in ("claude-code/.mcp.json", "claude-desktop/claude_desktop_config.json", "cursor/mcp.json",
                 "gemini-cli/settings.json", "vscode/mcp.json", "codex/config.toml"):  # fmt: skip
        assert PARSERS[file.rpartition(".")[2]]((clients / file).read_text()) in shown


SETTINGS = [block for block in all_blocks("toml") if "devboxes = [" in block.text and "[[" not in block.text]


@pytest.mark.parametrize("block", SETTINGS, ids=str)
def test_a_file_of_settings_is_taken(block: Block, stage: Stage) -> None:
    file = stage.directory / "settings.toml"
    file.write_text(stage.meant(block.text))
    assert settings.load({}, file).deny


def test_the_readme_shows_what_it_says(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = blocks(PROJECT / "README.md", "python")
    exec(compile(stage.meant(program.text), "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "print('hello')" in said
    assert "main.py" in said
    assert not (stage.directory / "shop" / "copies").exists()
