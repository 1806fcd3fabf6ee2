"""Archives: a zip as it is made, and what is told at its end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx2

from devbox_mcp.backends.base import Progress
from devbox_mcp.backends.http.asking import Asking, parsed
from devbox_mcp.backends.http.failures import lost, problem
from devbox_mcp.backends.http.shapes import Shapes, count
from devbox_mcp.backends.reported import MEDIA_TYPE, Pieces
from devbox_mcp.errors import Integrity
from devbox_mcp.models import Archive

#: Paths that stand in an address; more go into a body.
_FEW = 20
#: What a zip's headers of one member take at most, twice its name of 4 KiB among them.
_MOST_HEADERS = 10 * 1024


async def open_archive(
    asking: Asking, shapes: Shapes, first: str, shown: Sequence[str], max_bytes: int, max_files: int,
    on_progress: Progress | None,
) -> Archive:  # fmt: skip
    """See ``Backend.archive``; ``shown`` are the paths as the API has them, ``first`` what errors tell."""
    parameters: dict[str, object] = {"report": True, "max_bytes": max_bytes, "max_files": max_files}
    body, headers = None, {}
    if len(shown) > _FEW:
        body, headers = json.dumps({"paths": shown}).encode("ascii"), {"Content-Type": "application/json"}
    else:
        parameters["path"] = list(shown)
    response = await asking.opened(
        "archive", first, "archive", parameters, headers, accept=lambda status: status == 200,
        method="GET" if body is None else "POST", body=body,
    )  # fmt: skip
    if response.headers.get("content-type") != MEDIA_TYPE:
        await response.aclose()
        raise Integrity("archive", first, "the server sent no archive")

    def take(found: Any) -> None:
        archive.files, archive.bytes = count(found["files"]), count(found["bytes"])
        archive.skipped = [shapes.path(path) for path in found["skipped"]]

    most = max_bytes + max_files * _MOST_HEADERS
    archive = Archive(_unpacked(response, most, first, take, on_progress))
    return archive


async def _unpacked(
    response: httpx2.Response, most: int, path: str, report: Callable[[Any], None], on_progress: Progress | None
) -> AsyncIterator[bytes]:
    """Yield an archive's bytes, and take its report at the end. Raises what went wrong on the server meanwhile."""
    pieces = Pieces()
    arrived = 0
    try:
        async for data in response.aiter_raw():
            for piece in pieces.feed(data):
                arrived += len(piece)
                if arrived > most:
                    raise Integrity("archive", path, "the server sent more than was asked for")
                yield piece
            if on_progress is not None:
                on_progress(arrived, None)
    except (httpx2.TransportError, httpx2.StreamError) as error:
        raise lost(error).told("archive", path, changes=False) from error
    except ValueError as error:
        raise Integrity("archive", path, "the server's archive makes no sense") from error
    finally:
        await response.aclose()

    def take(found: Any) -> None:
        if "error" in found:
            raise problem({"data": {}, **found["error"]}, "archive", path)
        report(found)

    try:
        last = pieces.report
    except ValueError as error:
        raise Integrity("archive", path, "the archive broke off") from error
    parsed(take, last, "archive", path)
