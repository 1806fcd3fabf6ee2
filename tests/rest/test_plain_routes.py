"""Routes that give a request to their endpoint as it is."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from devbox_mcp.servers.plain import PlainRoute


async def answer(_request: Request) -> Response:
    return Response()


@pytest.mark.parametrize(
    ("method", "path", "match"),
    [
        ("GET", "/a/b", Match.FULL),
        ("HEAD", "/a/b", Match.PARTIAL),
        ("GET", "/b", Match.NONE),
    ],
)
def test_a_route_tells_what_it_is_where_the_path_is_its_own(method: str, path: str, match: Match) -> None:
    route = PlainRoute("/a/{name}", answer, ["GET"])
    found, told = route.matches({"type": "http", "method": method, "path": path})
    assert found is match
    assert told.get("route") is (None if match is Match.NONE else route)
