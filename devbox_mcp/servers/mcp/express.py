"""The express lane: tool calls of a connection that shook hands, answered beside the SDK's dispatcher.

For a small read the dispatcher is most of the cost: it takes every message through a task of its own, a cancel scope
and two more validations of the same models. The lane takes a line that is a valid ``tools/call`` and nothing else.
Everything unusual about it (bad parameters, a middleware, another era) is left to the dispatcher, which says so
better; and what a call sends to the client meanwhile, progress or a question, goes through the dispatcher as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

import anyio
import mcp_types as types
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.session import ServerSession
from mcp.shared.dispatcher import CallOptions, Outbound, coerce_request_id
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp.shared.message import MessageMetadata
from mcp.shared.transport_context import TransportContext
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from devbox_mcp.servers.mcp.lines import line_of
from devbox_mcp.servers.mcp.pipes import LineWriter

logger = logging.getLogger(__name__)

_Id = Annotated[int, Field(strict=True)] | Annotated[str, Field(strict=True)]


class _ToolCall(BaseModel):
    jsonrpc: Literal["2.0"]
    id: _Id
    method: Literal["tools/call"]
    params: types.CallToolRequestParams


class _CancelledParams(BaseModel):
    request_id: Annotated[_Id, Field(alias="requestId")]


class _Cancelled(BaseModel):
    method: Literal["notifications/cancelled"]
    params: _CancelledParams


_TOOL_CALL = TypeAdapter(_ToolCall)
_CANCELLED = TypeAdapter(_Cancelled)
_TRANSPORT = TransportContext(kind="jsonrpc", can_send_request=True)


class Express:
    """The lane of one connection. ``take`` is offered every line first; ``aclose`` ends what is under way."""

    def __init__(self, server: Server[Any], connection: Connection, state: Any, writer: LineWriter) -> None:
        """``connection`` is the one that the dispatcher serves, ``state`` the server's lifespan state."""
        self._server = server
        self._connection = connection
        self._state = state
        self._writer = writer
        self._in_flight: dict[types.RequestId, asyncio.Task[None]] = {}

    def take(self, line: bytes) -> bool:
        """Answer a line, in its time, if it is an ordinary tool call; otherwise return False."""
        if b'"tools/call"' not in line:
            if self._in_flight and b'"notifications/cancelled"' in line:
                self._cancel(line)
            return False
        if self._server.middleware or not self._connection.initialize_accepted:
            return False
        try:
            call = _TOOL_CALL.validate_json(line, by_name=False, by_alias=True)
        except ValidationError:
            return False
        key = coerce_request_id(call.id)
        task = asyncio.get_running_loop().create_task(self._answer(call))
        self._in_flight[key] = task
        task.add_done_callback(self._forget(key))
        return True

    async def aclose(self) -> None:
        """Cancel what is under way, and wait until it has stopped."""
        tasks = list(self._in_flight.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cancel(self, line: bytes) -> None:
        try:
            cancelled = _CANCELLED.validate_json(line)
        except ValidationError:
            return
        task = self._in_flight.get(coerce_request_id(cancelled.params.request_id))
        if task is not None:
            task.cancel()

    def _forget(self, key: types.RequestId) -> Callable[[asyncio.Task[None]], None]:
        def forget(task: asyncio.Task[None]) -> None:
            if self._in_flight.get(key) is task:  # a client may have used the id again
                del self._in_flight[key]
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("a tool call was not answered", exc_info=error)

        return forget

    async def _answer(self, call: _ToolCall) -> None:
        exchange = _Exchange(self._connection.outbound, call)
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": call.id}
        try:
            result = await self._run(exchange, call.params)
            answer["result"] = result.model_dump(by_alias=True, exclude_none=True, exclude={"result_type"})
        except MCPError as error:
            answer["error"] = error.error
        finally:
            exchange.can_send_request = False
        await self._writer.write(line_of(answer))

    async def _run(self, exchange: _Exchange, params: types.CallToolRequestParams) -> types.CallToolResult:
        entry = self._server.get_request_handler("tools/call")
        assert entry is not None
        context = ServerRequestContext(
            session=ServerSession(exchange, self._connection, request_meta=params.meta),
            lifespan_context=self._state,
            method="tools/call",
            params=None,
            request_id=exchange.request_id,
            meta=params.meta,
            protocol_version=self._connection.protocol_version,
        )
        try:
            result = await entry.handler(context, params)
        except MCPError:
            raise
        except Exception:
            logger.exception("the handler of tools/call raised")
            raise MCPError(types.INTERNAL_ERROR, "Internal server error") from None
        assert isinstance(result, types.CallToolResult)
        return result


class _Exchange:
    """A call's own channel to the client, the SDK's ``DispatchContext``."""

    transport = _TRANSPORT
    message_metadata: MessageMetadata = None

    def __init__(self, outbound: Outbound, call: _ToolCall) -> None:
        self._outbound = outbound
        self.request_id: types.RequestId = call.id
        self._progress_token = None if call.params.meta is None else call.params.meta.get("progress_token")
        self.can_send_request = True

    @cached_property
    def cancel_requested(self) -> anyio.Event:
        """Never set: who cancels a call of this lane interrupts it."""
        return anyio.Event()

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        if not self.can_send_request:
            raise NoBackChannelError(method)
        return await self._outbound.send_raw_request(method, params, opts)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        if self.can_send_request:
            await self._outbound.notify(method, params, opts)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if self._progress_token is None:
            return
        said = {"progressToken": self._progress_token, "progress": progress, "total": total, "message": message}
        await self.notify("notifications/progress", {name: value for name, value in said.items() if value is not None})
