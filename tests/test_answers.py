"""What a guest answers is looked at before it is believed."""

from __future__ import annotations

from typing import Any

import pytest

from devbox_mcp.backends import answers


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
