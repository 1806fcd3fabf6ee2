"""What errors tell."""

from __future__ import annotations

import json

from devbox_mcp.errors import NotFound
from devbox_mcp.servers.problems import fields
from devbox_mcp.servers.sealos.answering import failed


def test_an_error_repeats_the_beginning_of_what_is_longer_than_any_path() -> None:
    error = NotFound("read", "a" * 1_000_000, "there is no " + "b" * 1_000_000)
    for told in (str(error), json.dumps(fields(error)), bytes(failed(error).body).decode()):
        assert len(told) < 1000
        assert "a" * 200 in told
        assert "999800 characters more" in told
    path = "d/" * 2000 + "f"
    assert path in str(NotFound("read", path))
    assert fields(NotFound("read", path))["path"] == path
