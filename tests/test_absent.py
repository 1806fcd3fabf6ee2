"""A devbox that cannot be reached when the server starts is told of, keeps nobody from the others, and works as soon
as it is there."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devbox_mcp.callers import OPERATOR, Caller, Scope
from devbox_mcp.errors import DevboxError, EscapesRoot, NotFound, Unavailable
from devbox_mcp.paths import SandboxPath
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.settings import load
from tests.mcp.door import http_door, http_process, stdio_door
from tests.rest.served import Answer, Client

READER = Caller("reader", ("late",), frozenset({Scope.READ}), "request-1")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.txt").write_text("one\n")
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The root of a devbox that is not there yet."""
    return tmp_path / "there"


def late(there: Path) -> str:
    return f"late=exec:env?root={there}"


def appear(there: Path) -> None:
    made = there.with_name("made")
    made.mkdir()
    (made / "b.txt").write_text("two\n")
    made.rename(there)


async def opened(*devboxes: str, **settings: Any) -> Sandboxes:
    return await Sandboxes.open(load({"devboxes": devboxes, "http": "127.0.0.1:0", **settings}, None))


# -- in the service


async def test_it_does_not_keep_others_from_being_served(here: Path, there: Path) -> None:
    sandboxes = await opened(late(there), f"here={here}")
    try:
        assert sandboxes.names == ["late", "here"]
        assert [sandbox.name for sandbox in sandboxes] == ["here"]
        assert (sandboxes.root_of("late"), sandboxes.root_of("here")) == (None, str(here))
        sandbox, path = await sandboxes.resolve("here", "a.txt", "read")
        assert await (await sandbox.read_bytes(path)).read() == b"one\n"
    finally:
        await sandboxes.aclose()


@pytest.mark.parametrize("named", ["late", None])
async def test_it_says_why_and_works_once_it_is_there(here: Path, there: Path, named: str | None) -> None:
    sandboxes = await opened(late(there), f"here={here}")
    try:
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"^read late: .*cannot be reached: the root does not exist there"):
                await sandboxes.resolve(named, "b.txt", "read")
        appear(there)
        sandbox, path = await sandboxes.resolve(named, "b.txt", "read")
        assert await (await sandbox.read_bytes(path)).read() == b"two\n"
        assert sandboxes.root_of("late") == str(there)
        assert sandboxes.default is sandbox
        assert sandboxes.absent == []
    finally:
        await sandboxes.aclose()


async def test_an_absolute_path_may_be_in_it(here: Path, there: Path) -> None:
    sandboxes = await opened(f"here={here}", late(there))
    try:
        sandbox, _ = await sandboxes.resolve(None, str(here / "a.txt"), "read")
        assert sandbox.name == "here"
        with pytest.raises(Unavailable, match=r"late: .*cannot be reached"):
            await sandboxes.resolve(None, str(there / "b.txt"), "read")
        appear(there)
        sandbox, path = await sandboxes.resolve(None, str(there / "b.txt"), "read")
        assert (sandbox.name, path.text) == ("late", "b.txt")
        with pytest.raises(EscapesRoot):
            await sandboxes.resolve(None, "/nowhere", "read")
    finally:
        await sandboxes.aclose()


async def test_a_probe_reaches_it_for_everybody_who_may(here: Path, there: Path) -> None:
    sandboxes = await opened(f"here={here}", late(there))
    mine = sandboxes.called_by(READER)
    try:
        await sandboxes.probe("here")
        with pytest.raises(Unavailable):
            await sandboxes.probe("late")
        assert [sandbox.name for sandbox in mine] == []
        appear(there)
        await sandboxes.probe("late")
        assert [sandbox.name for sandbox in mine] == ["late"]
        assert (await mine.default.stat(SandboxPath("b.txt"))).size == 4
        assert sandboxes.called_by(Caller("nobody", ())).names == []
        with pytest.raises(NotFound):
            await sandboxes.called_by(Caller("other", ("here",))).reach("late", "read")
    finally:
        await sandboxes.aclose()


async def test_asking_for_it_is_on_record(here: Path, there: Path, tmp_path: Path) -> None:
    sandboxes = await opened(f"here={here}", late(there), audit_log=str(tmp_path / "log"))
    try:
        for caller in (READER, OPERATOR):
            with pytest.raises(Unavailable) as refused:
                await sandboxes.called_by(caller).resolve("late", "b.txt", "read")
            assert refused.value.recorded
        await sandboxes.probe("here")
    finally:
        await sandboxes.aclose()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(line["caller"], line["devbox"], line["op"], line["result"]) for line in lines] == [
        ("reader", "late", "read", "unavailable"),
        ("operator", "late", "read", "unavailable"),
    ]


@pytest.mark.parametrize(
    ("devbox", "said"),
    [
        ("no/such/directory", "there is no directory"),
        ("box=exec:no-such-program-here?root=/x", "there is no program 'no-such-program-here'"),
        ("box=k8s://shop", "the pod is missing"),
        ("box=exec:env?root=relative", "is not absolute"),
        ("box=http://", "URL"),
        ("box=ftp://host/x", "unknown kind"),
    ],
)
async def test_what_no_waiting_mends_is_refused_at_once(here: Path, devbox: str, said: str) -> None:
    with pytest.raises((ValueError, DevboxError), match=said):
        await opened(f"here={here}", devbox)


# -- over HTTP


@pytest.fixture
def hanging(tmp_path: Path) -> str:
    """A command that neither answers nor ends."""
    script = tmp_path / "hang.py"
    script.write_text("import time\ntime.sleep(600)\n")
    return shlex.join([sys.executable, str(script)])


@contextmanager
def gateway(here: Path, *devboxes: str) -> Iterator[tuple[Client, str]]:
    with http_process(here.parent / "stderr", f"here={here}", *devboxes) as (_, url):
        yield Client(int(url.partition("127.0.0.1:")[2].partition("/")[0]), here, devbox="late"), url


def log_of(here: Path) -> str:
    return (here.parent / "stderr").read_text()


def eventually(ask: Callable[[], Answer], status: int) -> Answer:
    give_up = time.monotonic() + 60
    while (answer := ask()).status != status:
        assert time.monotonic() < give_up, answer
    return answer


async def test_a_gateway_tells_of_it_and_then_serves_it(here: Path, there: Path) -> None:
    with gateway(here, late(there)) as (ask, url):
        assert "devbox late: this devbox cannot be reached: the root does not exist there" in log_of(here)
        assert ask("GET", "/v1/devboxes").json()["devboxes"] == [
            {"name": "here", "root": str(here), "default": True},
            {"name": "late", "root": None, "default": False},
        ]
        for target in ("", "files/b.txt", "list/", "find?pattern=x"):
            refused = ask("GET", target) if target else ask("GET", "/v1/devboxes/late")
            assert (refused.status, refused.code) == (503, "unavailable"), target
            assert "retry-after" in refused.headers
            assert "the root does not exist there" in refused.json()["detail"]
        async with http_door(here, url) as door:
            assert "late" in (door.client.instructions or "")
            assert "the root does not exist there" in await door.refused("read_file", path="b.txt", devbox="late")
            assert [one.name for one in (await door.client.list_resources()).resources] == ["here", "late"]
            appear(there)
            assert "two" in (await door.call("read_file", path="b.txt", devbox="late")).text
        assert ask("GET", "files/b.txt").body == b"two\n"
        assert ask("GET", "/v1/devboxes").json()["devboxes"][1]["root"] == str(there)


def ask_log(here: Path) -> str:
    return (here.parent / "stderr").read_text()


def test_a_gateway_is_ready_when_the_first_is_there(there: Path, tmp_path: Path) -> None:
    with http_process(tmp_path / "stderr", late(there)) as (_, url):
        ask = Client(int(url.partition("127.0.0.1:")[2].partition("/")[0]), there, devbox="late")
        assert ask("GET", "/healthz").status == 200
        assert ask("GET", "/readyz").status == 503
        assert ask("GET", "/health/ready").json()["workspace"] is False
        assert "the root does not exist there" in ask("GET", "/api/v1/files/list").json()["message"]
        appear(there)
        eventually(lambda: ask("GET", "/readyz"), 200)
        assert ask("GET", "/health/ready").json()["workspace"] is True
        assert [one["name"] for one in ask("GET", "/api/v1/files/list").json()["files"]] == ["b.txt"]


def test_one_that_does_not_answer_holds_the_start_up_for_a_moment_only(here: Path, hanging: str) -> None:
    with gateway(here, f"late=exec:{hanging}?root=/x") as (ask, _):
        assert "it is being opened" in log_of(here)
        assert ask("GET", "/v1/devboxes/here/files/a.txt").body == b"one\n"
        assert ask("GET", "/readyz").status == 200


# -- over stdio


async def test_over_stdio_the_others_are_served_too(here: Path, there: Path) -> None:
    log = here.parent / "stderr"
    async with stdio_door(here, log, directories=(f"here={here}", late(there))) as door:
        assert "devbox late: not reached yet" in (door.client.instructions or "")
        assert "one" in (await door.call("read_file", path="a.txt")).text
        assert "the root does not exist there" in await door.refused("read_file", path="b.txt", devbox="late")
        appear(there)
        assert "two" in (await door.call("read_file", path="b.txt", devbox="late")).text


async def test_over_stdio_one_has_to_be_there(there: Path) -> None:
    with pytest.raises(NotFound, match="the root does not exist there"):
        await opened(late(there), http=None)
