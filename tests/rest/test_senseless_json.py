"""JSON without sense costs one fault, however much of it there is."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from devbox_mcp.servers.rest.archives import Archived
from devbox_mcp.servers.rest.batch.routes import NewFiles
from devbox_mcp.servers.rest.changing import Edit
from devbox_mcp.servers.sealos.batches import Downloaded
from devbox_mcp.servers.sealos.searching import Replaced
from tests.rest.served import Client


@pytest.mark.parametrize(
    ("model", "field"),
    [(NewFiles, "files"), (Archived, "paths"), (Edit, "edits"), (Downloaded, "paths"), (Replaced, "files")],
)
def test_of_a_list_the_first_fault_is_the_last_one_looked_for(model: type[BaseModel], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate({field: [[], [], []]})
    assert [error["loc"] for error in caught.value.errors() if error["loc"][0] == field] == [(field, 0)]


@pytest.mark.parametrize(
    ("route", "body", "said"),
    [
        ("files", b'{"files": [' + b"[]," * 50_000 + b"[]]}", "files.0: "),
        ("files", b'{"files": [' + b"[]," * 100_000 + b"[]]}", "more than 100000 values"),
        ("/mcp", b'{"params": [' + b"[]," * 100_000 + b"[]]}", "more than 100000 values"),
        ("files", b'{"files": [{' + b",".join(b'"%d": 0' % key for key in range(1001)) + b"}]}", "more than 1000 keys"),
        ("move", b'{"source": "a", "destination": "b", "' + b"k" * 100_000 + b'": 0}', "k" * 200 + ": "),
    ],
    ids=["lists", "many lists", "many lists to MCP", "keys", "a long key"],
)
def test_what_makes_no_sense_is_refused_in_few_words(ask: Client, route: str, body: bytes, said: str) -> None:
    answer = ask("POST", route, body, {"Content-Type": "application/json"})
    assert answer.code == "invalid_argument"
    assert said in answer.json()["detail"]
    assert len(answer.body) < 2000


def test_what_stands_in_a_text_is_not_counted(ask: Client) -> None:
    content = '[{"a": "\\"}], ' * 12_000
    assert ask.post("files", {"files": [{"path": "a.json", "content": content}]}).status == 200
    assert (ask.box / "a.json").read_text() == content


@pytest.mark.parametrize("path", ["/" + "a/" * 50_000, "\0" * 50_000], ids=["letters", "NULs"])
def test_a_path_that_is_too_long_is_not_repeated_whole(ask: Client, path: str) -> None:
    answer = ask.post("move", {"source": path, "destination": "b"})
    assert answer.code in ("invalid_argument", "escapes_root")
    assert len(answer.body) < 3000
