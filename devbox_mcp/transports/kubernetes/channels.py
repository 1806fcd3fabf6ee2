"""The messages of pods/exec, versions 4 and 5, without I/O.

Every message is binary; its first byte is the channel. The server begins with one empty message per output, sends
output in messages of at most 32 KiB, and at the end one Status in JSON. Version 5 can close stdin, version 4 cannot.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
PROTOCOLS = (V5, V4)
#: Ends stdin in version 5: exactly these two bytes.
END_OF_STDIN = b"\xff\x00"

_STDIN, _STDOUT, _STDERR, _STATUS, _CLOSED = b"\0", 1, 2, 3, 255


class MalformedMessage(ValueError):
    """The server sent what the protocol does not know."""


@dataclass(frozen=True, slots=True)
class Stdout:
    data: memoryview


@dataclass(frozen=True, slots=True)
class Stderr:
    data: memoryview


@dataclass(frozen=True, slots=True)
class Ended:
    """The program has ended, or was never started. ``status`` is None where the server gives none; then ``reason``
    and ``message`` are its own words."""

    status: int | None
    reason: str = ""
    message: str = ""


Event = Stdout | Stderr | Ended


def to_stdin(data: bytes | bytearray | memoryview) -> bytes:
    """Return the message that carries data to the program."""
    return b"".join((_STDIN, data))


class Channels:
    """What the server sends, message by message."""

    def __init__(self) -> None:
        self._ended = False

    def feed(self, message: bytes) -> Event | None:
        """Return what a message says, None for nothing. Raises MalformedMessage."""
        if not message:
            raise MalformedMessage("a message without a channel")
        channel, data = message[0], memoryview(message)[1:]
        if channel == _CLOSED and len(data) == 1:
            return None
        if self._ended:
            raise MalformedMessage("a message after the status")
        if channel == _STATUS:
            if not data:
                return None
            self._ended = True
            return ended(bytes(data))
        if channel not in (_STDOUT, _STDERR):
            raise MalformedMessage(f"a message on channel {channel}")
        if not data:
            return None
        return Stdout(data) if channel == _STDOUT else Stderr(data)


def ended(text: bytes) -> Ended:
    """Return how a program ended, from the Status in JSON. Raises MalformedMessage."""
    try:
        status = json.loads(text)
    except ValueError as error:
        raise MalformedMessage("a status that is not JSON") from error
    if not isinstance(status, dict) or status.get("status") not in ("Success", "Failure"):
        raise MalformedMessage("a status that is none")
    if status["status"] == "Success":
        return Ended(0)
    reason, message = _text(status.get("reason")), _text(status.get("message"))
    if reason == "NonZeroExitCode":
        return Ended(_exit_code(status.get("details")), reason, message)
    return Ended(None, reason or "Failure", message)


def _exit_code(details: object) -> int:
    causes = details.get("causes") if isinstance(details, dict) else None
    for cause in causes if isinstance(causes, list) else ():
        if isinstance(cause, dict) and cause.get("reason") == "ExitCode":
            text = _text(cause.get("message"))
            if text.isascii() and text.isdigit() and len(text) <= 10:
                return int(text)
    raise MalformedMessage("a non-zero exit without its code")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
