"""Load the suite's fixtures into the real server: what is theirs they answer, everything else the real handlers."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server import MCPServer
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceNotFoundError, ToolError
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import SubscriptionBus
from mcp.shared.exceptions import MCPError
from mcp.types import (
    METHOD_NOT_FOUND,
    BlobResourceContents,
    CallToolRequestParams,
    CallToolResult,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    EmptyResult,
    GetPromptRequestParams,
    InputRequiredResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    PromptReference,
    ReadResourceRequestParams,
    ReadResourceResult,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)

from tests.mcp_conformance import asking, content

Handler = Callable[[ServerRequestContext[Any, Any], Any], Awaitable[Any]]
MakeContext = Callable[[ServerRequestContext[Any, Any], Any], Context[Any, Any]]


def fixtures() -> MCPServer:
    """Build a server of the fixtures alone; the description of each is its docstring."""
    server = MCPServer("conformance-fixtures", log_level="WARNING")
    for function in (*content.TOOLS, *asking.HANDSHAKE_TOOLS, *asking.MODERN_TOOLS):
        server.add_tool(function, structured_output=False)
    for uri, mime_type, function in content.RESOURCES:
        server.resource(uri, mime_type=mime_type)(function)
    for function in (*content.PROMPTS, *asking.PROMPTS):
        server.prompt()(function)
    return server


async def load(server: Server[Any], bus: SubscriptionBus) -> None:
    """Put the fixtures beside the server's own tools, resources and prompts; ``bus`` is the one that the server's
    ``subscriptions/listen`` reports from."""
    extra = fixtures()
    tools = [
        tool.model_copy(update={"input_schema": content.SCHEMAS.get(tool.name, tool.input_schema)})
        for tool in await extra.list_tools()
    ]
    prompts = await extra.list_prompts()
    for method, result, field, entries in (
        ("tools/list", ListToolsResult, "tools", tools),
        ("resources/list", ListResourcesResult, "resources", await extra.list_resources()),
        (
            "resources/templates/list",
            ListResourceTemplatesResult,
            "resource_templates",
            await extra.list_resource_templates(),
        ),
        ("prompts/list", ListPromptsResult, "prompts", prompts),
    ):
        server.add_request_handler(method, PaginatedRequestParams, _joined(server, method, result, field, entries))

    def context(ctx: ServerRequestContext[Any, Any], params: Any) -> Context[Any, Any]:
        return Context(request_context=ctx, mcp_server=extra, input_params=params, subscriptions=bus)

    _load_tools(server, extra, context, {tool.name: tool.input_schema for tool in tools})
    _load_resources(server, extra, context)
    _load_prompts(server, extra, context, {prompt.name for prompt in prompts})
    _load_the_rest(server)


def _real(server: Server[Any], method: str) -> Handler:
    """Return the server's own handler, or one that refuses where it has none."""
    entry = server.get_request_handler(method)
    if entry is not None:
        return entry.handler

    async def refuse(_ctx: ServerRequestContext[Any, Any], _params: Any) -> None:
        raise MCPError(METHOD_NOT_FOUND, "Method not found")

    return refuse


def _joined(server: Server[Any], method: str, result: type[Any], field: str, entries: list[Any]) -> Handler:
    """Return a handler that lists the server's own entries, and after those of the first page the fixtures."""
    own = server.get_request_handler(method)

    async def handler(ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams) -> Any:
        page: Any = await own.handler(ctx, params) if own is not None else result(**{field: []})
        if params.cursor is not None:
            return page
        return page.model_copy(update={field: [*getattr(page, field), *entries]})

    return handler


def _load_tools(
    server: Server[Any], extra: MCPServer, context: MakeContext, schemas: dict[str, dict[str, Any]]
) -> None:
    own = _real(server, "tools/call")

    async def call(ctx: ServerRequestContext[Any, Any], params: CallToolRequestParams) -> Any:
        if params.name not in schemas:
            return await own(ctx, params)
        try:
            return await extra.call_tool(params.name, params.arguments or {}, context(ctx, params))
        except ToolError as error:
            return CallToolResult(content=[TextContent(type="text", text=str(error))], is_error=True)

    server.add_request_handler("tools/call", CallToolRequestParams, call)
    own_schema = server.get_tool_input_schema
    if own_schema is not None:  # otherwise the SDK looks into tools/list
        server.get_tool_input_schema = lambda name: schemas.get(name) or own_schema(name)


def _load_resources(server: Server[Any], extra: MCPServer, context: MakeContext) -> None:
    own = _real(server, "resources/read")

    async def read(ctx: ServerRequestContext[Any, Any], params: ReadResourceRequestParams) -> Any:
        try:
            results = await extra.read_resource(params.uri, context(ctx, params))
        except ResourceNotFoundError:
            return await own(ctx, params)
        if isinstance(results, InputRequiredResult):
            return results
        return ReadResourceResult(contents=[_contents(str(params.uri), one.content, one.mime_type) for one in results])

    server.add_request_handler("resources/read", ReadResourceRequestParams, read)


def _load_prompts(server: Server[Any], extra: MCPServer, context: MakeContext, names: set[str]) -> None:
    own = _real(server, "prompts/get")

    async def get(ctx: ServerRequestContext[Any, Any], params: GetPromptRequestParams) -> Any:
        if params.name not in names:
            return await own(ctx, params)
        return await extra.get_prompt(params.name, params.arguments, context(ctx, params))

    server.add_request_handler("prompts/get", GetPromptRequestParams, get)


def _contents(uri: str, data: str | bytes, mime_type: str | None) -> TextResourceContents | BlobResourceContents:
    if isinstance(data, bytes):
        return BlobResourceContents(uri=uri, blob=base64.b64encode(data).decode(), mime_type=mime_type)
    return TextResourceContents(uri=uri, text=data, mime_type=mime_type)


def _load_the_rest(server: Server[Any]) -> None:
    complete, subscribe, unsubscribe = (
        _real(server, method) for method in ("completion/complete", "resources/subscribe", "resources/unsubscribe")
    )

    async def complete_argument(ctx: ServerRequestContext[Any, Any], params: CompleteRequestParams) -> Any:
        if isinstance(params.ref, PromptReference) and params.ref.name.startswith("test_"):
            return CompleteResult(completion=Completion(values=["test", "testing"], total=2, has_more=False))
        return await complete(ctx, params)

    async def subscribe_resource(ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams) -> Any:
        return EmptyResult() if str(params.uri).startswith("test://") else await subscribe(ctx, params)

    async def unsubscribe_resource(ctx: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams) -> Any:
        return EmptyResult() if str(params.uri).startswith("test://") else await unsubscribe(ctx, params)

    async def set_level(_ctx: ServerRequestContext[Any, Any], _params: SetLevelRequestParams) -> EmptyResult:
        return EmptyResult()

    server.add_request_handler("completion/complete", CompleteRequestParams, complete_argument)
    server.add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe_resource)
    server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, unsubscribe_resource)
    server.add_request_handler("logging/setLevel", SetLevelRequestParams, set_level)
    if not any(isinstance(one, RequestStateBoundary) for one in server.middleware):
        server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=server.name))
