"""Tools and a prompt that ask the client: by a request of their own up to 2025-11-25, by ``input_required`` since."""

from collections.abc import Callable
from typing import Any

from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    ClientCapabilities,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequests,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    MissingRequiredClientCapabilityErrorData,
    SamplingCapability,
    SamplingMessage,
    TextContent,
)

STRING = {"type": "string"}


def form(message: str, properties: dict[str, Any], required: list[str] | None = None) -> ElicitRequest:
    """Return a request for a form; without ``required`` every field is."""
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
    }
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(prompt: str, max_tokens: int = 100) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=max_tokens))


def ask_name() -> ElicitRequest:
    return form("What is your name?", {"name": STRING})


def field(ctx: Context, key: str, name: str) -> Any:
    """Return what the user put into a form's field, or None where the form is missing, refused or incomplete."""
    answer = (ctx.input_responses or {}).get(key)
    if isinstance(answer, ElicitResult) and answer.action == "accept":
        return (answer.content or {}).get(name)
    return None


async def _elicit(ctx: Context, request: ElicitRequest) -> ElicitResult:
    answer: ElicitResult = await ctx.session.send_request(request, ElicitResult, metadata=_related(ctx))
    return answer


def _related(ctx: Context) -> ServerMessageMetadata:
    return ServerMessageMetadata(related_request_id=ctx.request_id)


# 2025-11-25 and before: the server sends a request of its own while it serves one.


async def test_sampling(prompt: str, ctx: Context) -> str:
    """Ask the client's model."""
    answer = await ctx.session.send_request(sample(prompt), CreateMessageResult, metadata=_related(ctx))
    return f"LLM response: {answer.content.text if isinstance(answer.content, TextContent) else answer.content}"


async def test_elicitation(message: str, ctx: Context) -> str:
    """Ask the user."""
    fields = {
        "username": {**STRING, "description": "User's response"},
        "email": {**STRING, "description": "User's email address"},
    }
    answer = await _elicit(ctx, form(message, fields))
    return f"User response: action={answer.action}, content={answer.content}"


async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    """Ask the user, with defaults."""
    fields = {
        "name": {**STRING, "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {**STRING, "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    answer = await _elicit(ctx, form("Please review", fields, required=[]))
    return f"Elicitation completed: action={answer.action}, content={answer.content}"


async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    """Ask the user to choose."""
    options = ["option1", "option2", "option3"]
    titled = [
        {"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(("First", "Second", "Third"), 1)
    ]
    fields = {
        "untitledSingle": {**STRING, "enum": options},
        "titledSingle": {**STRING, "oneOf": titled},
        "legacyEnum": {
            **STRING,
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {**STRING, "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    answer = await _elicit(ctx, form("Please choose", fields, required=[]))
    return f"Elicitation completed: action={answer.action}, content={answer.content}"


# 2026-07-28: the server answers what it needs, and the client calls again with it.


def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
    """Ask for a name."""
    name = field(ctx, "user_name", "name")
    if not isinstance(name, str):
        return InputRequiredResult(input_requests={"user_name": ask_name()})
    return f"Hello, {name}!"


def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
    """Ask the client's model."""
    answer = (ctx.input_responses or {}).get("capital_question")
    if not isinstance(answer, CreateMessageResult):
        return InputRequiredResult(input_requests={"capital_question": sample("What is the capital of France?")})
    return f"LLM response: {answer.content}"


def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
    """Ask for the client's roots."""
    answer = (ctx.input_responses or {}).get("client_roots")
    if not isinstance(answer, ListRootsResult):
        return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})
    return f"Roots: {', '.join(str(root.uri) for root in answer.roots)}"


def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
    """Ask, and keep state with the client."""
    if ctx.request_state != "asked" or field(ctx, "confirm", "ok") is None:
        wanted = form("Please confirm", {"ok": {"type": "boolean"}})
        return InputRequiredResult(input_requests={"confirm": wanted}, request_state="asked")
    return "state-ok"


def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
    """Ask, and never see a state that was tampered with."""
    return test_input_required_result_request_state(ctx)


def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
    """Ask three things at once."""
    wanted: InputRequests = {
        "user_name": ask_name(),
        "greeting": sample("Generate a greeting", 50),
        "client_roots": ListRootsRequest(),
    }
    if ctx.request_state != "asked" or not wanted.keys() <= (ctx.input_responses or {}).keys():
        return InputRequiredResult(input_requests=wanted, request_state="asked")
    return f"{', '.join(wanted)} received"


def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
    """Ask in two rounds."""
    if ctx.request_state is None:
        step = form("Step 1: What is your name?", {"name": STRING})
        return InputRequiredResult(input_requests={"step1": step}, request_state="step 1")
    if ctx.request_state == "step 1":
        step = form("Step 2: What is your favorite color?", {"color": STRING})
        state = f"name: {field(ctx, 'step1', 'name')}"
        return InputRequiredResult(input_requests={"step2": step}, request_state=state)
    return f"{ctx.request_state}, color: {field(ctx, 'step2', 'color')}"


def test_input_required_result_capabilities(ctx: Context) -> str | InputRequiredResult:
    """Ask only what the client can answer."""
    able = ctx.client_capabilities or ClientCapabilities()
    wanted: InputRequests = {
        **({"question": sample("What is the capital of France?")} if able.sampling is not None else {}),
        **({"user_name": ask_name()} if able.elicitation is not None else {}),
    }
    return InputRequiredResult(input_requests=wanted) if wanted else "nothing to ask with"


async def test_streaming_elicitation(ctx: Context) -> str | InputRequiredResult:
    """Report progress, then ask."""
    await ctx.report_progress(1, 2, "about to ask")
    return InputRequiredResult(input_requests={"user_name": ask_name()})


def test_missing_capability(ctx: Context) -> str:
    """Need the client's model."""
    if ctx.client_capabilities is None or ctx.client_capabilities.sampling is None:
        missing = ClientCapabilities(sampling=SamplingCapability())
        data = MissingRequiredClientCapabilityErrorData(required_capabilities=missing)
        raise MCPError(
            MISSING_REQUIRED_CLIENT_CAPABILITY,
            "The client did not declare a capability that this tool needs",
            data.model_dump(by_alias=True, mode="json", exclude_none=True),
        )
    return "the client can sample"


def test_input_required_result_prompt(ctx: Context) -> str | InputRequiredResult:
    """Ask for the prompt's context."""
    context = field(ctx, "user_context", "context")
    if not isinstance(context, str):
        wanted = form("What context should the prompt use?", {"context": STRING})
        return InputRequiredResult(input_requests={"user_context": wanted})
    return f"Prompt with context: {context}"


HANDSHAKE_TOOLS: tuple[Callable[..., Any], ...] = (
    test_sampling,
    test_elicitation,
    test_elicitation_sep1034_defaults,
    test_elicitation_sep1330_enums,
)
MODERN_TOOLS: tuple[Callable[..., Any], ...] = (
    test_input_required_result_elicitation,
    test_input_required_result_sampling,
    test_input_required_result_list_roots,
    test_input_required_result_request_state,
    test_input_required_result_tampered_state,
    test_input_required_result_multiple_inputs,
    test_input_required_result_multi_round,
    test_input_required_result_capabilities,
    test_streaming_elicitation,
    test_missing_capability,
)
PROMPTS: tuple[Callable[..., Any], ...] = (test_input_required_result_prompt,)
