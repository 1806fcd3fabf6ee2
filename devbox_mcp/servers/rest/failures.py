"""Errors that only HTTP has, and every error of a route as a problem."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from devbox_mcp.errors import Cancelled, DevboxError, InvalidArgument, NotFound, printable
from devbox_mcp.servers.problems import problem


class MethodNotAllowed(DevboxError):
    """This address does not take this method."""

    code = "method_not_allowed"


class RangeNotSatisfiable(DevboxError):
    """The range begins behind the end."""

    code = "range_not_satisfiable"


class Internal(DevboxError):
    """The server has a fault."""

    code = "internal"


class HttpFailure(Exception):
    """An error that HTTP tells with a status or headers of its own."""

    def __init__(self, error: DevboxError, status: int | None = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.status = status
        self.headers = headers or {}


def request_id(request: Request) -> str | None:
    """Return what this request is called."""
    return getattr(request.state, "request_id", None)


def handle_failures(app: Starlette) -> None:
    """Have every error that leaves a route told as a problem."""

    async def devbox_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, DevboxError)
        return problem(error, request_id(request))

    async def http_failure(request: Request, error: Exception) -> Response:
        assert isinstance(error, HttpFailure)
        return problem(error.error, request_id(request), status=error.status, headers=error.headers)

    async def gone(request: Request, _error: Exception) -> Response:
        return problem(Cancelled("request", _address(request), "the client went away"), request_id(request))

    async def http_exception(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem(
            _of_routing(request, error), request_id(request), status=error.status_code, headers=error.headers
        )

    async def fault(request: Request, _error: Exception) -> Response:
        # it is raised once more behind this, and logged by whoever observes
        return problem(Internal("request", _address(request)), request_id(request))

    app.add_exception_handler(DevboxError, devbox_error)
    app.add_exception_handler(HttpFailure, http_failure)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(HTTPException, http_exception)
    app.add_exception_handler(Exception, fault)


def _of_routing(request: Request, error: HTTPException) -> DevboxError:
    if error.status_code == 404:
        return NotFound("request", _address(request), "there is no such address", hint="/docs shows those there are")
    if error.status_code == 405:
        return MethodNotAllowed(
            "request", _address(request), f"{request.method} is not for this address", hint="/docs shows what is"
        )
    return InvalidArgument("request", _address(request), str(error.detail))


def _address(request: Request) -> str:
    return printable(request.scope["path"][:200])
