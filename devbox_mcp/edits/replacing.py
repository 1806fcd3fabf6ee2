"""Edits on a file's bytes: what they do not name stays as it is, byte by byte."""

from __future__ import annotations

import codecs
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice, pairwise

from devbox_mcp.edits import closest
from devbox_mcp.errors import EditMismatch, InvalidArgument, TooLarge, Unsupported

_OP = "edit"
#: Far above any limit on files: only keeps a replace_all from multiplying without end. In characters.
_LONGEST_RESULT = 1 << 28
_MOST_COUNTED = 1000
_MOST_LINES_NAMED = 10
#: Shorter texts stand in many files anyway: no sign that the edit was made before.
_SHORTEST_SIGN = 8


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace ``old_text``, which occurs once, or with ``replace_all`` wherever it occurs, by ``new_text``."""

    old_text: str
    new_text: str
    replace_all: bool = False


@dataclass(frozen=True, slots=True)
class Edited:
    """The new content, and how many places were replaced."""

    data: bytes
    replacements: int


def apply(data: bytes, edits: Sequence[Edit], path: str) -> Edited:
    """Return the content after all edits, made one after the other.

    An LF in ``old_text`` matches a CRLF too, and new text takes the line ending of the file (where it has both, of
    the place). An empty ``old_text`` is for an empty file. Raises EditMismatch for an ``old_text`` that is not there,
    or not once; InvalidArgument for an edit that changes nothing; Unsupported for what is not UTF-8; TooLarge.
    """
    if not edits:
        raise InvalidArgument(_OP, path, "there are no edits")
    mark, text = _decode(data, path)
    original, ending = text, _dominant_ending(text)
    replacements = 0
    for number, edit in enumerate(edits, 1):
        text, count = _Step(path, edit, f"edit {number} of {len(edits)}", ending, original).apply(text)
        replacements += count
        ending = ending or _dominant_ending(text)
    try:
        return Edited(mark + text.encode(), replacements)
    except UnicodeEncodeError:
        raise InvalidArgument(_OP, path, "new_text holds a lone surrogate, which UTF-8 has no bytes for") from None


def _decode(data: bytes, path: str) -> tuple[bytes, str]:
    """Return the byte order mark, or nothing, and the text behind it."""
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    try:
        return mark, data[len(mark) :].decode()
    except UnicodeDecodeError:
        utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        raise Unsupported(
            _OP,
            path,
            f"the file is {'UTF-16' if utf16 else 'not UTF-8'} text",
            hint="convert it to UTF-8 first, or write it whole with write_file and encoding=base64",
        ) from None


def _dominant_ending(text: str) -> str | None:
    """Return the line ending that most lines have, LF if in doubt; None where there is none."""
    breaks, pairs = text.count("\n"), text.count("\r\n")
    if not breaks:
        return None
    return "\r\n" if 2 * pairs > breaks else "\n"


def _with_ending(text: str, ending: str | None) -> str:
    return text if ending is None else text.replace("\r\n", "\n").replace("\n", ending)


class _Places:
    """Where ``old`` stands in a text: an LF in it also where the text has CRLF, a CR only where the text has one.

    Found by plain search, in linear time. In a text of both endings an LF takes a detour: what is searched is a copy
    with LF alone, from which offsets are led back.
    """

    def __init__(self, text: str, old: str) -> None:
        breaks, pairs = text.count("\n"), text.count("\r\n")
        self._mixed = 0 < pairs < breaks
        self.old = _with_ending(old, "\r\n") if 0 < pairs == breaks else old
        self._text = text
        self._detour = self._mixed and "\n" in old and "\r" not in old
        self._searched = text.replace("\r\n", "\n") if self._detour else text

    def alike(self, new: str) -> bool:
        """Whether every place takes the same new text, and stands in the text as ``old``."""
        return not self._mixed or not (self._detour or "\n" in new)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield start and end of each place in the text; one that overlaps the place before is left out."""
        for start in self._starts(len(self.old)):
            end = start + len(self.old)
            yield (self._led_back(start), self._led_back(end)) if self._detour else (start, end)

    def count(self) -> int:
        """Return how many places there are, without overlaps."""
        return self._searched.count(self.old)

    def lines(self) -> Iterator[int]:
        """Yield the number of the line that each place begins in, overlapping ones too, up to a limit."""
        line = 1
        for before, start in pairwise((0, *islice(self._starts(1), _MOST_COUNTED + 1))):
            line += self._searched.count("\n", before, start)
            yield line

    def _starts(self, step: int) -> Iterator[int]:
        start = self._searched.find(self.old)
        while start >= 0:
            yield start
            start = self._searched.find(self.old, start + step)

    def _led_back(self, offset: int) -> int:
        return offset + bisect_right(self._behind_pairs, offset)

    @cached_property
    def _behind_pairs(self) -> list[int]:
        """The offsets in the copy right behind each line ending that lost its CR."""
        return list(accumulate(len(piece) + 1 for piece in self._text.split("\r\n")))


@dataclass(frozen=True, slots=True)
class _Step:
    """One edit of a call, which ``name`` tells; ``ending`` is the file's, ``original`` its text before the call."""

    path: str
    edit: Edit
    name: str
    ending: str | None
    original: str

    def apply(self, text: str) -> tuple[str, int]:
        """Return the text with this edit made, and in how many places."""
        old, new = self.edit.old_text, self.edit.new_text
        if old == new:
            raise self._invalid("old_text and new_text are the same", "new_text is what is to stand there instead")
        if not old and text:
            raise self._invalid("old_text is empty", "to add text, put a line beside it in old_text and new_text")
        if not old:
            return _with_ending(new, self.ending), 1
        places = _Places(text, old)
        lines = list(places.lines())
        if not lines:
            raise self._not_found(text)
        if len(lines) > 1 and not self.edit.replace_all:
            raise self._ambiguous(lines)
        count = places.count()
        if len(text) + count * len(new) > _LONGEST_RESULT:
            raise TooLarge(
                _OP, self.path, f"{self.name}: the result would be over {_LONGEST_RESULT} characters", hint="edit less"
            )
        if places.alike(new):
            changed = text.replace(places.old, _with_ending(new, self.ending))
        else:
            changed = self._replace_each(text, places)
        if changed == text:
            raise self._invalid(
                "it changes nothing, for new text takes the line ending of the file",
                "to change line endings, write the whole file",
            )
        return changed, count

    def _replace_each(self, text: str, places: _Places) -> str:
        """Replace place by place: new text takes the first line ending in or behind it."""
        new = {ending: _with_ending(self.edit.new_text, ending) for ending in ("\n", "\r\n", self.ending)}
        pieces: list[str] = []
        done, at = 0, -1
        for start, end in places:
            if at < start:
                at = text.find("\n", start)
                at = len(text) if at < 0 else at
            ending = self.ending if at == len(text) else "\r\n" if text[at - 1 : at] == "\r" else "\n"
            pieces += (text[done:start], new[ending])
            done = end
        return "".join((*pieces, text[done:]))

    def _invalid(self, detail: str, hint: str) -> InvalidArgument:
        return InvalidArgument(_OP, self.path, f"{self.name}: {detail}", hint=hint)

    def _ambiguous(self, lines: list[int]) -> EditMismatch:
        count = f"more than {_MOST_COUNTED}" if len(lines) > _MOST_COUNTED else str(len(lines))
        different = list(dict.fromkeys(lines))
        named = ", ".join(map(str, different[:_MOST_LINES_NAMED]))
        more = ", …" if len(different) > _MOST_LINES_NAMED else ""
        return EditMismatch(
            _OP,
            self.path,
            f"{self.name}: old_text occurs {count} times, on line{'s' * (len(different) > 1)} {named}{more}",
            hint="add lines around it until it occurs once, or pass replace_all=true to replace every one",
            count=len(lines),
            lines=different[:_MOST_LINES_NAMED],
        )

    def _not_found(self, text: str) -> EditMismatch:
        old, new = self.edit.old_text, self.edit.new_text
        if text is not self.original and next(iter(_Places(self.original, old)), None) is not None:
            detail = "old_text is not there any more, for an edit before it in this call changed it"
            return EditMismatch(_OP, self.path, f"{self.name}: {detail}", hint="give what the edits before it leave")
        if len(new.strip()) >= _SHORTEST_SIGN:
            lines = list(_Places(text, new).lines())
            if len(lines) == 1:
                detail = f"old_text is not in the file, but new_text is, on line {lines[0]}"
                return EditMismatch(
                    _OP, self.path, f"{self.name}: {detail}", hint="if this edit was made before, leave it out"
                )
        found = closest.find(text, old)
        if found is None:
            return EditMismatch(
                _OP, self.path, f"{self.name}: old_text is not in the file, nor anything like it",
                hint="read the file, and copy old_text from what it says",
            )  # fmt: skip
        return EditMismatch(
            _OP,
            self.path,
            f"{self.name}: old_text is not in the file; {found.reason}",
            hint=f"copy old_text from what stands there (number TAB text):\n{found.shown()}",
            lines=[found.first, found.first + len(found.lines) - 1],
        )
