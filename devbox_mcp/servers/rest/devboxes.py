"""Which devboxes there are for the caller."""

from __future__ import annotations

from pydantic import ConfigDict, with_config
from starlette.responses import Response
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.rest.calls import Call, told
from devbox_mcp.servers.rest.operations import Answer, Operation, Routes, json_of

#: Addresses without a devbox's name, and the devbox itself.
ROUTES = Routes("devboxes")

_documented = with_config(ConfigDict(use_attribute_docstrings=True))


@_documented
class DevboxJson(TypedDict):
    """A devbox by name."""

    name: str
    root: str | None
    """as programs inside see it; null while the devbox is not reached yet"""
    default: bool
    """meant where none is named"""


@_documented
class DevboxesJson(TypedDict):
    """Those that the caller may reach."""

    devboxes: list[DevboxJson]


@_documented
class LimitsJson(TypedDict):
    """How much one request may do, in bytes, numbers and seconds."""

    file: int
    """a file after any write"""
    edit: int
    """a file that is edited"""
    text: int
    """a window of lines"""
    batch: int
    """content of a batch"""
    batch_files: int
    transfer: int
    """an archive"""
    archive_files: int
    page: int
    """entries of a page unless asked for more"""
    page_most: int
    depth: int
    watch: float
    """longest wait for a change"""


@_documented
class DevboxDetailsJson(DevboxJson):
    """A devbox with what it can do."""

    capabilities: list[str]
    """what the backend does natively"""
    limits: LimitsJson


def _told(sandboxes: Sandboxes, name: str) -> DevboxJson:
    return {"name": name, "root": sandboxes.root_of(name), "default": name == sandboxes.names[0]}


LISTED = Operation(
    ("GET",), "/v1/devboxes", "devboxes", "devboxes", None, "List the devboxes",
    "Those that the caller may reach; any other does not exist for it.",
    {200: Answer("The devboxes, the default one first.", json_of(DevboxesJson))},
)  # fmt: skip


@ROUTES.add(LISTED)
async def listed(call: Call) -> Response:
    sandboxes = call.sandboxes
    return told({"devboxes": [_told(sandboxes, name) for name in sandboxes.names]})


DEVBOX = Operation(
    ("GET",), "/v1/devboxes/{devbox}", "devbox", "devbox", None, "Describe a devbox",
    "Its root, what it can do, and the limits.",
    {200: Answer("The devbox.", json_of(DevboxDetailsJson))},
)  # fmt: skip


@ROUTES.add(DEVBOX)
async def devbox(call: Call) -> Response:
    sandbox = call.sandbox
    return told(
        {
            **_told(call.sandboxes, sandbox.name),
            "capabilities": sorted(capability.value for capability in sandbox.capabilities),
            "limits": {name: getattr(sandbox.limits, name) for name in LimitsJson.__annotations__},
        }
    )
