"""What may be asked for: the name of every operation and the call that it stands for.

An operation takes the request's ``args`` by name and returns plain JSON, or an ``Answer`` where bytes go with it.
Rooms that are rarely needed are imported when they are: in a container, importing means compiling.
"""

import functools
import hashlib
import os
from contextlib import closing
from importlib import import_module
from typing import Any, Callable, Dict, Generator, Iterable, List, NamedTuple, Optional

from . import listing, reading, writing
from .beneath import Root
from .cached import Cached
from .errors import GuestError, WouldBlock
from .frames import INLINE
from .info import free_space
from .job import Job
from .lines import LineReader
from .listed import NameLister
from .worker import Loader

Stream = Generator[bytes, None, None]


class Answer:
    """A value with bytes: ``data``, or a ``stream`` of them. ``final`` returns what is told at the stream's end."""

    __slots__ = ("data", "final", "stream", "value")

    def __init__(
        self,
        value: Any,
        data: bytes = b"",
        stream: Optional[Stream] = None,
        final: Callable[[], Any] = lambda: None,
    ) -> None:
        self.value = value
        self.data = data
        self.stream = stream
        self.final = final


class Request:
    """What an operation is given: its ``args``, the ``body`` that came along, the ``job`` it does."""

    __slots__ = ("args", "body", "job", "sha256")

    def __init__(
        self, args: Dict[str, Any], job: Job, body: Iterable[bytes] = (), sha256: Optional[Callable[[], str]] = None
    ) -> None:
        self.args = args
        self.job = job
        self.body = body
        #: What a streamed body hashes to, once it is through.
        self.sha256 = sha256


class Files:
    """Everything that works beneath one root."""

    def __init__(self, root: Root, loader: Loader) -> None:
        self.root = root
        self.lines = LineReader(root)
        self.names = NameLister(root)
        self.cached = Cached(root)
        self._loader = loader
        self._worker: Any = None
        self._watcher: Any = None
        self._uploads: Any = None

    def worker(self) -> Any:
        """Return what finds and searches."""
        if self._worker is None:
            self._worker = _room("worker").Worker(self.root, self._loader)
        return self._worker

    def watcher(self) -> Any:
        """Return what watches."""
        if self._watcher is None:
            self._watcher = _room("watch").Watcher(self.root)
        return self._watcher

    def uploads(self) -> Any:
        """Return what takes files in chunks."""
        if self._uploads is None:
            self._uploads = _room("uploads").Uploads(self.root)
        return self._uploads

    def prepare(self, operation: str) -> None:
        """Make what an operation needs, in the one thread that may."""
        if operation in ("find", "search"):
            self.worker()
        elif operation == "watch":
            self.watcher()
        elif operation.startswith("upload_"):
            self.uploads()

    def close(self) -> None:
        """End all children and watches."""
        for room in (self._watcher, self._worker):
            if room is not None:
                room.close()


def _room(name: str) -> Any:
    return import_module("." + name, __package__)


def _relative(files: Files, request: Request) -> Any:
    return files.root.relative(**request.args)


def _stat(files: Files, request: Request) -> Any:
    return reading.stat(files.root, job=request.job, **request.args)


def _stat_now(files: Files, args: Dict[str, Any]) -> Answer:
    if args.get("sha256"):
        raise WouldBlock
    return Answer(reading.stat_now(files.root, args["path"]))


def _list(files: Files, request: Request) -> Any:
    return listing.list_directory(files.root, job=request.job, **request.args)


def _names(files: Files, request: Request) -> Any:
    return files.names.list(job=request.job, **request.args)


def _names_now(files: Files, args: Dict[str, Any]) -> Answer:
    return Answer(files.names.list_now(**args))


def _read(files: Files, request: Request) -> Answer:
    reader = reading.Reader(files.root, job=request.job, **request.args)
    try:
        value = {"info": reader.info, "offset": reader.offset}
        length = request.args.get("length")
        left = reader.info["size"] - reader.offset
        if (left if length is None else min(left, length)) > INLINE:
            return Answer(value, stream=_closing(reader))
        with closing(reader):
            return Answer(value, b"".join(reader))
    except BaseException:
        reader.close()
        raise


def _read_stream(files: Files, request: Request) -> Answer:
    """Read as ``_read`` does, always as a stream, ``packed`` on the way if that is asked for."""
    packed = request.args.pop("packed", False)
    reader = reading.Reader(files.root, job=request.job, **request.args)
    value = {"info": reader.info, "offset": reader.offset}
    return Answer(value, stream=_room("packing").packed(_closing(reader)) if packed else _closing(reader))


def _hash(files: Files, request: Request) -> Any:
    """Hash a range of a file."""
    digest = hashlib.sha256()
    with closing(reading.Reader(files.root, job=request.job, **request.args)) as reader:
        for chunk in reader:
            digest.update(chunk)
        return {"info": reader.info, "sha256": digest.hexdigest()}


def _closing(reader: reading.Reader) -> Stream:
    with closing(reader):
        yield from reader


def _read_now(files: Files, args: Dict[str, Any]) -> Answer:
    info, offset, data = files.cached.read(**args)
    return Answer({"info": info, "offset": offset}, data)


def _read_lines(files: Files, request: Request) -> Answer:
    return _lines(files.lines.read_lines(job=request.job, **request.args))


def _read_lines_now(files: Files, args: Dict[str, Any]) -> Answer:
    return _lines(files.lines.read_lines_now(**args))


def _lines(found: Dict[str, Any]) -> Answer:
    data = found.pop("data")
    if len(data) <= INLINE:
        return Answer(found, data)
    return Answer(found, stream=(piece for piece in (data,)))


def _write(files: Files, request: Request) -> Any:
    sha256 = request.args.pop("sha256", None) or request.sha256
    return writing.write(files.root, body=request.body, job=request.job, sha256=sha256, **request.args)


def _upload_begin(files: Files, request: Request) -> Any:
    return files.uploads().begin(job=request.job, **request.args)


def _upload_add(files: Files, request: Request) -> Any:
    """Add a chunk, which may be ``packed``: then its stream's hash is that of what was packed, and zlib's own sum is
    that of the content, which the whole's sha256 verifies at the end."""
    args = request.args
    if args.pop("packed", False):
        body = _room("packing").unpacked(request.body, args["path"])
        return files.uploads().add(body=body, job=request.job, sha256=None, **args)
    return files.uploads().add(body=request.body, job=request.job, sha256=request.sha256, **args)


def _upload_extend(files: Files, request: Request) -> Any:
    return files.uploads().extend(body=request.body, job=request.job, sha256=request.sha256, **request.args)


def _upload_size(files: Files, request: Request) -> Any:
    return files.uploads().size(**request.args)


def _upload_finish(files: Files, request: Request) -> Any:
    return files.uploads().finish(job=request.job, **request.args)


def _upload_abandon(files: Files, request: Request) -> Any:
    return files.uploads().abandon(**request.args)


def _write_batch(files: Files, request: Request) -> Any:
    items: List[Dict[str, Any]] = request.args["items"]
    data = _Pieces(request.body, request.sha256)
    for item in items:
        item["data"] = functools.partial(data.take, item.pop("size"), item["path"])
    outcomes = _room("batch").write_batch(
        files.root, items, request.job, atomic=request.args["atomic"], verify=data.verify
    )
    return [error_fields(outcome["error"]) if outcome["error"] else _row(outcome["written"]) for outcome in outcomes]


def _row(written: Dict[str, Any]) -> List[Any]:
    """Return what became of one file of a batch: without the names of fields, which would be most of an answer, and
    the path, which the caller knows."""
    info = written["info"]
    return [
        info["size"], info["mode"], info["modified"], info["links"], info["revision"], info["sha256"],
        written["created"], written["previous"], written["unlinked"],
    ]  # fmt: skip


class _Pieces:
    """A stream of bytes, taken apart."""

    def __init__(self, body: Iterable[bytes], sha256: Optional[Callable[[], str]]) -> None:
        """``sha256`` tells, when all has come, what it is to hash to."""
        self._body = iter(body)
        self._sha256 = sha256
        self._rest = memoryview(b"")
        self._digest = hashlib.sha256()

    def take(self, size: int, path: str) -> bytes:
        """Return the next ``size`` bytes. Raises integrity where there are not as many."""
        taken = []
        while size:
            if not self._rest:
                chunk = next(self._body, None)
                if chunk is None:
                    raise GuestError("integrity", path, "bytes are missing")
                self._digest.update(chunk)
                self._rest = memoryview(chunk)
            taken.append(self._rest[:size])
            self._rest = self._rest[size:]
            size -= len(taken[-1])
        return b"".join(taken)

    def verify(self) -> None:
        """Raise integrity where something is left over, or the bytes are not those that were hashed."""
        if self._rest or any(self._body):
            raise GuestError("integrity", ".", "there are more bytes than files")
        if self._sha256 is not None and self._sha256() != self._digest.hexdigest():
            raise GuestError("integrity", ".", "the bytes that arrived are not the bytes that were sent")


def _mkdir(files: Files, request: Request) -> Any:
    return _room("tree").mkdir(files.root, **request.args)


def _delete(files: Files, request: Request) -> Any:
    return _room("tree").delete(files.root, job=request.job, **request.args)


def _move(files: Files, request: Request) -> Any:
    return _room("tree").move(files.root, job=request.job, **request.args)


def _chmod(files: Files, request: Request) -> Any:
    return _room("tree").chmod(files.root, job=request.job, **request.args)


def _copy(files: Files, request: Request) -> Any:
    return _room("copying").copy(files.root, job=request.job, **request.args)


def _find(files: Files, request: Request) -> Any:
    return files.worker().find(job=request.job, **request.args)


def _search(files: Files, request: Request) -> Any:
    return files.worker().search(job=request.job, **request.args)


def _watch(files: Files, request: Request) -> Any:
    return files.watcher().changes(job=request.job, **request.args)


def _archive(files: Files, request: Request) -> Answer:
    packed = _room("archive").Zip(files.root, job=request.job, **request.args)

    def final() -> Dict[str, Any]:
        return {"files": packed.files, "bytes": packed.bytes, "skipped": packed.skipped}

    return Answer(None, stream=(piece for piece in packed), final=final)


class Operation(NamedTuple):
    """``run`` blocks. ``now`` answers at once, from the kernel's caches, or raises WouldBlock. What ``waits`` for
    somebody (the sender or taker of a stream, the next change) must not take a thread from those that work."""

    run: Callable[[Files, Request], Any]
    now: Optional[Callable[[Files, Dict[str, Any]], Answer]] = None
    waits: bool = False


OPERATIONS = {
    "relative": Operation(_relative),
    "stat": Operation(_stat, _stat_now),
    "list": Operation(_list),
    "names": Operation(_names, _names_now),
    "read": Operation(_read, _read_now),
    "read_stream": Operation(_read_stream),
    "hash": Operation(_hash),
    "write": Operation(_write),
    "upload_begin": Operation(_upload_begin),
    "upload_add": Operation(_upload_add),
    "upload_extend": Operation(_upload_extend),
    "upload_size": Operation(_upload_size),
    "upload_finish": Operation(_upload_finish),
    "upload_abandon": Operation(_upload_abandon),
    "mkdir": Operation(_mkdir),
    "delete": Operation(_delete),
    "move": Operation(_move),
    "copy": Operation(_copy),
    "chmod": Operation(_chmod),
    "read_lines": Operation(_read_lines, _read_lines_now),
    "find": Operation(_find),
    "search": Operation(_search),
    "watch": Operation(_watch, waits=True),
    "archive": Operation(_archive, waits=True),
    "write_batch": Operation(_write_batch),
}


def error_fields(error: GuestError) -> Dict[str, Any]:
    """Return an error as JSON."""
    return {
        "code": error.code,
        "path": error.path,
        "detail": error.detail,
        "hint": error.hint,
        "data": error.data,
    }


def describe_process(root: Root) -> Dict[str, Any]:
    """Return what the guest tells of itself; ``free`` is in bytes."""
    return {
        "root": root.path,
        "uid": os.geteuid(),
        "pid": os.getpid(),
        "operations": sorted(OPERATIONS),
        "free": free_space(root),
    }
