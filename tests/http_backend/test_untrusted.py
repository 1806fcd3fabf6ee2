"""A server that lies, or is another one: typed errors, and the key goes nowhere else."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from devbox_mcp.backends.http import Address, HttpBackend, open_http
from devbox_mcp.errors import (
    Conflict,
    DevboxError,
    Forbidden,
    Integrity,
    NotFound,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from devbox_mcp.models import Capability
from devbox_mcp.paths import SandboxPath
from tests.http_backend.gateway import listening

pytestmark = pytest.mark.anyio

at = SandboxPath
KEY = "dbx_a-key-nobody-may-see"
DATA = b"content"
SHA256 = hashlib.sha256(DATA).hexdigest()
INFO: dict[str, Any] = {
    "path": "f", "type": "file", "size": len(DATA), "mode": "0644", "modified": 1.5, "links": 1, "revision": "1-2",
    "target": None, "sha256": SHA256,
}  # fmt: skip


class Liar:
    """Answers whatever ``answer`` makes of a request; only its description is as it should be."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Response] = lambda _request: Response(status_code=500)
        self.app = Starlette(
            routes=[
                Route("/v1/devboxes/box", self._describe),
                Route("/{rest:path}", self._lie, methods=["GET", "PUT", "POST", "DELETE", "PATCH"]),
            ]
        )
        self.url = ""

    async def _describe(self, _request: Request) -> Response:
        told = {"root": "/root", "capabilities": [one.value for one in Capability], "limits": {"depth": 64}}
        return Response(json.dumps(told), media_type="application/json")

    async def _lie(self, request: Request) -> Response:
        await request.body()
        if not request.url.path.endswith("/ws"):
            self.requests.append(request)
        return self.answer(request)


@pytest.fixture
async def liar() -> AsyncIterator[Liar]:
    liar = Liar()
    async with listening(liar.app) as url:
        liar.url = url
        yield liar


@pytest.fixture
async def backend(liar: Liar) -> AsyncIterator[HttpBackend]:
    backend = await HttpBackend.open(Address.parse(f"{liar.url}/box"), KEY)
    yield backend
    await backend.aclose()


def told(value: Any, status: int = 200, media_type: str = "application/json") -> Callable[[Request], Response]:
    return lambda _request: Response(json.dumps(value), status, media_type=media_type)


@pytest.mark.parametrize(
    "lie",
    [
        [], None, 7, "text", {}, {**INFO, "path": "../f"}, {**INFO, "path": "/etc/passwd"}, {**INFO, "path": "a//b"},
        {**INFO, "path": "devbox://other/f"}, {**INFO, "path": "devbox://box/..%2Ff"}, {**INFO, "path": "a\0b"},
        {**INFO, "size": "7"}, {**INFO, "size": 1.5}, {**INFO, "mode": 420}, {**INFO, "mode": "9"},
        {**INFO, "mode": "77777777"}, {**INFO, "mode": "-1"}, {**INFO, "type": "door"}, {**INFO, "more": 1},
        {**INFO, "target_encoded": 7}, {**INFO, "sha256": 7},
    ],
)  # fmt: skip
async def test_an_entry_that_makes_no_sense(liar: Liar, backend: HttpBackend, lie: Any) -> None:
    liar.answer = told(lie)
    with pytest.raises(Integrity):
        await backend.stat(at("f"))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"<html>", b"NaN"])
async def test_what_is_no_json(liar: Liar, backend: HttpBackend, body: bytes) -> None:
    liar.answer = lambda _request: Response(body, media_type="application/json")
    for call in (backend.stat(at("f")), backend.list(at(".")), backend.mkdir(at("d")), backend.search(at("."), "x")):
        with pytest.raises(Integrity):
            await call


def file(body: bytes, status: int = 206, **headers: str) -> Callable[[Request], Response]:
    every = {
        "x-devbox-info": json.dumps(INFO), "etag": f'"{SHA256}"',
        "content-range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }  # fmt: skip
    return lambda _request: Response(body, status, every)


async def test_a_file_that_is_as_it_says(liar: Liar, backend: HttpBackend) -> None:
    liar.answer = file(DATA)
    assert await (await backend.read(at("f"))).read() == DATA


@pytest.mark.parametrize(
    "answer",
    [
        file(b"CONTENT"), file(b"conten"), file(b"content and more"), file(b""),
        file(DATA, content_range="bytes 1-6/7"),
        file(DATA, content_range="bytes 0-99/100"), file(DATA, content_range="nonsense"), file(DATA, x_devbox_info="{"),
        file(DATA, x_devbox_info=json.dumps({**INFO, "size": 8})), file(b"CONTENT", 200),
    ],
)  # fmt: skip
async def test_bytes_that_are_not_what_they_should_be(liar: Liar, backend: HttpBackend, answer: Any) -> None:
    liar.answer = answer
    with pytest.raises(Integrity):
        await (await backend.read(at("f"))).read()


async def test_a_write_of_which_the_server_tells_another_hash(liar: Liar, backend: HttpBackend) -> None:
    liar.answer = told({"info": {**INFO, "sha256": "0" * 64}, "created": True, "previous": None, "unlinked": 0})
    with pytest.raises(Integrity):
        await backend.write(at("f"), DATA)
    assert liar.requests[-1].headers["repr-digest"].startswith("sha-256=:")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (302, Unavailable), (307, Unavailable), (401, Unauthenticated), (403, Forbidden), (404, NotFound),
        (409, Conflict), (412, Conflict), (500, Unavailable), (502, Unavailable),
    ],
)  # fmt: skip
async def test_an_answer_of_something_else_is_told_by_its_status(
    liar: Liar, backend: HttpBackend, status: int, error: type[DevboxError]
) -> None:
    liar.answer = lambda _request: PlainTextResponse(f"<html>{KEY}", status)
    with pytest.raises(DevboxError) as caught:
        await backend.delete(at("f"))
    assert type(caught.value) is error
    assert KEY not in str(caught.value)


async def test_a_redirect_is_not_followed_and_the_key_goes_nowhere(liar: Liar, backend: HttpBackend) -> None:
    other = Liar()
    async with listening(other.app) as url:
        liar.answer = lambda _request: RedirectResponse(f"{url}/elsewhere")
        with pytest.raises(Unavailable):
            await backend.stat(at("f"))
    assert other.requests == []


@pytest.mark.parametrize("status", [429, 503])
async def test_what_was_not_begun_is_tried_again_when_the_server_says_so(
    liar: Liar, backend: HttpBackend, status: int
) -> None:
    def answer(_request: Request) -> Response:
        if len(liar.requests) < 3:
            return Response(status_code=status, headers={"Retry-After": "0"})
        return told({"deleted": 1})(_request)

    liar.answer = answer
    assert await backend.delete(at("f")) == 1
    assert len(liar.requests) == 3


async def test_it_is_given_up_in_the_end(liar: Liar, backend: HttpBackend) -> None:
    liar.answer = lambda _request: Response(status_code=429, headers={"Retry-After": "0"})
    with pytest.raises(RateLimited):
        await backend.delete(at("f"))
    assert len(liar.requests) == 4


async def test_a_devbox_that_the_gateway_cannot_reach_is_not_asked_for_again(liar: Liar, backend: HttpBackend) -> None:
    problem = {"code": "unavailable", "path": "f", "detail": "it is gone", "hint": ""}
    liar.answer = told(problem, 503, "application/problem+json")
    with pytest.raises(Unavailable, match="it is gone"):
        await backend.stat(at("f"))
    assert len(liar.requests) == 1


@pytest.mark.parametrize(
    "problem", [{}, [], None, {"code": "no_such", "path": "f", "detail": "", "hint": ""}, {"code": 7}]
)
async def test_a_problem_that_is_none(liar: Liar, backend: HttpBackend, problem: Any) -> None:
    liar.answer = told(problem, 404, "application/problem+json")
    with pytest.raises(NotFound):
        await backend.stat(at("f"))


async def test_every_byte_of_a_path_is_encoded(liar: Liar, backend: HttpBackend) -> None:
    liar.answer = told(INFO)
    encoded = {
        "a?b": "a%3Fb", "a#b": "a%23b", "%2e%2e": "%252e%252e", "a b": "a%20b", "..;": "..%3B", "\\..": "%5C..",
        "é": "%C3%A9", "\udcff": "%FF", "a&b=c": "a%26b%3Dc", ":": "%3A", "@": "%40", "+": "%2B",
    }  # fmt: skip
    for name, part in encoded.items():
        with pytest.raises(DevboxError):
            await backend.delete(at(f"d/{name}/f"))
        assert liar.requests[-1].scope["raw_path"].decode() == f"/v1/devboxes/box/files/d/{part}/f"
        assert liar.requests[-1].scope["query_string"] == b""


async def test_no_key_is_in_a_log_or_an_error(
    liar: Liar, backend: HttpBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Unavailable) as caught:
        await backend.stat(at("f"))
    assert liar.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in caplog.text
    assert KEY not in repr(caught.value) + str(caught.value) + repr(backend) + repr(vars(backend))


async def test_nobody_listens() -> None:
    with pytest.raises(Unavailable):
        await open_http("http://127.0.0.1:1/box")
