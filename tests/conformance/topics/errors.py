"""What an error says, and that a backend without a capability says so."""

from __future__ import annotations

import pytest

from devbox_mcp.errors import DevboxError, NotFound, Unsupported
from devbox_mcp.models import Capability

from ..box import Box
from ..inside import Link
from .operations import OPERATIONS, all_refuse, offered
from .topic import Topic


class TestErrors(Topic):
    @pytest.mark.parametrize("path", ["gone/x", "d/gone", "f/x", "l", "l/x", "loop/x", "."])
    async def test_nothing_outside_is_named(self, box: Box, path: str) -> None:
        box.make({"d/f": b"", "f": b"", "source": b"", "l": Link("../beside"), "loop": Link("loop")})
        root = await box.backend.root()
        for operation in offered(box):
            try:
                await operation.run(box, path)
            except DevboxError as error:
                assert type(error) is not DevboxError
                assert error.op
                assert error.detail
                assert not error.path.startswith("/")
                for secret in (root.rpartition("/")[0], "beside", ".devbox-mcp"):
                    assert secret not in f"{error} {error.data}", operation.name

    async def test_what_is_missing_is_named(self, box: Box) -> None:
        box.make({"source": b""})
        names = {"stat", "hash", "list", "names", "read", "delete", "move", "copy", "chmod", "lines"}
        names |= {"find", "search", "watch", "archive"}
        for error in await all_refuse(box, ["gone"], NotFound, names=names):
            assert error.path == "gone"


class TestCapabilities(Topic):
    @pytest.mark.parametrize("capability", Capability)
    async def test_a_capability_is_a_promise(self, box: Box, capability: Capability) -> None:
        box.make({"f": b"", "source": b""})
        for operation in OPERATIONS:
            if operation.capability is capability:
                path = "." if operation.name in ("find", "watch") else "f"
                if operation.offered_by(box):
                    await operation.run(box, path)
                else:
                    with box.refuses(Unsupported):
                        await operation.run(box, path)
