"""What ``edit`` does: replacements made beside the file, or an editor on a copy of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from devbox_mcp.cli.boxes import Place, opened
from devbox_mcp.cli.failing import Failed, wrong_usage
from devbox_mcp.cli.locations import STDIO, Location
from devbox_mcp.cli.output import Output
from devbox_mcp.edits import Edit
from devbox_mcp.errors import NotFound

_KEYS = {"old_text": str, "new_text": str, "replace_all": bool}


def read_edits(pair: tuple[str, str] | None, *, everywhere: bool, file: str | None) -> list[Edit]:
    """Return the edits of ``--replace``, or of the JSON in a file or on stdin. Raises Failed."""
    if pair is not None:
        return [Edit(pair[0], pair[1], everywhere)]
    assert file is not None
    if everywhere:
        raise wrong_usage('--all belongs to --replace; in JSON write "replace_all": true')
    try:
        found = json.loads(sys.stdin.buffer.read() if file == STDIO else Path(file).read_bytes())
    except OSError as error:
        raise Failed("io_error", file, error.strerror or str(error)) from None
    except ValueError as error:
        raise wrong_usage(f"{file} is no JSON: {error}") from None
    if not isinstance(found, list) or not found or not all(_is_edit(item) for item in found):
        raise wrong_usage(f'{file} is no list of edits; write [{{"old_text": "…", "new_text": "…"}}]')
    return [Edit(item["old_text"], item["new_text"], item.get("replace_all", False)) for item in found]


def _is_edit(item: object) -> bool:
    return (
        isinstance(item, dict)
        and {"old_text", "new_text"} <= item.keys() <= _KEYS.keys()
        and all(isinstance(value, _KEYS[key]) for key, value in item.items())
    )


async def replace(
    location: Location, edits: Sequence[Edit], *, if_match: str | None, dry_run: bool, as_json: bool
) -> None:
    """Make edits, all or none, and print how the file changed. Raises Failed."""
    output = Output(as_json=as_json)
    async with opened([location], "edit") as (place,):
        sandbox = place.box.sandbox
        with place.box.telling():
            done = await sandbox.edit(place.path, edits, if_match=if_match, dry_run=dry_run)
    if as_json:
        output.record(
            {
                "path": done.path.shown(sandbox.name), "diff": done.diff, "replacements": done.replacements,
                "previous": done.previous, "sha256": None if done.written is None else done.written.info.sha256,
            }
        )  # fmt: skip
    else:
        _show_diff(output, done.diff)


async def in_editor(location: Location) -> None:
    """Let the user edit a copy, and write it back if the file is still the one that was copied. Raises Failed."""
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    if not command or shutil.which(command[0]) is None:
        name = command[0] if command else "$EDITOR"
        raise wrong_usage(f"there is no editor {name}; set EDITOR, or pass --replace OLD NEW")
    async with opened([location], "edit") as (place,):
        before = await _content(place)
        directory = Path(tempfile.mkdtemp(prefix="devbox-edit-"))
        copy = directory / os.path.basename(place.path.text)  # noqa: PTH119  the name tells the editor the language
        kept = False
        try:
            copy.write_bytes(before or b"")
            await _run(command, copy)
            after = copy.read_bytes() if copy.exists() else None
            if after is None or after == (before or b""):
                sys.stderr.write("nothing was changed\n")
                return
            kept = True
            await _write_back(place, before, after, copy)
            kept = False
        finally:
            if not kept:
                shutil.rmtree(directory, ignore_errors=True)


async def _content(place: Place) -> bytes | None:
    """Return what is in the file, None where there is none yet."""
    with place.box.telling(), suppress(NotFound):
        content = await place.box.sandbox.read_bytes(place.path)
        most = place.box.sandbox.limits.edit
        if content.info.size > most:
            await content.aclose()
            raise Failed("too_large", place.location.text, f"{content.info.size} bytes are too many for an editor")
        return await content.read()
    return None


async def _write_back(place: Place, before: bytes | None, after: bytes, copy: Path) -> None:
    try:
        with place.box.telling():
            if before is None:
                await place.box.sandbox.write(place.path, after, mode="create")
            else:
                version = hashlib.sha256(before).hexdigest()
                await place.box.sandbox.write(place.path, after, if_match=version)
    except Failed as failure:
        raise Failed(failure.code, failure.where, failure.detail, f"what you wrote is kept in {copy}") from failure
    sys.stderr.write(f"{place.location.text} was written, {len(after)} bytes\n")


async def _run(command: Sequence[str], file: Path) -> None:
    with _without_interrupts():
        process = await asyncio.create_subprocess_exec(*command, str(file))
        status = await process.wait()
    if status != 0:
        raise Failed("io_error", "", f"{command[0]} ended with status {status}", "nothing was changed")


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Leave Ctrl-C to the editor, which is in the same terminal."""

    def ignore(number: int, frame: FrameType | None) -> None:
        """Do nothing; unlike SIG_IGN this is not inherited."""

    before = signal.signal(signal.SIGINT, ignore)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _show_diff(output: Output, diff: str) -> None:
    for line in diff.removesuffix("\n").split("\n") if diff else ():
        style = "" if line.startswith(("+++", "---")) else {"+": "32", "-": "31", "@": "36"}.get(line[:1], "")
        output.line(output.name(line, style))
