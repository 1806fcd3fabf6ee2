"""The API's own description: true, complete, and readable without anything from anywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from devbox_mcp.servers.rest.app import operations
from tests.rest.served import Client

DOCUMENT = Path(__file__).parents[2] / "docs" / "http-api.md"
# sent as the bytes that they are
for media_type in ("application/offset+octet-stream", "application/x-tar", "application/gzip", "application/zip"):
    schemathesis.serializer.alias(media_type, "application/octet-stream")

#: They wait, or have no end.
_STREAMS = ("/events", "/changes")


@pytest.fixture(scope="session")
def described(port: int) -> Any:
    return Client(port, Path())("GET", "/openapi.json").json()


def test_every_route_is_described(described: Any) -> None:
    told = {(path, method.upper()) for path, methods in described["paths"].items() for method in methods}
    assert told == {(operation.path, method) for _, operation in operations() for method in operation.methods}
    names = [one["operationId"] for methods in described["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names))


def test_every_operation_tells_its_errors(described: Any) -> None:
    for methods in described["paths"].values():
        for method, operation in methods.items():
            assert operation["summary"]
            assert operation["description"]
            for status in ("400", "401", "403", "404", "429", "503"):
                answer = operation["responses"][status]
                assert method == "head" or answer["content"]["application/problem+json"]["example"]["code"]


def test_schemas_say_what_their_fields_mean(described: Any) -> None:
    schemas = described["components"]["schemas"]
    assert schemas["InfoJson"]["properties"]["mode"]["description"] == "permission bits, octal: ``0644``"
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', str(described).replace("'", '"')))
    assert references <= set(schemas)


def test_the_written_contract_names_every_route() -> None:
    written = DOCUMENT.read_text()
    missing = [
        operation.path
        for _, operation in operations()
        if operation.path.removeprefix("/v1/devboxes/{devbox}/").partition("/")[0].strip("/") not in written
    ]
    assert missing == []


def test_the_page_needs_nothing_from_anywhere(port: int, described: Any) -> None:
    found = Client(port, Path())("GET", "/docs")
    page = found.body.decode()
    assert found.headers["content-security-policy"].startswith("default-src 'none'")
    assert re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", page) == []
    assert "<script" not in page
    for methods in described["paths"].values():
        for operation in methods.values():
            assert f'id="{operation["operationId"]}"' in page


def test_whatever_the_description_allows_is_answered_as_described(ask: Client, described: Any) -> None:
    """No request that the description allows, or nearly allows, meets a fault or an answer that it does not tell of."""
    schema = schemathesis.openapi.from_dict(described)
    schema.config.update(base_url=f"http://127.0.0.1:{ask.port}")
    checks = [not_a_server_error, status_code_conformance, response_schema_conformance, content_type_conformance]
    failures: list[str] = []
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path.endswith(_STREAMS):
            continue

        @settings(
            max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        )
        @_given(operation)
        def attempt(case: Any) -> None:
            case.path_parameters = {**(case.path_parameters or {}), "devbox": "main"}
            case.call_and_validate(checks=checks, timeout=30)

        try:
            attempt()
        except FailureGroup as group:
            failures.append(f"{operation.label}: {group}")
    assert failures == [], "\n\n".join(failures)


def _given(operation: Any) -> Any:
    from hypothesis import given

    return given(case=operation.as_strategy())
