"""A tool is one typed function; its name, description and schemas come from it and from nowhere else."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

import mcp_types as types
from mcp.server.context import ServerRequestContext
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from devbox_mcp.audit import keep, refusal
from devbox_mcp.backends.base import Progress
from devbox_mcp.callers import Scope
from devbox_mcp.errors import DevboxError, InvalidArgument
from devbox_mcp.sandboxes import Sandboxes
from devbox_mcp.servers.access.signing import UrlSigner
from devbox_mcp.servers.mcp.results import error_result, failure
from devbox_mcp.servers.mcp.zips import ZipStore
from devbox_mcp.servers.sense import LONGEST_SHOWN, MOST_NAMES, MOST_VALUES, Values
from devbox_mcp.settings import Settings

logger = logging.getLogger(__name__)

_MOST_TOLD = 10

Result = types.CallToolResult | types.InputRequiredResult


@dataclass(frozen=True, slots=True)
class Call:
    """What a tool works with beside its arguments: the devboxes, the settings, the zips kept for links, and the
    request it answers. ``over_stdio`` tells whether the client is a process of this machine's user. Long work tells
    ``on_progress`` how far it is, from any thread. ``signer`` makes signed URLs, where there is HTTP to use them."""

    sandboxes: Sandboxes
    settings: Settings
    zips: ZipStore
    context: ServerRequestContext[Any, Any]
    params: types.CallToolRequestParams
    over_stdio: bool
    on_progress: Progress
    signer: UrlSigner | None = None

    def refused(self, tool: str, code: str) -> None:
        """Put on record a call that never becomes an operation."""
        keep(self.sandboxes.audit, refusal(self.sandboxes.caller, "", "call", tool, code))


Handler = Callable[..., Awaitable[Result]]


@dataclass(frozen=True)
class Tool:
    """A published tool: ``handler`` takes the Call and then the arguments."""

    handler: Handler
    title: str
    toolset: str
    reads_only: bool
    saves_locally: bool
    destructive: bool
    idempotent: bool
    output: type[BaseModel] | None
    lends: bool = False

    @property
    def scope(self) -> Scope:
        """The right that it is of no use without."""
        return Scope.READ if self.reads_only else Scope.WRITE

    @property
    def name(self) -> str:
        """The handler's own name."""
        return self.handler.__name__

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """The model that a call's arguments are validated with; unknown ones are refused."""
        fields: dict[str, Any] = {}
        for parameter in list(inspect.signature(self.handler, eval_str=True).parameters.values())[1:]:
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[parameter.name] = (_without_none(parameter.annotation), default)
        return create_model(self.name, __config__=ConfigDict(extra="forbid"), **fields)

    @cached_property
    def definition(self) -> types.Tool:
        """The tool as MCP lists it."""
        return types.Tool(
            name=self.name,
            title=self.title,
            description=inspect.getdoc(self.handler),
            input_schema=flat_schema(self.arguments),
            output_schema=None if self.output is None else flat_schema(self.output, "serialization"),
            annotations=types.ToolAnnotations(
                title=self.title,
                read_only_hint=self.reads_only and not self.saves_locally and not self.lends,
                destructive_hint=self.destructive,
                idempotent_hint=self.idempotent and not self.lends,
                open_world_hint=False,
            ),
        )

    async def __call__(self, call: Call, arguments: dict[str, Any]) -> Result:
        """Validate the arguments and run; every failure becomes a result that a model can act on."""
        try:
            validated = self.arguments.model_validate(_given(arguments))
        except _TooManyNames:
            call.refused(self.name, InvalidArgument.code)
            return failure(f"{self.name}: an object has more than {MOST_NAMES} names [invalid_argument]")
        except ValidationError as error:
            call.refused(self.name, InvalidArgument.code)
            return failure(_explain(self, error))
        try:
            return await self.handler(call, **{name: getattr(validated, name) for name in type(validated).model_fields})
        except DevboxError as error:
            return error_result(error)
        except Exception:
            logger.exception("tool %s failed", self.name)
            return failure(f"{self.name}: an internal error; the server's log has the details [internal]")


def tool(
    title: str,
    toolset: str,
    *,
    reads_only: bool = False,
    saves_locally: bool = False,
    destructive: bool = False,
    idempotent: bool = False,
    output: type[BaseModel] | None = None,
    lends: bool = False,
) -> Callable[[Handler], Tool]:
    """Publish a function as a tool; its docstring is what a model reads. ``reads_only``: it leaves the devbox as
    it is; ``saves_locally``: but may write a file on the server's machine; ``lends``: it hands out a right to whoever
    gets the result, over HTTP only."""

    def publish(handler: Handler) -> Tool:
        return Tool(
            handler, title, toolset, reads_only, saves_locally, destructive, idempotent or reads_only, output, lends
        )

    return publish


def select(tools: Iterable[Tool], settings: Settings) -> dict[str, Tool]:
    """Return the tools that these settings publish, by name."""
    return {
        tool.name: tool
        for tool in tools
        if tool.toolset in settings.published
        and (tool.reads_only or not settings.read_only)
        and (settings.http is not None or not tool.lends)
    }


class _TooManyNames(Exception):
    """An object has more names than any tool takes: each would become a problem of its own."""


def _given(value: Any) -> Any:
    """Drop what is null, at every depth: so strict models leave an argument out. Raises _TooManyNames."""
    if isinstance(value, dict):
        if len(value) > MOST_NAMES:
            raise _TooManyNames
        return {name: _given(inner) for name, inner in value.items() if inner is not None}
    return [_given(item) for item in value] if isinstance(value, list) else value


def _without_none(annotation: Any) -> Any:
    """Drop ``| None``: an optional argument is one that is left out, and clients like plain types."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return Annotated[(_without_none(inner), *metadata)]
    choices = get_args(annotation)
    if NoneType in choices:
        rest = [choice for choice in choices if choice is not NoneType]
        return rest[0] if len(rest) == 1 else annotation
    return annotation


def flat_schema(model: type[BaseModel], mode: Any = "validation") -> dict[str, Any]:
    """Return a model's JSON schema as every client understands it: no ``$ref``, no titles, no null defaults."""
    schema = model.model_json_schema(mode=mode)
    definitions = schema.pop("$defs", {})
    flat: dict[str, Any] = _flatten(schema, definitions)
    flat.pop("description", None)
    return flat


def _flatten(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_flatten(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        return _flatten({**target, **{key: value for key, value in node.items() if key != "$ref"}}, definitions)
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            flat[key] = {name: _flatten(item, definitions) for name, item in value.items()}
        elif key == "default" and value is None:
            continue
        elif key != "title":
            flat[key] = _flatten(value, definitions)
    if flat.get("type") == "object":
        flat["additionalProperties"] = False
    return flat


def _explain(tool: Tool, error: ValidationError) -> str:
    """Say what is wrong with the arguments, problem by problem, without repeating their values."""
    lines = []
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    for problem in problems[:_MOST_TOLD]:
        where = ".".join(str(part) for part in problem["loc"])[:LONGEST_SHOWN]
        if problem["type"] == "extra_forbidden":
            what, names = _names_around(tool, problem["loc"])
            lines.append(f"there is no argument {where!r}; {what} takes {', '.join(names)}")
        elif problem["type"] == "missing":
            lines.append(f"the argument {where!r} is missing")
        else:
            lines.append(f"{where}: {problem['msg'].removeprefix('Value error, ')}")
    if len(problems) > _MOST_TOLD:
        lines.append(f"and {len(problems) - _MOST_TOLD} more")
    return f"{tool.name}: " + "; ".join(lines) + " [invalid_argument]"


def _names_around(tool: Tool, where: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """Return what an unknown name was given to, the tool or an item of one of its lists, and the names that it has."""
    model, what = tool.arguments, tool.name
    for part in where[:-1]:
        if isinstance(part, str):
            inner = next((one for one in _models(model.model_fields[part].annotation)), None)
            if inner is None:
                break
            model, what = inner, f"one of {part}"
    return what, list(model.model_fields)


def _models(annotation: Any) -> Iterable[type[BaseModel]]:
    """Yield the models that an annotation is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def json_list(value: Any) -> Any:
    """Accept a list that a client sent as its JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        values = Values()
        values.add(value.encode("utf-8", "surrogatepass"))
        if values.count > MOST_VALUES:
            return value
        try:
            return _given(json.loads(value))
        except ValueError:
            return value
    return value
