"""Changes, asked for and as they happen."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.rest.served import Client, serving


class Events:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.cursor: str | None = None

    def next(self) -> tuple[str, Any]:
        """Return the next event, without comments."""
        fields: dict[str, str] = {}
        while True:
            line = self._response.readline().decode().rstrip("\n")
            if not line and "data" in fields:
                self.cursor = fields.get("id", self.cursor)
                return fields["event"], json.loads(fields["data"])
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value


@contextmanager
def listening(ask: Client, query: str = "", **headers: str) -> Iterator[Events]:
    with ask.connect() as connection:
        connection.sendall(ask.head("GET", f"events{query}", {k.replace("_", "-"): v for k, v in headers.items()}))
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.headers["content-type"] == "text/event-stream", response.read()
        yield Events(response)


def test_changes_are_those_since_the_cursor(ask: Client) -> None:
    begun = ask("GET", "changes?timeout=0").json()
    assert (begun["events"], begun["resync"]) == ([], False)
    ask("PUT", "files/a", b"1")
    found = ask("GET", f"changes?cursor={begun['cursor']}").json()
    assert (found["events"][0]["type"], found["events"][0]["path"]) == ("created", "a")
    assert ask("GET", f"changes?cursor={'0' * 16}-1&timeout=0").json()["resync"]
    assert ask("GET", "changes?timeout=61").code == "invalid_argument"
    assert ask("GET", "changes?timeout=nan").code == "invalid_argument"
    assert ask("GET", "changes?path=nothing&timeout=0").code == "not_found"


def test_events_tell_changes_as_they_happen_and_go_on_behind_an_id(ask: Client) -> None:
    with listening(ask) as events:
        assert events.next() == ("ready", {})
        ask("PUT", "files/a", b"1")
        kind, change = events.next()
        assert (kind, change["type"], change["path"]) == ("change", "created", "a")
        ask("PUT", "files/b", b"1")
        while change["path"] != "b":
            kind, change = events.next()
        cursor = events.cursor
    assert cursor is not None
    ask("PUT", "files/c", b"1")
    with listening(ask, "?cursor=ignored", Last_Event_ID=cursor) as events:
        assert events.next()[0] == "ready"
        while change["path"] != "c":
            kind, change = events.next()


def test_events_that_were_lost_are_told_as_resync(ask: Client) -> None:
    with listening(ask, f"?cursor={'0' * 16}-1") as events:
        assert [events.next()[0] for _ in range(2)] == ["ready", "resync"]


@pytest.mark.parametrize(
    ("query", "code"), [("?path=..", "escapes_root"), ("?path=no", "not_found"), ("?x=1", "invalid_argument")]
)
def test_what_cannot_be_watched_is_told_before_it_begins(ask: Client, query: str, code: str) -> None:
    assert ask("GET", f"events{query}").code == code


def test_events_end_when_the_server_does(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    with serving(tmp_path / "log", f"main={tmp_path / 'box'}") as port:
        opened = listening(Client(port, tmp_path / "box"))
        events = opened.__enter__()
        assert events.next() == ("ready", {})
    # the server is gone, having ended the stream as streams end
    assert events._response.read() in (b"", b":\n\n")
    opened.__exit__(None, None, None)
