"""The stand-in of a provider: an HTTP server on loopback whose model plays scripts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anthropic_api
import openai_api
from conversation import Answer, Asked, ScriptError, answer
from errands import Errands


class Model:
    """Knows the errands, and remembers what went wrong and which task was done."""

    def __init__(self) -> None:
        self.errands = Errands()
        self.wrong: list[str] = []
        self.done: set[str] = set()
        self.begun: set[str] = set()
        self.calls = 0
        self.requests = 0
        self._lock = threading.Lock()

    def answer(self, asked: Asked) -> tuple[Answer, int]:
        """Go on with the task's script; also the request's number. Raises ScriptError."""
        if not asked.tools:
            return Answer("A conversation about files."), self._count(0)  # a client that asks for a title
        with self._lock:
            self.begun.add(asked.task)
        try:
            said = answer(self.errands.script_for(asked.task), asked)
        except ScriptError as error:
            self.wrong.append(str(error))
            raise
        if not said.calls:
            with self._lock:
                self.done.add(asked.task)
        return said, self._count(len(said.calls))

    def _count(self, calls: int) -> int:
        with self._lock:
            self.requests += 1
            self.calls += calls
            return self.requests

    def complaints(self) -> list[str]:
        """What a run must not end with."""
        unfinished = [f"the client left off before the end of: {task[:200]}" for task in self.begun - self.done]
        silent = [] if self.begun else ["the scripted model was never asked for anything"]
        return [*dict.fromkeys(self.wrong), *unfinished, *silent]  # a client may have asked the same again


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: Model

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.partition("?")[0]
        try:
            if path == anthropic_api.PATH:
                said, number = self.model.answer(anthropic_api.asked(body))
                message = anthropic_api.answered(said, body, number)
                if body.get("stream"):
                    self._stream(anthropic_api.streamed(message))
                else:
                    self._send(200, message)
            elif body.get("stream"):
                self._refuse(400, "the scripted model streams on Anthropic's Messages API only")
            elif path == openai_api.CHAT:
                said, number = self.model.answer(openai_api.asked_in_chat(body))
                self._send(200, openai_api.answered_in_chat(said, body, number))
            elif path == openai_api.RESPONSES:
                said, number = self.model.answer(openai_api.asked_in_responses(body))
                self._send(200, openai_api.answered_in_responses(said, body, number))
            else:
                self._refuse(404, f"the scripted model does not know {path}")
        except ScriptError as error:
            self._refuse(400, str(error))

    def do_HEAD(self) -> None:
        self._send(200, {})

    def _refuse(self, status: int, message: str) -> None:
        error = {"type": "invalid_request_error", "message": message}
        self._send(status, {"type": "error", "error": error})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        self._answer(status, "application/json", json.dumps(body).encode())

    def _stream(self, events: Iterator[tuple[str, dict[str, Any]]]) -> None:
        lines = [f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n" for name, data in events]
        self._answer(200, "text/event-stream", "".join(lines).encode())

    def _answer(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        """Say nothing: the run's summary does."""


@contextmanager
def serving(model: Model) -> Iterator[str]:
    """Serve a model on a port of its own; gives the address."""
    handler = type("Handler", (_Handler,), {"model": model})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
