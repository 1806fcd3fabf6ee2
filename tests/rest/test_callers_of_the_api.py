"""Every kind of caller, where no single route is meant (those are in ``tests/access``)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from devbox_mcp.callers import Scope
from tests.access.matrix import DEVBOXES, HOLDERS, Ground, Holder, expected
from tests.rest.served import Client, serving


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground.make(tmp_path_factory.mktemp("scopes"))


@pytest.fixture(scope="module")
def port(laid_out: Ground) -> Iterator[int]:
    with serving(laid_out.directory / "log", *laid_out.options) as port:
        yield port


def client(port: int, ground: Ground, holder: Holder, devbox: str) -> Client:
    return Client(port, Path(), ground.credentials.get(holder.name), devbox)


def _reach(holder: Holder, devbox: str) -> str:
    """Return what comes of a request that needs no right but to reach the devbox."""
    reached = [expected(holder, devbox, scope) for scope in holder.scopes] or ["unauthenticated"]
    return "ok" if "ok" in reached else reached[0]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: holder.name)
def test_the_list_of_devboxes_is_the_callers(laid_out: Ground, port: int, holder: Holder) -> None:
    answer = client(port, laid_out, holder, "shop")("GET", "/v1/devboxes")
    if not holder.known:
        assert answer.code == "unauthenticated"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        return
    reached = [name for name in DEVBOXES if _reach(holder, name) == "ok"]
    listed = answer.json()["devboxes"]
    assert [one["name"] for one in listed] == reached
    assert [one["default"] for one in listed] == [index == 0 for index in range(len(reached))]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: holder.name)
def test_the_tunnel_has_the_rights_of_whoever_opened_it(laid_out: Ground, port: int, holder: Holder) -> None:
    laid_out.reset()
    for devbox in DEVBOXES:
        address = f"ws://127.0.0.1:{port}/v1/devboxes/{devbox}/ws"
        options: dict[str, Any] = {
            "subprotocols": [Subprotocol("devbox.v1")],
            "additional_headers": laid_out.headers(holder),
        }
        reach = _reach(holder, devbox)
        if reach != "ok":
            with pytest.raises(InvalidStatus) as refused:
                connect(address, **options)
            assert refused.value.response.status_code == {"unauthenticated": 401, "not_found": 404}[reach]
            continue
        with connect(address, **options) as socket:
            for method, scope in (("GET", Scope.READ), ("PUT", Scope.WRITE)):
                line = {"id": 1, "method": method, "path": "files/a.txt"}
                socket.send(json.dumps(line).encode() + (b"\nx" if method == "PUT" else b"\n"))
                message = socket.recv(60)
                assert isinstance(message, bytes)
                status = json.loads(message.partition(b"\n")[0])["status"]
                assert status == {"ok": 200, "forbidden": 403}[expected(holder, devbox, scope)]
    laid_out.reset()


def test_the_description_is_for_everybody(port: int) -> None:
    assert Client(port, Path())("GET", "/docs").status == 200
    assert Client(port, Path())("GET", "/openapi.json").status == 200
    assert Client(port, Path())("GET", "/metrics").status == 401
