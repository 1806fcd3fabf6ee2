"""Exact replacements in a text, and differences as people read them. Pure: bytes in, bytes out."""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from devbox_mcp.errors import EditMismatch, InvalidArgument, Unsupported

_MOST_PLACES = 10
_MOST_SHOWN_LINES = 12
_MOST_COMPARED = 20_000  # lines of a file that are compared to find the closest place
_LONGEST_SHOWN = 200
_NUMBERED = re.compile(r"^ *\d+\t", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace ``old_text``, which has to occur once, or with ``replace_all`` at least once."""

    old_text: str
    new_text: str
    replace_all: bool = False


@dataclass(frozen=True, slots=True)
class Edited:
    """The new content, and how many places were replaced."""

    data: bytes
    replacements: int


def apply(data: bytes, edits: Sequence[Edit], path: str) -> Edited:
    """Make the edits in order, each on what the one before left; all or none.

    A line break in ``old_text`` matches LF and CRLF alike; line breaks of ``new_text`` become those of the place
    that is replaced, or else the file's usual ones. Everything else, a byte order mark too, stays byte for byte.

    Raises Unsupported for what is not UTF-8, EditMismatch for a text that is not there or not once, InvalidArgument
    for an edit that says nothing. ``path`` is for the errors.
    """
    mark, text = _decode(data, path)
    usual = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
    replacements = 0
    for number, edit in enumerate(edits, 1):
        which = f"edit {number} of {len(edits)}: " if len(edits) > 1 else ""
        text, count = _replace(text, edit, usual, path, which)
        replacements += count
    return Edited(mark + text.encode("utf-8"), replacements)


def _decode(data: bytes, path: str) -> tuple[bytes, str]:
    """Return the byte order mark, if there is one, and the text behind it."""
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    try:
        return mark, data[len(mark) :].decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unsupported(
            "edit",
            path,
            f"this is not UTF-8 text: byte {error.start + len(mark)} is not",
            hint="read it with encoding=base64 and write it whole",
        ) from None


def _replace(text: str, edit: Edit, usual: str, path: str, which: str) -> tuple[str, int]:
    if edit.old_text == edit.new_text:
        raise InvalidArgument("edit", path, f"{which}old_text and new_text are the same")
    if not edit.old_text:
        if text:
            raise InvalidArgument(
                "edit", path, f"{which}old_text is empty", hint="name the text to replace, or use write_file"
            )
        return _with_breaks(edit.new_text, usual), 1
    places = list(_places(text, edit.old_text))
    if not places:
        reason, hint = _not_found(text, edit.old_text)
        raise EditMismatch("edit", path, which + reason, hint=hint)
    if len(places) > 1 and not edit.replace_all:
        raise EditMismatch(
            "edit",
            path,
            f"{which}old_text occurs {len(places)} times, in lines {_line_numbers(text, places)}",
            hint="add lines around it so that it occurs once, or pass replace_all",
        )
    pieces, end = [], 0
    for start, stop in places:
        replaced = text[start:stop]
        breaks = usual if "\n" not in replaced else "\r\n" if "\r\n" in replaced else "\n"
        pieces += [text[end:start], _with_breaks(edit.new_text, breaks)]
        end = stop
    return "".join([*pieces, text[end:]]), len(places)


def _places(text: str, old: str) -> Iterator[tuple[int, int]]:
    """Yield where ``old`` is, without overlaps; its line breaks match either kind."""
    lines = old.replace("\r\n", "\n").split("\n")
    pattern = r"\r?\n".join(re.escape(line) for line in lines)
    for match in re.finditer(pattern, text):
        yield match.span()


def _with_breaks(text: str, breaks: str) -> str:
    text = text.replace("\r\n", "\n")
    return text if breaks == "\n" else text.replace("\n", breaks)


def _line_numbers(text: str, places: Sequence[tuple[int, int]]) -> str:
    numbers, line, position = [], 1, 0
    for start, _ in places[:_MOST_PLACES]:
        line += text.count("\n", position, start)
        position = start
        numbers.append(str(line))
    return ", ".join(numbers) + (", …" if len(places) > _MOST_PLACES else "")


def _not_found(text: str, old: str) -> tuple[str, str]:
    """Say why a text is not there, if that can be told, and what comes closest."""
    lines = text.split("\n")[:_MOST_COMPARED]
    bare = _NUMBERED.sub("", old)
    if bare != old and bare.strip() and next(_places(text, bare), None) is not None:
        return "old_text is not there with its line numbers", "leave the numbers in front of the lines out"
    wanted = [line.strip() for line in old.strip("\r\n").split("\n")]
    stripped = [line.strip() for line in lines]
    for start in range(len(stripped) - len(wanted) + 1):
        if stripped[start] == wanted[0] and stripped[start : start + len(wanted)] == wanted and any(wanted):
            shown = _shown(lines, start, len(wanted))
            return "old_text is not there exactly", f"its white space differs from these lines:\n{shown}"
    closest = _closest(stripped, wanted)
    if closest is None:
        return "old_text is not there, nor anything like it", "read the file again"
    return "old_text is not there", f"the closest place is:\n{_shown(lines, closest, len(wanted))}"


def _closest(lines: Sequence[str], wanted: Sequence[str]) -> int | None:
    """Return the index of the line where a similar passage begins, None if there is none.

    The most telling line of what is wanted (its longest) is looked for; the passage around it counts.
    """
    offset, telling = max(enumerate(wanted), key=lambda item: len(item[1]))
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(telling[:_LONGEST_SHOWN])
    best, found = 0.6, None
    for index, line in enumerate(lines):
        matcher.set_seq1(line[:_LONGEST_SHOWN])
        if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best:
            ratio = matcher.ratio()
            if ratio > best:
                best, found = ratio, index
    return None if found is None else max(0, found - offset)


def _shown(lines: Sequence[str], start: int, count: int) -> str:
    """Return lines with their numbers, as read_file shows them."""
    stop = min(start + count, start + _MOST_SHOWN_LINES)
    return "\n".join(
        f"{number}\t{line.rstrip(chr(13))[:_LONGEST_SHOWN]}" for number, line in enumerate(lines[start:stop], start + 1)
    )


def unified_diff(old: bytes, new: bytes, path: str, context: int = 3, max_lines: int = 2000) -> str:
    r"""Return the unified diff of two texts, with ``a/`` and ``b/`` before the path, empty if they are the same.

    A CR at the end of a line is shown as ``\r`` where the line breaks themselves changed; a missing last line break
    is said as git says it. Beyond ``max_lines`` the rest is counted.
    """
    before, after = _lines(old), _lines(new)
    if all(line.endswith("\r\n") for line in (*before[:-1], *after[:-1])):
        before, after = [_bare(line) for line in before], [_bare(line) for line in after]
    shown: list[str] = []
    for line in difflib.unified_diff(before, after, f"a/{path}", f"b/{path}", n=context, lineterm="\n"):
        ending = "" if line.endswith("\n") else "\n\\ No newline at end of file"
        shown.append(line.removesuffix("\n").replace("\r", "\\r") + ending)
    if len(shown) > max_lines:
        shown[max_lines:] = [f"… {len(shown) - max_lines} more lines of diff"]
    return "\n".join(shown)


def _lines(data: bytes) -> list[str]:
    """Split at LF only, endings kept; what is not UTF-8 is shown as replacement characters."""
    text = data.decode("utf-8", errors="replace")
    return [line for line in re.split(r"(?<=\n)", text) if line]


def _bare(line: str) -> str:
    return line[:-2] + "\n" if line.endswith("\r\n") else line
