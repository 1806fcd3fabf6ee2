"""The OpenAPI 3.1 document, from the operations themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import TypeAdapter

from devbox_mcp import __version__
from devbox_mcp.errors import BY_CODE
from devbox_mcp.servers.problems import STATUS
from devbox_mcp.servers.rest.documentation.problems import PROBLEM, details_of
from devbox_mcp.servers.rest.operations import ALWAYS, Answer, Body, Header, Operation

_REF = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"\{(?P<name>[a-z]+)\}")
_ABOUT = """Files of development sandboxes. Paths in addresses are percent-encoded byte by byte, relative to the
devbox's root, which is the empty path; in JSON they are text, or `devbox://DEVBOX/PATH` URIs where they are not one
line of UTF-8. An `ETag` is the content's sha256 in quotes. Every answer carries `X-Request-Id`."""
_PATHS = {
    "devbox": ("A configured name.", "main"),
    "path": ("Relative to the root; the empty path is the root itself.", "src/app.py"),
    "upload": ("What the address of the upload says.", "eyJ"),
}
_TOKEN = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key of the operator's, or a token of an issuer that counts here. Without any configured, "
        "everybody on this machine is the operator.",
    }
}
_BYTES: dict[str, Any] = {"type": "string", "format": "binary"}

Mode = Literal["validation", "serialization"]


def document(operations: Sequence[tuple[str, Operation]]) -> dict[str, Any]:
    """Return the document of operations, each with the topic that it belongs to."""
    schemas = _Schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for topic, operation in operations:
        for method in operation.methods:
            described = {"tags": [topic], **_operation(operation, method, schemas)}
            paths.setdefault(operation.path, {})[method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "devbox-mcp", "version": __version__, "description": _ABOUT.replace("\n", " ")},
        "tags": [{"name": topic} for topic in dict.fromkeys(topic for topic, _ in operations)],
        "security": [{}, {"bearer": []}],
        "paths": paths,
        "components": {"schemas": schemas.components, "securitySchemes": _TOKEN},
    }


def _operation(operation: Operation, method: str, schemas: _Schemas) -> dict[str, Any]:
    head = method == "HEAD"
    answers = {
        str(status): _answer(answer, schemas, bare=head)
        for status, answer in operation.answers.items()
        if not head or status != 206
    }
    found: dict[str, Any] = {
        "operationId": operation.name if len(operation.methods) == 1 or not head else f"{operation.name}_head",
        "summary": operation.summary,
        "description": operation.description
        if operation.scope is None
        else f"{operation.description}\n\nNeeds the scope `{operation.scope}`.",
        "parameters": [
            *_path_parameters(operation.path),
            *(parameter.described() for parameter in operation.query),
            *(_header(header) for header in operation.headers if not head or "Range" not in header.name),
        ],
        "responses": {**answers, **_errors(operation, bare=head)},
    }
    if operation.body is not None:
        found["requestBody"] = {
            "required": operation.body.required,
            "description": operation.body.description,
            "content": _content(operation.body, schemas, "validation"),
        }
    return found


def _path_parameters(path: str) -> Iterator[dict[str, Any]]:
    for match in _PARAMETER.finditer(path):
        description, example = _PATHS.get(match["name"], ("", ""))
        yield {
            "name": match["name"],
            "in": "path",
            "required": True,
            "description": description,
            "example": example,
            "schema": {"type": "string"},
        }


def _header(header: Header) -> dict[str, Any]:
    described: dict[str, Any] = {"name": header.name, "in": "header", "required": False}
    described |= {"description": header.description, "schema": {"type": "string"}}
    if header.example is not None:
        described["example"] = header.example
    return described


def _answer(answer: Answer, schemas: _Schemas, *, bare: bool) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        described["headers"] = {
            header.name: {"description": header.description, "schema": {"type": "string"}} for header in answer.headers
        }
    if answer.body is not None and not bare:
        described["content"] = _content(answer.body, schemas, "serialization")
    return described


def _content(body: Body, schemas: _Schemas, mode: Mode) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for media_type, kind in body.types.items():
        media: dict[str, Any] = {"schema": _BYTES if kind is None else schemas.of(kind, mode)}
        if body.example is not None and media_type == "application/json":
            media["example"] = body.example
        content[media_type] = media
    return content


def _errors(operation: Operation, *, bare: bool) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {status: [code] for status, code in operation.statuses.items()}
    for code in dict.fromkeys((*ALWAYS, *operation.errors)):
        by_status.setdefault(STATUS.get(code, 500), []).append(code)
    if operation.body is not None and "*/*" not in operation.body.types:
        by_status.setdefault(415, []).append("invalid_argument")
    described: dict[str, Any] = {}
    for status, codes in sorted(by_status.items()):
        answer: dict[str, Any] = {"description": "; ".join(f"`{code}`: {details_of(code)}" for code in codes)}
        if not bare:
            example = problem_example(codes[0], operation, status)
            answer["content"] = {
                "application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}, "example": example}
            }
        described[str(status)] = answer
    return described


def problem_example(code: str, operation: Operation, status: int) -> dict[str, Any]:
    """Return an error as it would be answered."""
    kind = BY_CODE.get(code)
    return {
        "type": f"https://devbox-mcp.dev/errors/{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "op": operation.op,
        "path": "src/app.py",
        "detail": details_of(code),
        "hint": "" if kind is None else kind.default_hint,
        "retryable": kind is not None and kind.retryable,
        "request_id": "7f3a0c52",
    }


class _Schemas:
    """The schemas of all types that bodies have, by the type and by whether it is sent or answered."""

    def __init__(self, operations: Sequence[tuple[str, Operation]]) -> None:
        wanted: dict[tuple[Any, Mode], TypeAdapter[Any]] = {}
        for _, operation in operations:
            for body, mode in _bodies(operation):
                for kind in body.types.values():
                    if kind is not None:
                        wanted[kind, mode] = TypeAdapter(kind)
        inputs = [(kind, mode, adapter) for (kind, mode), adapter in wanted.items()]
        self._by_type, definitions = TypeAdapter.json_schemas(inputs, ref_template=_REF)
        found: Mapping[str, Any] = definitions.get("$defs", {})
        self.components: dict[str, Any] = {**found, "Problem": PROBLEM}

    def of(self, kind: Any, mode: Mode) -> dict[str, Any]:
        """Return the schema of a type, which is a reference."""
        return dict(self._by_type[kind, mode])


def _bodies(operation: Operation) -> Iterator[tuple[Body, Mode]]:
    if operation.body is not None:
        yield operation.body, "validation"
    for answer in operation.answers.values():
        if answer.body is not None:
            yield answer.body, "serialization"
