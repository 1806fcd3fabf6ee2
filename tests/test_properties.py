"""The local backend against a model of a file system: the same calls, the same answers, the same files."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from devbox_mcp.backends.local import LocalBackend
from devbox_mcp.errors import DevboxError
from devbox_mcp.models import WriteMode
from devbox_mcp.paths import SandboxPath

MOST_LINKS = 40


class Refused(Exception):
    """The model refuses, with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Link(str):
    """A symbolic link, by its target."""

    __slots__ = ()


Directory = dict[str, Any]
Node = bytes | Link | Directory


class Model:
    """What should be there: a tree of dictionaries, bytes and links. Each method does what the backend's does, or
    raises Refused and changes nothing that is told."""

    def __init__(self) -> None:
        self.root: Directory = {}

    # -- where a path leads

    def resolve(self, path: str, *, follow: bool = True, make_parents: bool = False) -> tuple[str, ...]:
        """Return the names on the way to where a path leads."""
        at: list[str] = []
        pending = path.split("/")[::-1]
        links = 0
        while pending:
            name = pending.pop()
            if name == ".":
                continue
            if name == "..":
                if not at:
                    raise Refused("escapes_root")
                at.pop()
                continue
            here = self.node(at)
            assert isinstance(here, dict)
            node = here.get(name)
            if isinstance(node, Link) and (follow or pending):
                links += 1
                if links > MOST_LINKS:
                    raise Refused("too_many_links")
                pending += node.split("/")[::-1]
            else:
                if pending and not isinstance(node, dict):
                    if node is not None:
                        raise Refused("not_directory")
                    if not make_parents:
                        raise Refused("not_found")
                    here[name] = {}
                at.append(name)
        return tuple(at)

    def node(self, at: tuple[str, ...] | list[str]) -> Node | None:
        """Return what is there."""
        found: Node | None = self.root
        for name in at:
            found = found.get(name) if isinstance(found, dict) else None
        return found

    def put(self, at: tuple[str, ...], node: Node | None) -> None:
        """Put something there, or nothing."""
        parent = self.node(at[:-1])
        assert isinstance(parent, dict)
        if node is None:
            del parent[at[-1]]
        else:
            parent[at[-1]] = node

    def snapshot(self) -> dict[str, bytes | str | None]:
        """Return everything by its path: a file's bytes, a link's target, None for a directory."""
        found: dict[str, bytes | str | None] = {}

        def add(directory: Directory, above: str) -> None:
            for name, node in directory.items():
                found[above + name] = None if isinstance(node, dict) else node
                if isinstance(node, dict):
                    add(node, f"{above}{name}/")

        add(self.root, "")
        return found

    # -- the operations

    def existing(self, path: str, *, follow: bool = True) -> tuple[tuple[str, ...], Node]:
        at = self.resolve(path, follow=follow)
        node = self.node(at)
        if node is None:
            raise Refused("not_found")
        return at, node

    def read(self, path: str) -> bytes:
        _, node = self.existing(path)
        if not isinstance(node, bytes):
            raise Refused("is_directory")
        return node

    def entries(self, path: str, depth: int) -> list[str]:
        _, node = self.existing(path)
        if not isinstance(node, dict):
            raise Refused("not_directory")

        def below(directory: Directory, above: str, levels: int) -> list[str]:
            found = []
            for name in sorted(directory):
                found.append(above + name)
                if levels > 1 and isinstance(directory[name], dict):
                    found += below(directory[name], f"{above}{name}/", levels - 1)
            return found

        return below(node, "" if path == "." else f"{path}/", depth)

    def write(self, path: str, data: bytes, mode: str, if_match: str | None) -> None:
        try:
            at = self.resolve(path, make_parents=if_match is None)
        except Refused as refused:
            if refused.code == "not_found" and if_match is not None:
                raise Refused("conflict") from None
            raise
        node = self.node(at)
        if node is not None and mode == "create":
            raise Refused("exists")
        if isinstance(node, dict):
            raise Refused("is_directory")
        assert not isinstance(node, Link)
        self.match(node, if_match)
        self.put(at, (node or b"") + data if mode == "append" else data)

    @staticmethod
    def match(node: bytes | None, if_match: str | None) -> None:
        if if_match is not None and (node is None or not hashlib.sha256(node).hexdigest().startswith(if_match)):
            raise Refused("conflict")

    def mkdir(self, path: str) -> bool:
        at = self.resolve(path, make_parents=True)
        node = self.node(at)
        if node is None:
            self.put(at, {})
        elif not isinstance(node, dict):
            raise Refused("exists")
        return node is None

    def delete(self, path: str, recursive: bool) -> int:
        at, node = self.existing(path, follow=False)
        if not at:
            raise Refused("invalid_argument")
        if isinstance(node, dict) and node and not recursive:
            raise Refused("not_empty")
        self.put(at, None)
        return 1 + _size(node)

    def move(self, source: str, destination: str, overwrite: bool) -> None:
        if destination == source or destination.startswith(f"{source}/"):
            raise Refused("invalid_argument")
        old, node = self.existing(source, follow=False)
        new = self.resolve(destination, follow=False, make_parents=True)
        if not old or not new or new[: len(old)] == old:
            raise Refused("invalid_argument")
        there = self.node(new)
        if there is not None:
            if not overwrite or (isinstance(node, dict) and not isinstance(there, dict)):
                raise Refused("exists")
            if isinstance(there, dict) and not isinstance(node, dict):
                raise Refused("is_directory")
            if there and isinstance(there, dict):
                raise Refused("not_empty")
        self.put(old, None)
        self.put(new, node)

    def copy(self, source: str, destination: str, overwrite: bool) -> None:
        old, node = self.existing(source)
        if isinstance(node, dict) and (source == "." or f"{destination}/".startswith(f"{source}/")):
            raise Refused("invalid_argument")
        new = self.resolve(destination, make_parents=True)
        there = self.node(new)
        if there is not None and (isinstance(node, dict) or not overwrite):
            raise Refused("exists")
        if isinstance(there, dict):
            raise Refused("is_directory")
        if new[: len(old)] == old:
            raise Refused("invalid_argument")
        self.put(new, _copied(node))


def _size(node: Node) -> int:
    return sum(1 + _size(child) for child in node.values()) if isinstance(node, dict) else 0


def _copied(node: Node) -> Node:
    return {name: _copied(child) for name, child in node.items()} if isinstance(node, dict) else node


NAMES = st.sampled_from(["a", "b"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
DATA = st.sampled_from([b"", b"one", b"two\n", b"\x00\xff" * 40])
#: A path, or the number of one that is there.
CHOICES = st.one_of(PATHS, st.integers(0, 20), st.integers(0, 20))
TARGETS = st.tuples(st.sampled_from(["", "./", "../", "../../"]), PATHS).map("".join)
MATCHES = st.sampled_from([None, None, "right", "wrong"])


class Machine(RuleBasedStateMachine):
    """Runs each call on both, and compares."""

    def __init__(self) -> None:
        super().__init__()
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.directory = tempfile.mkdtemp(dir=memory)
        self.model = Model()
        self.runner = asyncio.Runner()

    @initialize(use_openat2=st.booleans())
    def open(self, use_openat2: bool) -> None:
        self.backend = LocalBackend(self.directory, use_openat2=use_openat2)

    def teardown(self) -> None:
        self.runner.run(self.backend.aclose())
        self.runner.close()
        shutil.rmtree(self.directory)

    def both(self, expected: Callable[[], Any], call: Coroutine[Any, Any, Any]) -> Any:
        """Run the call, hold it to refusing with the model's code or doing what the model does, and return the
        two answers."""
        before = _copied(self.model.root)
        try:
            wanted: Any = expected()
            code = None
        except Refused as refused:
            assert isinstance(before, dict)
            self.model.root = before
            wanted, code = None, refused.code
        try:
            answer = self.runner.run(call)
        except DevboxError as error:
            assert error.code == code, f"{error} instead of {code}"
            return None
        assert code is None, f"went well instead of {code}"
        return wanted, answer

    @invariant()
    def the_files_are_the_same(self) -> None:
        found: dict[str, bytes | str | None] = {}
        for directory, directories, files in os.walk(self.directory):
            for name in directories + files:
                host = os.path.join(directory, name)
                path = os.path.relpath(host, self.directory)
                if os.path.islink(host):
                    found[path] = os.readlink(host)
                elif os.path.isdir(host):
                    found[path] = None
                else:
                    with open(host, "rb") as file:
                        found[path] = file.read()
        assert found == self.model.snapshot()

    def chosen(self, choice: str | int) -> str:
        """Return the path that was chosen."""
        there = sorted(self.model.snapshot()) or ["a"]
        return choice if isinstance(choice, str) else there[choice % len(there)]

    def version(self, path: str, match: str | None) -> str | None:
        """Return an if_match of the kind."""
        try:
            current = hashlib.sha256(self.model.read(path)).hexdigest()
        except Refused:
            current = hashlib.sha256(b"nothing").hexdigest()
        return {None: None, "right": current[:12], "wrong": current[::-1]}[match]

    @rule(
        choice=CHOICES, data=DATA, mode=st.sampled_from(["overwrite", "overwrite", "create", "append"]), match=MATCHES
    )
    def write(self, choice: str | int, data: bytes, mode: WriteMode, match: str | None) -> None:
        path = self.chosen(choice)
        version = None if mode == "create" else self.version(path, match)
        answers = self.both(
            lambda: self.model.write(path, data, mode, version),
            self.backend.write(SandboxPath(path), data, mode=mode, if_match=version),
        )
        if answers is not None:
            assert answers[1].info.sha256 == hashlib.sha256(self.model.read(path)).hexdigest()

    @rule(path=PATHS)
    def mkdir(self, path: str) -> None:
        answers = self.both(lambda: self.model.mkdir(path), self.backend.mkdir(SandboxPath(path)))
        assert answers is None or answers[0] == answers[1]

    @rule(choice=CHOICES, recursive=st.booleans())
    def delete(self, choice: str | int, recursive: bool) -> None:
        path = self.chosen(choice)
        answers = self.both(
            lambda: self.model.delete(path, recursive), self.backend.delete(SandboxPath(path), recursive=recursive)
        )
        assert answers is None or answers[0] == answers[1]

    @rule(choice=CHOICES, destination=PATHS, overwrite=st.booleans())
    def move(self, choice: str | int, destination: str, overwrite: bool) -> None:
        source = self.chosen(choice)
        self.both(
            lambda: self.model.move(source, destination, overwrite),
            self.backend.move(SandboxPath(source), SandboxPath(destination), overwrite=overwrite),
        )

    @rule(choice=CHOICES, destination=PATHS, overwrite=st.booleans())
    def copy(self, choice: str | int, destination: str, overwrite: bool) -> None:
        source = self.chosen(choice)
        self.both(
            lambda: self.model.copy(source, destination, overwrite),
            self.backend.copy(SandboxPath(source), SandboxPath(destination), overwrite=overwrite),
        )

    @rule(path=PATHS, leads_to=st.one_of(TARGETS, st.integers(0, 20), st.integers(0, 20)))
    def link(self, path: str, leads_to: str | int) -> None:
        """Another program makes a link, where it can."""
        start = os.path.dirname(path) or "."
        text = leads_to if isinstance(leads_to, str) else os.path.relpath(self.chosen(leads_to), start)
        try:
            at = self.model.resolve(path, follow=False)
        except Refused:
            return
        if self.model.node(at) is None:
            self.model.put(at, Link(text))
            os.symlink(text, os.path.join(self.directory, *at))

    @rule(choice=CHOICES)
    def read(self, choice: str | int) -> None:
        path = self.chosen(choice)

        async def read() -> bytes:
            return await (await self.backend.read(SandboxPath(path))).read()

        answers = self.both(lambda: self.model.read(path), read())
        assert answers is None or answers[0] == answers[1]

    @rule(path=st.one_of(PATHS, st.just(".")), depth=st.integers(1, 4))
    def list(self, path: str, depth: int) -> None:
        answers = self.both(lambda: self.model.entries(path, depth), self.backend.list(SandboxPath(path), depth=depth))
        assert answers is None or answers[0] == [entry.path.text for entry in answers[1].entries]

    @rule(choice=CHOICES, follow=st.booleans())
    def stat(self, choice: str | int, follow: bool) -> None:
        path = self.chosen(choice)
        answers = self.both(
            lambda: self.model.existing(path, follow=follow)[1],
            self.backend.stat(SandboxPath(path), follow=follow, sha256=True),
        )
        if answers is not None:
            node, info = answers
            kinds: dict[type, str] = {bytes: "file", dict: "directory", Link: "symlink"}
            assert info.type == kinds[type(node)]
            assert info.sha256 == (hashlib.sha256(node).hexdigest() if isinstance(node, bytes) else None)


Machine.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestBackendAgainstModel = Machine.TestCase
