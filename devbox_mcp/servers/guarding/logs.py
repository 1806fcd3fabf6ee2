"""JSON lines on stderr: one a request, and whatever else has to be said; without anybody's secrets."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from devbox_mcp.keys import Veil

#: Without the values of variables: among them are contents of files and credentials.
_TRACES = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
_STAMPS: tuple[Any, ...] = (
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    _TRACES,
)


def _rendering(veil: Veil | None) -> Processor:
    """Return what every line passes last."""
    over_all = (veil or Veil()).over_all

    def rendered(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
        # behind the veil there is nothing but JSON
        return json.dumps({name: over_all(value) for name, value in line.items()})

    return rendered


def open_log(stream: TextIO | None = None, veil: Veil | None = None) -> structlog.typing.FilteringBoundLogger:
    """Return a log that writes JSON lines, to stderr unless told otherwise; ``veil`` hides what no line may show."""
    log: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream or sys.stderr),
        processors=[*_STAMPS, _rendering(veil)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    # bound once: a logger that is not would be made anew for each line
    return log.bind()


def log_as_json(stream: TextIO | None = None, veil: Veil | None = None) -> None:
    """Have what libraries log through ``logging`` come out as the same JSON lines; for the command to call once."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *_STAMPS[:2]],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _TRACES,
                _rendering(veil),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
