"""What a guest answers is looked at before it is believed."""

from __future__ import annotations

from typing import Any

import pytest

from devbox_mcp.backends import answers
from devbox_mcp.errors import NoSpace
from devbox_mcp.models import BatchItem, BatchOutcome, FileInfo, Written
from devbox_mcp.paths import SandboxPath


def listing(*names: Any, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "targets": {}, "after": None, "unreadable": [], **more}


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("a",),
        ("a", "b/", "b/c", "b/d/"),
        (".hidden", "..b", "...", "a..", "a.", ".a/b."),
        ("a b", "new\nline", "-rf", "\udcff", "x" * 255),
    ],
)
def test_names_are_names(names: tuple[str, ...]) -> None:
    assert answers.names(listing(*names)).names == list(names)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/",
        "/etc",
        "a//b",
        "a/",
        "../x",
        "a/../b",
        "a/..",
        "./a",
        "a/./b",
        "a/.",
        "a\0b",
        "\0",
        "//",
        "..//",
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_name_is_refused(name: str, place: int) -> None:
    names = ["x", "y"]
    names.insert(place, name)
    if name == "a/":  # a directory
        assert answers.names(listing(*names)).names == names
        return
    with pytest.raises(ValueError, match="beneath the root"):
        answers.names(listing(*names))


@pytest.mark.parametrize("names", [[1], [None], ["a", b"b"], "ab", {"a": 1}, None])
def test_what_is_no_list_of_names_is_refused(names: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        answers.names({**listing(), "names": names})


_A, _B = (BatchItem(SandboxPath(name), b"") for name in ("a", "b"))
_ROW = [3, 0o644, 1.5, 1, "7-3-1-2", "0" * 64, True, None, 0]


def test_rows_of_a_batch() -> None:
    failed = {"code": "no_space", "path": "b", "detail": "the disk is full", "hint": "", "data": {}}
    first, second = answers.rows([_A, _B], [_ROW, failed])
    info = FileInfo(_A.path, "file", 3, 0o644, 1.5, 1, "7-3-1-2", None, "0" * 64)
    assert first == BatchOutcome(_A.path, Written(info, created=True, previous=None, unlinked=0))
    assert second.written is None
    assert isinstance(second.error, NoSpace)
    assert (second.error.op, second.error.path) == ("write", "b")


@pytest.mark.parametrize(
    "found",
    [
        None,
        {},
        [],
        [_ROW],
        [_ROW, None],
        [_ROW, {}],
        [_ROW, {"code": "no_space"}],
        [_ROW, _ROW[:-1]],
        [_ROW, [*_ROW, 0]],
        *([_ROW, [*_ROW[:at], {}, *_ROW[at + 1 :]]] for at in range(len(_ROW))),
        [_ROW, [*_ROW[:6], 1, None, 0]],
    ],
    ids=repr,
)
def test_rows_that_make_no_sense(found: Any) -> None:
    with pytest.raises((TypeError, ValueError, KeyError)):
        answers.rows([_A, _B], found)
