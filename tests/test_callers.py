"""What a caller may reach and do, whichever door it comes through."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from devbox_mcp.callers import OPERATOR, Caller, Scope
from devbox_mcp.edits import Edit
from devbox_mcp.errors import EscapesRoot, Forbidden, NotFound
from devbox_mcp.models import BatchItem
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandbox import Sandbox
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.settings import load

at = SandboxPath
READER = Caller("reader", ("shop",), frozenset({Scope.READ}), "request-1")
WRITER = Caller("writer", ("shop*",), frozenset({Scope.WRITE}))


@pytest.fixture
async def sandboxes(tmp_path: Path) -> AsyncIterator[Sandboxes]:
    for name in ("shop", "shop-test", "bank"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("one\n")
    boxes = tuple(f"{name}=local:{tmp_path / name}" for name in ("bank", "shop", "shop-test"))
    opened = await Sandboxes.open(load({"devboxes": boxes, "audit_log": str(tmp_path / "log")}, None))
    yield opened
    await opened.aclose()


def logged(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]


@pytest.mark.parametrize(
    ("patterns", "reached"),
    [
        (("*",), ["shop", "shop-test", "Shop", "x"]),
        (("shop",), ["shop"]),
        (("shop-*",), ["shop-test"]),
        (("x", "s*"), ["shop", "shop-test", "x"]),
        ((), []),
        (("",), []),
    ],
)
def test_devboxes_are_reached_by_globs_of_their_names(patterns: tuple[str, ...], reached: list[str]) -> None:
    caller = Caller("a", patterns)
    assert [name for name in ("shop", "shop-test", "Shop", "x") if caller.may_reach(name)] == reached


async def test_what_is_out_of_reach_is_as_if_it_were_not_there(sandboxes: Sandboxes) -> None:
    mine = sandboxes.called_by(READER)
    assert mine.names == ["shop"]
    assert mine.default.name == "shop"
    with pytest.raises(NotFound) as hidden:
        await mine.resolve("bank", "a.txt", "read")
    with pytest.raises(NotFound) as absent:
        await mine.resolve("none", "a.txt", "read")
    assert str(hidden.value).replace("bank", "none") == str(absent.value)
    with pytest.raises(NotFound):
        await mine.resolve(None, "devbox://bank/a.txt", "read")
    with pytest.raises(EscapesRoot):
        await mine.resolve(None, f"{sandboxes.get('bank', 'read').root}/a.txt", "read")


async def test_whoever_reaches_nothing_is_told_so(sandboxes: Sandboxes) -> None:
    nothing = sandboxes.called_by(Caller("nobody", ()))
    assert nothing.names == []
    for devbox in (None, "bank"):
        with pytest.raises(NotFound, match="ask the operator"):
            await nothing.resolve(devbox, "a.txt", "read")


Change = Callable[[Sandbox], Awaitable[object]]
CHANGES: dict[str, Change] = {
    "write": lambda box: box.write(at("b.txt"), b"x"),
    "edit": lambda box: box.edit(at("a.txt"), [Edit("one", "two")]),
    "mkdir": lambda box: box.make_dir(at("d")),
    "delete": lambda box: box.delete(at("a.txt")),
    "move": lambda box: box.move(at("a.txt"), at("b.txt")),
    "copy": lambda box: box.copy(at("a.txt"), at("b.txt")),
    "chmod": lambda box: box.chmod(at("a.txt"), 0o600),
    "batch": lambda box: box.write_batch([BatchItem(at("b.txt"), b"x")]),
}
LOOKS: dict[str, Change] = {
    "stat": lambda box: box.stat(at("a.txt")),
    "list": lambda box: box.list(at(".")),
    "names": lambda box: box.names(at(".")),
    "read_lines": lambda box: box.read_lines(at("a.txt")),
    "read_bytes": lambda box: box.read_bytes(at("a.txt")),
    "dry_run": lambda box: box.edit(at("a.txt"), [Edit("one", "two")], dry_run=True),
    "find": lambda box: box.find(at("."), "*"),
    "search": lambda box: box.search(at("."), "one"),
    "archive": lambda box: box.archive([at("a.txt")]),
    "watch": lambda box: box.watch(at("."), timeout=0),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_without_the_scope_nothing_is_changed(sandboxes: Sandboxes, tmp_path: Path, change: str) -> None:
    with pytest.raises(Forbidden, match="write"):
        await CHANGES[change](sandboxes.called_by(READER).default)
    assert {entry.name: entry.read_text() for entry in (tmp_path / "shop").iterdir()} == {"a.txt": "one\n"}
    (line,) = logged(tmp_path)
    assert (line["caller"], line["request_id"], line["result"]) == ("reader", "request-1", "forbidden")


@pytest.mark.parametrize("look", LOOKS)
async def test_without_the_scope_nothing_is_seen(sandboxes: Sandboxes, look: str) -> None:
    with pytest.raises(Forbidden, match="read"):
        await LOOKS[look](sandboxes.called_by(WRITER).default)


@pytest.mark.parametrize("work", [*CHANGES, *LOOKS])
async def test_the_operator_may_do_everything(sandboxes: Sandboxes, tmp_path: Path, work: str) -> None:
    done = await {**CHANGES, **LOOKS}[work](sandboxes.get("shop", work))
    if hasattr(done, "aclose"):
        await done.aclose()
    assert {line["caller"] for line in logged(tmp_path)} == {OPERATOR.name}


async def test_asking_for_what_is_out_of_reach_is_in_the_log(sandboxes: Sandboxes, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await sandboxes.called_by(READER).resolve("bank", "a.txt", "read")
    (line,) = logged(tmp_path)
    assert (line["caller"], line["devbox"], line["op"], line["result"]) == ("reader", "bank", "read", "not_found")
