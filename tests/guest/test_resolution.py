"""Any tree of links: both ways of resolving, the kernel's own and realpath agree on where a path leads."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devbox_mcp.guest.beneath import Root
from devbox_mcp.guest.places import kind_of
from tests.guest.resolving import answers

NAMES = st.sampled_from(["a", "b", "c"])
RELATIVE = st.lists(st.sampled_from(["a", "b", "c", "..", "."]), max_size=4).flatmap(
    lambda above: NAMES.map(lambda name: "/".join([*above, name]))
)
ABSOLUTE = st.builds(
    "{}/{}".format, st.sampled_from(["{base}/root", "{base}/alias", "{base}", "{base}/outside", ""]), RELATIVE
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


def trees(targets: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    """Trees as path -> ``directory``, ``file``, or the target of a link."""
    entry = st.one_of(st.sampled_from(["directory", "directory", "file"]), targets, targets)
    return st.dictionaries(PATHS, entry, min_size=1, max_size=10)


@contextmanager
def grown(tree: dict[str, str]) -> Iterator[Path]:
    """Make a tree; what has no place (beneath a file, or where something is already) is left out."""
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory).resolve()
        for name in ("root", "outside/a"):
            (base / name).mkdir(parents=True)
        (base / "alias").symlink_to("root")
        for path in sorted(tree, key=lambda path: path.count("/")):
            host = base / "root" / path
            if not os.path.realpath(host.parent).startswith(str(base / "root")):
                continue
            try:
                host.parent.mkdir(parents=True, exist_ok=True)
                if tree[path] == "directory":
                    host.mkdir()
                elif tree[path] == "file":
                    host.touch(exist_ok=False)
                else:
                    host.symlink_to(tree[path].format(base=base))
            except OSError:
                continue
        yield base


def kernel_answer(base: Path, path: str, follow: bool) -> str:
    """Return what openat2 itself says with RESOLVE_BENEATH, in the words of ``answer``."""
    how = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW), 0, 0x08 | 0x02)
    root = os.open(str(base / "root"), os.O_PATH)
    try:
        fd = ctypes.CDLL(None, use_errno=True).syscall(437, root, os.fsencode(path), how, ctypes.c_size_t(len(how)))
        code = ctypes.get_errno()
    finally:
        os.close(root)
    if fd < 0:
        return {
            errno.EXDEV: "escapes_root",
            errno.ENOENT: "not_found",
            errno.ENOTDIR: "not_directory",
            errno.ELOOP: "too_many_links",
        }[code]
    try:
        found = os.path.relpath(os.readlink("/proc/self/fd/%d" % fd), str(base / "root"))
        return "%s %s" % (kind_of(os.fstat(fd).st_mode), found)
    finally:
        os.close(fd)


def has_openat2() -> bool:
    with tempfile.TemporaryDirectory() as directory:
        root = Root(directory)
        root.close()
        return root._openat2 is not None


examples = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.skipif(sys.platform != "linux" or not has_openat2(), reason="the kernel is asked by openat2")
@examples
@given(tree=trees(RELATIVE), path=PATHS, follow=st.booleans())
def test_relative_links_are_resolved_as_the_kernel_does(tree: dict[str, str], path: str, follow: bool) -> None:
    with grown(tree) as base:
        found = answers(base, path, follow=follow)
        assert ("not_found" if found.startswith("nothing") else found) == kernel_answer(base, path, follow)


@examples
@given(tree=trees(st.one_of(RELATIVE, ABSOLUTE)), path=PATHS)
def test_every_answer_is_beneath_and_what_realpath_says(tree: dict[str, str], path: str) -> None:
    with grown(tree) as base:
        found = answers(base, path)
        root, real = str(base / "root"), os.path.realpath(base / "root" / path)
        if " " in found:
            kind, inside = found.split(" ", 1)
            assert real == os.path.normpath(os.path.join(root, inside))
            assert (kind == "nothing") == (not os.path.lexists(real))
        elif found == "not_found":
            assert not os.path.exists(base / "root" / path)
        if real != root and not real.startswith(root + "/"):
            assert found in ("escapes_root", "not_found", "not_directory", "too_many_links")
