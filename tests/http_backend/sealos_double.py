"""A double of Sealos' server in the pod, written from what is documented of it: the real one cannot be had here.

Its quirks are kept: errors come as HTTP 200 with ``status`` in the body (only a missing token is a bare 401); nothing
is confined, absolute paths and ``..`` pass, and links are followed; a write truncates the file and is not atomic;
listings have no total and end with an empty page; there is no stat, mkdir, copy, append, range, watch or checksum.
What is not documented, and guessed here: a write makes missing parents, as a move does not; ``modified`` is RFC 3339
in whole seconds; a move is a rename.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

MOST = 100 << 20


class Failed(Exception):
    """An error as the envelope has it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class SealosDouble:
    """``app`` serves what is beneath ``workspace``, which relative paths are of. ``requests`` are the routes asked."""

    def __init__(self, workspace: str, token: str) -> None:
        self._workspace = workspace
        self._token = token
        self.requests: list[str] = []
        #: Bytes of a write after which it breaks off, as a full disk would have it.
        self.breaks_after: int | None = None
        self.app = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/api/v1/files/list", self._guarded(self._list)),
                Route("/api/v1/files/read", self._guarded(self._read)),
                Route("/api/v1/files/write", self._guarded(self._write), methods=["POST"]),
                Route("/api/v1/files/delete", self._guarded(self._delete), methods=["POST"]),
                Route("/api/v1/files/move", self._guarded(self._move), methods=["POST"]),
                Route("/api/v1/files/chmod", self._guarded(self._chmod), methods=["POST"]),
            ]
        )

    async def _health(self, _request: Request) -> Response:
        return _said(0, "success")

    def _guarded(self, handler: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def handle(request: Request) -> Response:
            self.requests.append(request.url.path.rpartition("/")[2])
            if request.headers.get("authorization") != f"Bearer {self._token}":
                return Response(status_code=401)
            try:
                found = await handler(request)
            except Failed as error:
                return _said(error.status, str(error))
            except FileNotFoundError as error:
                return _said(1404, f"not found: {error.filename}")
            except PermissionError as error:
                return _said(1403, f"permission denied: {error.filename}")
            except (KeyError, ValueError, TypeError) as error:
                return _said(1400, f"bad request: {type(error).__name__}")
            except OSError as error:
                return _said(1500, str(error))
            return found if isinstance(found, Response) else _said(0, "success", **found)

        return handle

    def _place(self, path: str) -> Path:
        return Path(self._workspace) / path

    async def _list(self, request: Request) -> dict[str, Any]:
        place = self._place(request.query_params.get("path", "."))
        limit, offset = (int(request.query_params.get(*pair)) for pair in (("limit", "100"), ("offset", "0")))
        if not place.exists():
            raise FileNotFoundError(2, "", str(place))
        if not place.is_dir():
            raise Failed(1400, "not a directory")
        hidden = request.query_params.get("showHidden") == "true"
        names = sorted(name for name in os.listdir(place) if hidden or not name.startswith("."))
        return {"files": [self._entry(place / name) for name in names[offset : offset + limit]]}

    @staticmethod
    def _entry(place: Path) -> dict[str, Any]:
        st = os.stat(place) if place.exists() else os.lstat(place)
        modified = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(st.st_mtime))
        return {
            "name": _text(place.name), "path": _text(str(place)), "size": st.st_size, "isDir": place.is_dir(),
            "permissions": f"{st.st_mode & 0o777:04o}", "modified": modified,
        }  # fmt: skip

    async def _read(self, request: Request) -> Response:
        place = self._place(request.query_params["path"])
        if place.is_dir():
            raise Failed(1400, "is a directory")
        file = open(place, "rb")  # noqa: SIM115, ASYNC230  closed by the answer; nobody else waits
        size = os.fstat(file.fileno()).st_size

        async def chunks() -> Any:
            with file:
                while chunk := file.read(1 << 16):
                    yield chunk

        return StreamingResponse(chunks(), media_type="application/octet-stream", headers={"content-length": str(size)})

    async def _write(self, request: Request) -> dict[str, Any]:
        place = self._place(request.query_params["path"])
        place.parent.mkdir(parents=True, exist_ok=True)
        size = 0
        with open(place, "wb") as file:  # noqa: ASYNC230  nobody else waits
            async for piece in request.stream():
                size += len(piece)
                if size > MOST:
                    raise Failed(1400, "file too large")
                if self.breaks_after is not None and size > self.breaks_after:
                    raise OSError("no space left on device")
                file.write(piece)
        return {"path": str(place), "size": size}

    async def _delete(self, request: Request) -> dict[str, Any]:
        asked = json.loads(await request.body())
        place = self._place(asked["path"])
        if not place.is_dir() or place.is_symlink():
            place.unlink()
        elif asked.get("recursive"):
            shutil.rmtree(place)
        else:
            place.rmdir()
        return {"success": True}

    async def _move(self, request: Request) -> dict[str, Any]:
        asked = json.loads(await request.body())
        source, destination = self._place(asked["source"]), self._place(asked["destination"])
        if destination.exists() and not asked.get("overwrite"):
            raise Failed(1409, f"{destination} exists")
        os.rename(source, destination)
        return {"success": True}

    async def _chmod(self, request: Request) -> dict[str, Any]:
        asked = json.loads(await request.body())
        place = self._place(asked["path"])
        every = [place, *place.rglob("*")] if asked.get("recursive") else [place]
        for one in every:
            os.chmod(one, int(asked["mode"], 8))
        return {"success": True}


def _text(name: str) -> str:
    """Return a name as JSON can hold it."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _said(status: int, message: str, **fields: Any) -> Response:
    return JSONResponse({"status": status, "message": message, **fields})
