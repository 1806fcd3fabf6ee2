"""Many small files in one call: those of one directory travel as one tar archive and are put in place together.

The archive is unpacked into a hidden directory beside the places, flushed once, checked by one run of the hash tool,
and renamed into place under the directory's lock, so that no process is started for a single file. Names are in the
archive's headers as they are to be, where they are plain enough that every tar takes them as they are.

Everything else is written one by one, as ``write_each`` does: files with ``if_match`` or ``executable=False``, large
ones, odd names, fewer than a few in a directory; targets that have several hard links, special modes or another owner
who must be kept, or that are to become executable; directories of which the archive could not be unpacked, for want of
``tar`` or of space: so every file gets the error that a single write gets. Where a link leads to a file, or two paths
to the same, the order counts, and all of it is written one by one. If the connection breaks while files are put in
place, it is not known for any file of that directory whether it was.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial

import anyio

from devbox_mcp.backends.shell.asking import Asker, to_the_end, told_as
from devbox_mcp.backends.shell.places import Way
from devbox_mcp.backends.shell.records import Malformed, Stat, parse_stat
from devbox_mcp.backends.shell.session import Answer, Lost
from devbox_mcp.backends.shell.uploads import Uploads, hidden_name
from devbox_mcp.errors import DevboxError, NotFound, Unavailable, Unsupported, from_code
from devbox_mcp.guest.errors import GuestError
from devbox_mcp.guest.names import join
from devbox_mcp.guest.policy import Policy
from devbox_mcp.models import BatchItem, BatchOutcome, Written
from devbox_mcp.paths import SandboxPath

#: Files in a directory that are worth the archive: its price is about that of so many single writes.
_FEWEST = 8
_MOST = 1000
_MOST_BYTES = 4 << 20  # of contents in one archive, which the container holds in memory once
_LARGEST = 1 << 20
_NAMES_AT_ONCE = 100
#: A name that fits a header of the oldest format behind its directory, and that no tool writes in another way.
_PLAIN = re.compile(rb"(?!\.\.)[^\x00-\x1f\x7f\\/]{1,90}")

WriteEach = Callable[[Sequence[BatchItem]], Awaitable[Sequence[BatchOutcome]]]


class Batches:
    """Writes batches; ``write_each`` writes files one by one."""

    def __init__(self, asker: Asker, uploads: Uploads, policy: Policy, write_each: WriteEach) -> None:
        self._asker = asker
        self._uploads = uploads
        self._policy = policy
        self._write_each = write_each
        self._no_tar = False

    async def write(self, items: Sequence[BatchItem]) -> list[BatchOutcome]:
        """Write the files; a later one with the same path wins."""
        outcomes: list[BatchOutcome] = []
        for part in _parts(items):
            gone = _gone(outcomes)
            if gone is not None:
                outcomes += _unavailable(part, gone)
            elif self._no_tar or self._policy.read_only:
                outcomes += await self._write_each(part)
            else:
                work = _Part(self._asker, self._uploads, self._policy, part)
                await work.run()
                self._no_tar = work.no_tar
                rest = [item for item in part if item.path.text not in work.outcomes]
                gone = _gone(work.outcomes.values())
                for outcome in _unavailable(rest, gone) if gone is not None else await self._write_each(rest):
                    work.outcomes[outcome.path.text] = outcome
                outcomes += [work.outcomes[item.path.text] for item in part]
        return outcomes


class _Part:
    """Files of different paths. ``outcomes`` has those that were written together; ``no_tar`` tells that none can."""

    def __init__(self, asker: Asker, uploads: Uploads, policy: Policy, items: Sequence[BatchItem]) -> None:
        self._asker = asker
        self._uploads = uploads
        self._policy = policy
        self._items = items
        self.outcomes: dict[str, BatchOutcome] = {}
        self.no_tar = False

    async def run(self) -> None:
        """Write what can be written together."""
        for way, items in (await self._directories()).values():
            if len(items) >= _FEWEST:
                await to_the_end(self._write_directory(way, items))
                await self._uploads.sweep(way.text)
            if self.no_tar or _gone(self.outcomes.values()) is not None:
                return

    async def _directories(self) -> dict[str, tuple[Way, list[BatchItem]]]:
        """Return where the files go that can go together, by directory; nothing where the order counts."""
        by_text: dict[str, list[BatchItem]] = {}
        for item in self._items:
            if not item.path.is_root:
                by_text.setdefault(item.path.text.rpartition("/")[0] or ".", []).append(item)
        found: dict[str, tuple[Way, list[BatchItem]]] = {}
        places: set[str] = set()
        for text, items in by_text.items():
            try:
                way = Way(SandboxPath(text), self._policy, "write")
                has_link = await self._has_link(way, [item.path.name for item in items])
            except (Lost, Malformed, Unavailable):
                return {}
            except (DevboxError, GuestError):
                continue  # each of them gets an error of its own
            at = [join(way.text, item.path.name) for item in items]
            if has_link or not places.isdisjoint(at):
                return {}
            places.update(at)
            plain = [item for item, place in zip(items, at, strict=True) if self._is_plain(item, place)]
            found.setdefault(way.text, (way, []))[1].extend(plain)
        return found

    async def _has_link(self, way: Way, names: Sequence[str]) -> bool:
        """Follow the way to a directory; return whether any of the names in it is a link."""
        for start in range(0, len(names), _NAMES_AT_ONCE):
            look = partial(self._look, way, names[start : start + _NAMES_AT_ONCE])
            try:
                answer = await self._asker.follow([way], look)
            except NotFound:
                return False
            if answer.words[:1] != ["none"]:
                return True
        return False

    async def _look(self, way: Way, names: Sequence[str]) -> Answer:
        return await self._asker.ask("links", [way.text, *names])

    def _is_plain(self, item: BatchItem, place: str) -> bool:
        return (
            item.if_match is None
            and item.executable is not False
            and len(item.data) <= _LARGEST
            and _PLAIN.fullmatch(os.fsencode(item.path.name)) is not None
            and not self._policy.denies(place)
        )

    async def _write_directory(self, way: Way, items: Sequence[BatchItem]) -> None:
        """Write what can be written together."""
        hashes = {item.path.text: hashlib.sha256(item.data).hexdigest() for item in items}
        stage = hidden_name("part")
        try:
            made = await self._stage(way, stage, items, hashes)
        except (Lost, Malformed, DevboxError) as error:
            self.no_tar = isinstance(error, Unsupported)
            await self._asker.discard(way.text, stage)
            return
        try:
            with told_as("write", way.text, changes=True):
                answer = await self._asker.ask("land", [way.text, stage, *made], changes=True, slow=True)
                if answer.status != "ok":
                    raise Malformed("a link has taken a directory's place")
                landed = _landed(answer.data)
        except DevboxError as error:
            await self._asker.discard(way.text, stage, *made)
            for item in items:
                again = from_code(error.code, "write", item.path.text, error.detail, error.hint, {})
                self.outcomes[item.path.text] = BatchOutcome(item.path, None, again)
            return
        for item in items:
            found = landed.get(os.fsencode(item.path.name))
            if found is not None:
                info = found[1].info(item.path, sha256=hashes[item.path.text])
                self.outcomes[item.path.text] = BatchOutcome(item.path, Written(info, found[0]))

    async def _stage(self, way: Way, stage: str, items: Sequence[BatchItem], hashes: dict[str, str]) -> tuple[str, str]:
        """Unpack them; return whether parents were made, and how many were there. Raises Malformed where what arrived
        is not what was sent."""
        body = await anyio.to_thread.run_sync(_archive, items)
        answer = await self._asker.ask("stage", [way.text, stage], body, changes=True, slow=True)
        lines = answer.data.split(b"\n")
        arrived = {line[66:]: line[:64].decode("ascii", "replace") for line in lines}
        if answer.status != "ok" or arrived != {os.fsencode(_member(i)): hashes[i.path.text] for i in items}:
            raise Malformed("the archive that arrived is not the one that was sent")
        return "made" if "made" in answer.words[1:] else "", str(answer.number(0))


def _parts(items: Sequence[BatchItem]) -> Iterator[list[BatchItem]]:
    """Yield the items in parts that are not too large and hold no path twice."""
    part: list[BatchItem] = []
    paths: set[str] = set()
    size = 0
    for item in items:
        small = len(item.data) if len(item.data) <= _LARGEST else 0
        if part and (len(part) >= _MOST or size + small > _MOST_BYTES or item.path.text in paths):
            yield part
            part, paths, size = [], set(), 0
        part.append(item)
        paths.add(item.path.text)
        size += small
    if part:
        yield part


def _gone(outcomes: Iterable[BatchOutcome]) -> Unavailable | None:
    return next((outcome.error for outcome in outcomes if isinstance(outcome.error, Unavailable)), None)


def _unavailable(items: Sequence[BatchItem], gone: DevboxError) -> list[BatchOutcome]:
    return [
        BatchOutcome(item.path, None, Unavailable("write", item.path.text, gone.detail, hint=gone.hint))
        for item in items
    ]


def _member(item: BatchItem) -> str:
    return f"{'run' if item.executable else 'new'}/{item.path.name}"


def _archive(items: Sequence[BatchItem]) -> bytes:
    """Pack the files, readable by their owner alone."""
    packed = io.BytesIO()
    now = int(time.time())
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT, encoding="utf-8") as archive:
        for item in items:
            member = tarfile.TarInfo(_member(item))
            member.size, member.mode, member.mtime = len(item.data), 0o600, now
            archive.addfile(member, io.BytesIO(item.data))
    return packed.getvalue()


def _landed(data: bytes) -> dict[bytes, tuple[bool, Stat]]:
    """Return of every name that was put in place whether it is new, and its stat. Raises Malformed."""
    landed: dict[bytes, tuple[bool, Stat]] = {}
    for line in data.split(b"\n") if data else []:
        words, slash, name = line.partition(b"/./")
        created, *stat = words.decode("ascii", "replace").split(" ")
        if not slash:
            raise Malformed(repr(line))
        if created == "-":
            landed.pop(name, None)
        else:
            landed[name] = created == "1", parse_stat(stat)
    return landed
