"""Every request has a name, a line in the log, numbers, and a trace; none of them tells more than it should."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import websockets
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus

from devbox_mcp.errors import Unavailable
from devbox_mcp.keys import Veil, new_key
from devbox_mcp.servers.guarding import Measures, Routed
from devbox_mcp.servers.guarding.health import Health, Probe, Readiness
from devbox_mcp.servers.guarding.logs import log_as_json, open_log
from devbox_mcp.servers.guarding.measures import Metrics
from devbox_mcp.servers.guarding.observe import Observe
from tests.guarding.serving_app import Answer, ask, connected, request, respond, running

SECRET = "hunter2"


async def read(request: Request) -> Response:
    return PlainTextResponse(f"{request.path_params['path']} {request.state.request_id}")


async def upload(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())), 201)


async def fault(_request: Request) -> Response:
    raise RuntimeError(SECRET)


async def faulty(_socket: WebSocket) -> None:
    raise RuntimeError(SECRET)


async def half(_request: Request) -> Response:
    async def body() -> Any:
        yield b"half"
        raise RuntimeError(SECRET)

    from starlette.responses import StreamingResponse

    return StreamingResponse(body())


async def chat(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_bytes(await socket.receive_bytes() * 2)
    await socket.close()


@dataclass
class Observed:
    """An observed application, and what was told of it."""

    app: ASGIApp
    measures: Measures
    log: io.StringIO = field(default_factory=io.StringIO)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@pytest.fixture
def observed() -> Observed:
    measures, log = Measures(), io.StringIO()
    routes = [
        Route("/files/{path:path}", read),
        Route("/files/{path:path}", upload, methods=["PUT"]),
        Route("/fault", fault),
        Route("/half", half),
        Mount("/inner", routes=[Route("/{name}", read_name)]),
        WebSocketRoute("/ws/{name}", chat),
        WebSocketRoute("/faulty", faulty),
        Mount("/metrics", Metrics(measures)),
    ]
    routed = Routed(Starlette(routes=routes))

    async def copying(scope: Any, receive: Any, send: Any) -> None:
        # as middlewares do that change a scope
        await routed({**scope, "state": {**scope["state"]}}, receive, send)

    return Observed(Observe(copying, measures, open_log(log)), measures, log)


async def read_name(request: Request) -> Response:
    return PlainTextResponse(request.path_params["name"])


async def metrics_of(port: int) -> dict[tuple[str, ...], float]:
    """Return the samples as Prometheus' own parser reads them, by name and label values."""
    answer = await ask(port, request("GET", "/metrics/"))
    assert answer.status == 200
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("given", ["a", "A.b_c-9", "x" * 128])
async def test_a_sane_request_id_is_kept(observed: Observed, given: str) -> None:
    async with running(observed.app) as port:
        answer = await ask(port, request("GET", "/files/a", x_request_id=given))
        assert answer.headers["x-request-id"] == given
        assert answer.body.decode() == f"a {given}"
    assert [line["request_id"] for line in observed.lines()] == [given]


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", 'a"b', "a\tb", "ä", "../x", "a;b"])
async def test_any_other_request_id_is_replaced(observed: Observed, given: str) -> None:
    async with running(observed.app) as port:
        answers = [await ask(port, request("GET", "/files/a", x_request_id=given)) for _ in range(2)]
    names = {answer.headers["x-request-id"] for answer in answers}
    assert len(names) == 2
    assert given not in names


async def test_a_request_is_one_line_that_tells_no_path_and_no_query(observed: Observed) -> None:
    async with running(observed.app) as port:
        asked = request("PUT", f"/files/{SECRET}?key={SECRET}", b"x" * 10, authorization=f"Bearer {SECRET}")
        assert (await ask(port, asked)).status == 201
    (line,) = observed.lines()
    assert SECRET not in observed.log.getvalue()
    assert line["event"] == "request"
    assert (line["method"], line["route"], line["status"]) == ("PUT", "/files/{path:path}", 201)
    assert (line["bytes_in"], line["bytes_out"], line["level"]) == (10, 2, "info")
    assert line["ms"] > 0


async def test_metrics_count_by_route_method_and_status(observed: Observed) -> None:
    async with running(observed.app) as port:
        for number in range(3):
            await ask(port, request("GET", f"/files/{number}/{SECRET}"))
        await ask(port, request("PUT", "/files/a", b"x" * 100))
        await ask(port, request("DELETE", "/files/a"))
        await ask(port, request("GET", f"/nowhere/{SECRET}"))
        await ask(port, request("BREW", "/files/a"))
        await ask(port, request("GET", f"/inner/{SECRET}"))
        found = await metrics_of(port)
    template = "/files/{path:path}"
    assert found["devbox_mcp_requests_total", "GET", template, "200"] == 3
    assert found["devbox_mcp_requests_total", "PUT", template, "201"] == 1
    assert found["devbox_mcp_requests_total", "DELETE", template, "405"] == 1
    assert found["devbox_mcp_requests_total", "GET", "none", "404"] == 1
    assert found["devbox_mcp_received_bytes_total", template] == 100
    assert found["devbox_mcp_request_seconds_count", "GET", template] == 3
    assert found["devbox_mcp_requests_under_way",] == 1  # this very one
    assert not [labels for labels in found if SECRET in "".join(labels)]


async def test_labels_have_an_end_whatever_is_asked(observed: Observed) -> None:
    async with running(observed.app) as port:
        for number in range(50):
            await ask(port, request("GET", f"/{number}/nowhere"))
            await ask(port, request("GET", f"/files/{number}"))
        found = await metrics_of(port)
    assert len([labels for labels in found if labels[0] == "devbox_mcp_requests_total"]) == 2


@pytest.mark.parametrize("method", ["LOCK", "SEARCH", "MKCOL"])
async def test_an_unusual_method_is_other(observed: Observed, method: str) -> None:
    async with running(observed.app) as port:
        await ask(port, request(method, "/nowhere"))
        found = await metrics_of(port)
    assert found["devbox_mcp_requests_total", "other", "none", "404"] == 1


async def test_a_fault_is_a_problem_that_says_nothing_and_a_line_that_says_all(observed: Observed) -> None:
    async with running(observed.app) as port:
        answer = await ask(port, request("GET", "/fault", x_request_id="the-one"))
        assert (answer.status, answer.headers["x-request-id"]) == (500, "the-one")
        assert SECRET not in answer.body.decode()
    told, line = observed.lines()
    assert (told["event"], told["request_id"], told["level"]) == ("fault", "the-one", "error")
    assert told["exception"][0]["exc_type"] == "RuntimeError"
    assert (line["event"], line["status"]) == ("request", 500)


async def test_what_a_fault_says_of_secrets_is_hidden() -> None:
    key, token = new_key(), "the operator's token"
    log = io.StringIO()

    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError(f"cannot take {key} or {token}")

    veil = Veil([token])
    async with running(Observe(broken, Measures(), open_log(log, veil), veil)) as port:
        assert (await ask(port, request("GET", "/"))).status == 500
    assert "cannot take (a key) or (a secret)" in log.getvalue()
    assert key not in log.getvalue()


async def test_a_secret_of_the_server_is_no_request_id() -> None:
    veil, log = Veil(["operators-token"]), io.StringIO()

    async def answering(_scope: Any, _receive: Any, send: Any) -> None:
        await respond(send)

    async with running(Observe(answering, Measures(), open_log(log, veil), veil)) as port:
        answer = await ask(port, request("GET", "/", x_request_id="operators-token"))
    assert answer.headers["x-request-id"] in log.getvalue()
    assert "operators-token" not in answer.headers["x-request-id"]


@pytest.fixture
def library() -> Iterator[logging.Logger]:
    """What a library logs with; the handlers are put back."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield logging.getLogger("a.library")
    root.handlers[:] = before
    root.setLevel(level)


def test_what_libraries_log_has_no_secrets_either(library: logging.Logger) -> None:
    key, stream = new_key(), io.StringIO()
    log_as_json(stream, Veil(["the operator's token"]))
    library.error("tried %s", f"{key} and the operator's token")
    assert json.loads(stream.getvalue())["event"] == "tried (a key) and (a secret)"


async def test_half_an_answer_is_never_taken_for_a_whole_one(observed: Observed) -> None:
    async with running(observed.app) as port, connected(port) as connection:
        await connection.send(request("GET", "/half"))
        said = await connection.closed()
        assert b"half" in said
        assert not said.endswith(b"0\r\n\r\n")


async def test_a_client_that_goes_away_is_counted_as_gone(observed: Observed) -> None:
    release = asyncio.Event()

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        while (await receive())["type"] != "http.disconnect":
            pass
        release.set()

    app = Observe(waits, observed.measures, open_log(observed.log))
    async with running(app) as port:
        async with connected(port) as connection:
            await connection.send(request("GET", "/"))
        await asyncio.wait_for(release.wait(), 20)
    assert [line["status"] for line in observed.lines()] == [499]


async def test_a_websocket_is_a_request_too(observed: Observed) -> None:
    async with (
        running(observed.app) as port,
        websockets.connect(f"ws://127.0.0.1:{port}/ws/{SECRET}", additional_headers={"X-Request-Id": "ws-1"}) as client,
    ):
        assert client.response is not None
        assert client.response.headers["X-Request-Id"] == "ws-1"
        await client.send(b"12345")
        assert await client.recv() == b"1234512345"
        await client.wait_closed()
    (line,) = observed.lines()
    assert (line["method"], line["route"], line["status"]) == ("WEBSOCKET", "/ws/{name}", 101)
    assert (line["bytes_in"], line["bytes_out"]) == (5, 10)


async def test_a_fault_before_a_websocket_is_open_is_answered_as_any(observed: Observed) -> None:
    async with running(observed.app) as port:
        with pytest.raises(InvalidStatus) as caught:
            await websockets.connect(f"ws://127.0.0.1:{port}/faulty", additional_headers={"X-Request-Id": "ws-2"})
    answer = caught.value.response
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, "application/problem+json")
    assert json.loads(answer.body)["request_id"] == "ws-2"
    told = next(line for line in observed.lines() if line["event"] == "request")
    assert (told["method"], told["status"]) == ("WEBSOCKET", 500)


# -- traces


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """The one provider that a process can have."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


async def test_a_request_is_a_span_of_the_callers_trace(exporter: InMemorySpanExporter, observed: Observed) -> None:
    exporter.clear()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with running(observed.app) as port:
        await ask(port, request("GET", f"/files/{SECRET}?key={SECRET}", traceparent=parent))
        await ask(port, request("GET", "/fault"))
    read_span, fault_span = exporter.get_finished_spans()
    assert read_span.name == "GET /files/{path:path}"
    assert read_span.context is not None
    assert read_span.parent is not None
    assert f"{read_span.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{read_span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert read_span.kind is trace.SpanKind.SERVER
    assert dict(read_span.attributes or {}) == {
        "http.request.method": "GET", "http.route": "/files/{path:path}", "http.response.status_code": 200
    }  # fmt: skip
    assert fault_span.parent is None
    assert fault_span.status.status_code is trace.StatusCode.ERROR
    assert SECRET not in read_span.to_json()


async def test_what_is_done_inside_is_part_of_the_trace(exporter: InMemorySpanExporter) -> None:
    exporter.clear()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with trace.get_tracer("inside").start_as_current_span("inner"):
            await PlainTextResponse("x")(scope, receive, send)

    async with running(Observe(app, Measures(), open_log(io.StringIO()))) as port:
        await ask(port, request("GET", "/"))
    inner, outer = exporter.get_finished_spans()
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id


@pytest.mark.parametrize("parent", ["", "x", "00-0-0-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-00", "ff" * 200])
async def test_a_traceparent_that_makes_no_sense_is_ignored(
    exporter: InMemorySpanExporter, observed: Observed, parent: str
) -> None:
    exporter.clear()
    async with running(observed.app) as port:
        assert (await ask(port, request("GET", "/files/a", traceparent=parent))).status == 200
    assert [span.parent for span in exporter.get_finished_spans()] == [None]


# -- health


async def good() -> None:
    """A devbox that answers."""


async def bad() -> None:
    raise Unavailable("stat", ".", "gone")


async def health(path: str, *probes: Probe, draining: bool = False) -> tuple[Answer, Measures]:
    measures = Measures()
    readiness = Readiness(probes, measures)
    if draining:
        readiness.drain()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("asked the application")

    async with running(Health(app, readiness)) as port:
        return await ask(port, request("GET", path, host="anything.example.com")), measures


@pytest.mark.parametrize(
    ("probes", "draining", "status"),
    [((good,), False, 200), ((bad,), False, 503), ((good, bad), False, 200), ((), False, 200), ((good,), True, 503)],
)
async def test_ready_is_who_reaches_a_devbox_and_is_not_about_to_end(
    probes: tuple[Probe, ...], draining: bool, status: int
) -> None:
    answer, _ = await health("/readyz", *probes, draining=draining)
    assert answer.status == status
    assert answer.json() == {"ok": status == 200}
    assert (await health("/healthz", *probes, draining=draining))[0].status == 200


async def test_many_who_ask_at_once_ask_a_devbox_once() -> None:
    asked = 0

    async def probe() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)

    readiness = Readiness([probe], Measures())
    assert all(await asyncio.gather(*(readiness.ask() for _ in range(50))))
    assert asked == 1


async def test_who_gives_up_asking_leaves_the_others_their_answer() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def probe() -> None:
        begun.set()
        await go_on.wait()

    readiness = Readiness([probe], Measures())
    first, second = asyncio.create_task(readiness.ask()), asyncio.create_task(readiness.ask())
    await begun.wait()
    first.cancel()
    go_on.set()
    assert await second


async def test_health_is_not_logged_while_it_is_good() -> None:
    log = io.StringIO()
    measures = Measures()
    for probe, lines in ((good, 0), (bad, 1)):
        app = Observe(Health(read, Readiness([probe], measures)), measures, open_log(log))  # type: ignore[arg-type]  # not asked
        async with running(app) as port:
            await ask(port, request("GET", "/readyz"))
        assert len(log.getvalue().splitlines()) == lines
