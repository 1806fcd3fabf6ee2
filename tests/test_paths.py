"""Paths are parsed once, and every way to write one means one thing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devbox_mcp.audit import NoAudit
from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.errors import DevboxError, EscapesRoot, InvalidArgument
from devbox_mcp.limits import Limits
from devbox_mcp.paths import LONGEST, ROOT, SandboxPath, beneath, is_absolute, parse, split_uri
from devbox_mcp.recording import Recorder
from devbox_mcp.sandbox import Sandbox


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".", "."),
        ("./", "."),
        ("a", "a"),
        ("a/", "a"),
        ("a//b", "a/b"),
        ("./a/./b/.", "a/b"),
        ("a/../b", "b"),
        ("a/b/../..", "."),
        ("a/b/../../c", "c"),
        ("...", "..."),
        ("..a/b..", "..a/b.."),
        (" ", " "),
        ("a b\n", "a b\n"),
        ("-rf", "-rf"),
        ("~", "~"),
        ("%2e%2e/x", "%2e%2e/x"),
        ("..%2fx", "..%2fx"),
        ("a\\..\\b", "a\\..\\b"),
        ("\uff0e\uff0e/x", "\uff0e\uff0e/x"),
        ("\u2024\u2024", "\u2024\u2024"),
        ("e\u0301", "e\u0301"),
        ("C:/x", "C:/x"),
        ("x" * LONGEST, "x" * LONGEST),
    ],
)
def test_relative_paths(text: str, expected: str) -> None:
    assert parse(text, "read") == SandboxPath(expected)


@pytest.mark.parametrize("text", ["..", "../", "../a", "a/../..", "a/../../a", "./..", "a/b/../../../c", "/.."])
def test_climbing_out_is_refused_never_clipped(text: str) -> None:
    with pytest.raises(EscapesRoot) as caught:
        parse(text, "read")
    assert (caught.value.op, caught.value.path) == ("read", text)


@pytest.mark.parametrize("text", ["", "\0", "a\0", "a/\0/b", "\ud800", "x" * (LONGEST + 1), "é" * LONGEST])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(text, "write")
    assert len(str(caught.value)) < 400
    str(caught.value).encode()


def test_the_root() -> None:
    assert ROOT.is_root
    assert not SandboxPath("a").is_root
    assert parse("a/..", "list") == ROOT


def test_names() -> None:
    assert SandboxPath("a/b.txt").name == "b.txt"
    assert SandboxPath("b").name == "b"
    assert str(SandboxPath("a/b")) == "a/b"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("devbox://box/a/b", ("box", "a/b")),
        ("devbox://box/", ("box", ".")),
        ("devbox://box", ("box", ".")),
        ("devbox://box/a%20b", ("box", "a b")),
        ("devbox://box/%2e%2e/x", ("box", "../x")),
        ("devbox://box//etc", ("box", "/etc")),
        ("devbox://box/%ff", ("box", os.fsdecode(b"\xff"))),
        ("devbox://box/%zz%", ("box", "%zz%")),
        ("devbox:/box/a", None),
        ("DEVBOX://box/a", None),
        ("file:///etc/passwd", None),
        ("a", None),
    ],
)
def test_uris(uri: str, expected: tuple[str, str] | None) -> None:
    assert split_uri(uri) == expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a/b c.txt", "a/b c.txt"),
        (".", "."),
        ("é", "é"),
        ("two\nlines", "devbox://box/two%0Alines"),
        ("\x1b[31m", "devbox://box/%1B%5B31m"),
        (os.fsdecode(b"caf\xe9"), "devbox://box/caf%E9"),
        ("\u202egnp.exe", "devbox://box/%E2%80%AEgnp.exe"),
        ("devbox://box/x", "devbox://box/devbox://box/x"),
    ],
)
def test_shown_on_one_line_and_accepted_back(text: str, shown: str) -> None:
    assert SandboxPath(text).shown("box") == shown
    found = split_uri(shown)
    assert parse(shown if found is None else found[1], "read") in (
        SandboxPath(text),
        SandboxPath(text.replace("//", "/")),
    )


NAME = st.binary(min_size=1, max_size=12).map(lambda raw: os.fsdecode(raw.replace(b"/", b"_").replace(b"\0", b"_")))
NORMAL = st.lists(NAME.filter(lambda name: name not in (".", "..")), min_size=1, max_size=5).map("/".join)


@given(NORMAL)
def test_every_name_survives_its_uri(text: str) -> None:
    path = SandboxPath(text)
    uri = path.uri("box")
    assert uri.isascii()
    assert uri.isprintable()
    assert split_uri(uri) == ("box", text)
    assert parse(text, "read") == path


@given(st.text(st.sampled_from("ab./\\%é\n"), min_size=1, max_size=20))
def test_whatever_parses_is_normal_and_means_what_normpath_says(text: str) -> None:
    try:
        path = parse(text, "read")
    except EscapesRoot:
        assert ".." in text
        assert (os.path.normpath(text.lstrip("/") or ".") + "/").startswith("../") or "/../" in f"/{text}/"
        return
    assert parse(path.text, "read") == path
    assert path.text == os.path.normpath(text.lstrip("/") or ".")
    assert not {"", "..", "."} & set(path.text.split("/")) or path.is_root


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/srv/root", "."),
        ("/srv/root/", "."),
        ("/srv/root/a/b", "a/b"),
        ("/srv//root/./a/../b", "b"),
        ("/srv/other/../root/a", "a"),
        ("/srv/root-evil", None),
        ("/srv/root-evil/a", None),
        ("/srv/root/../root-evil", None),
        ("/srv/root/..", None),
        ("/srv/roo", None),
        ("/srv", None),
        ("/", None),
        ("/SRV/ROOT/a", None),
    ],
)
def test_absolute_paths_by_their_letters(text: str, expected: str | None) -> None:
    assert is_absolute(text)
    assert beneath(text, "/srv/root") == expected


def test_everything_is_beneath_the_root_of_all() -> None:
    assert beneath("/etc/x", "/") == "etc/x"
    assert beneath("/", "/") == "."


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path.resolve()
    for path in ("root/d", "root-evil", "outside"):
        (base / path).mkdir(parents=True)
    (base / "root/d/f").write_text("ours")
    (base / "root-evil/f").write_text("theirs")
    (base / "alias").symlink_to("root")
    (base / "into").symlink_to("root/d")
    return base


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("d/f", "d/f"),
        ("{base}/root/d/f", "d/f"),
        ("{base}/root", "."),
        ("/{base}/root/d/f", "d/f"),
        ("{base}/alias/d/f", "d/f"),
        ("{base}/alias", "."),
        ("{base}/alias/../root/d", "d"),
        ("{base}/root/not/there", "not/there"),
        ("devbox://box/d/f", "d/f"),
        ("devbox://box/d%2Ff", "d/f"),
        ("devbox://box", "."),
        ("devbox://box/d/%2e%2e/d/f", "d/f"),
        ("{base}/root-evil/f", EscapesRoot),
        ("{base}/root/../root-evil/f", EscapesRoot),
        ("{base}/alias/../root-evil/f", EscapesRoot),
        ("{base}/into/f", EscapesRoot),
        ("{base}", EscapesRoot),
        ("/", EscapesRoot),
        ("/etc/passwd", EscapesRoot),
        ("/proc/self/root/etc", EscapesRoot),
        ("../root-evil/f", EscapesRoot),
        ("devbox://box/../root-evil/f", EscapesRoot),
        ("devbox://box/%2e%2e/root-evil/f", EscapesRoot),
        ("devbox://box/%2e%2e%2froot-evil%2ff", EscapesRoot),
        ("devbox://box/d/%2e%2e/%2e%2e/root-evil/f", EscapesRoot),
        ("devbox://box/{base}/root-evil/f", InvalidArgument),
        ("devbox://box/%2fetc/passwd", InvalidArgument),
        ("devbox://box/d%00", InvalidArgument),
        ("devbox://other/d/f", InvalidArgument),
        ("devbox://box@other/d/f", InvalidArgument),
        ("{base}/root/\0", EscapesRoot),
        ("", InvalidArgument),
        ("\0", InvalidArgument),
    ],
)
async def test_how_a_caller_may_write_a_path(base: Path, text: str, expected: str | type[DevboxError]) -> None:
    backend = LocalBackend(str(base / "root"))
    try:
        sandbox = Sandbox("box", backend, await backend.root(), Limits(), Recorder(NoAudit(), "box"))
        text = text.format(base=base)
        if isinstance(expected, str):
            assert await sandbox.parse(text, "read") == SandboxPath(expected)
        else:
            with pytest.raises(expected):
                await sandbox.parse(text, "read")
    finally:
        await backend.aclose()
