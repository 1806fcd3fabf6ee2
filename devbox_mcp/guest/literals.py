"""What a regular expression needs: texts of which at least one has to be there, so that bytes without any of them can
be passed over, or a line break.

Always on the safe side: where it cannot tell, it names no text and nothing is passed over.
"""

import re
from typing import Any, Callable, Iterator, Optional, Pattern, Sequence, Tuple

try:
    from re import _parser as parser  # type: ignore[attr-defined]  # where sre_parse went, without a public name
except ImportError:  # before Python 3.11
    import sre_parse as parser

_MOST = 8  # each is looked for on its own
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})

#: What an ASCII letter matches beside its other case where case is ignored: long s, the i's, the Kelvin sign.
_FOLDED = tuple(character.encode("utf-8") for character in "\u017f\u0130\u0131\u212a")

#: Texts of which at least one has to be there, none of them empty.
_Texts = Tuple[bytes, ...]


def may_match(expression: Pattern[str]) -> Optional[Callable[[bytes], bool]]:
    """Return a quick test that is false only of UTF-8 text in which no line matches; None where there is none."""
    ignore_case = bool(expression.flags & re.IGNORECASE)
    try:
        texts = _needed(parser.parse(expression.pattern, expression.flags), ignore_case=ignore_case)
    except RecursionError:
        return None
    if texts is None:
        return None
    if ignore_case:
        return _in_any_case(texts)
    if len(texts) == 1:
        (text,) = texts
        return lambda content: text in content
    return lambda content: any(text in content for text in texts)


def needs_line_break(expression: Pattern[str]) -> bool:
    """Whether nothing matches that is within one line."""
    try:
        return _any_breaks(parser.parse(expression.pattern, expression.flags))
    except RecursionError:
        return False


def _any_breaks(parsed: Sequence[Tuple[Any, Any]]) -> bool:
    return any(_breaks(code.name, argument) for code, argument in parsed)


def _breaks(name: str, argument: Any) -> bool:
    if name == "LITERAL":
        return bool(argument == ord("\n"))
    if name == "BRANCH":
        return all(_any_breaks(branch) for branch in argument[1])
    if name in _REPEATS:
        return bool(argument[0]) and _any_breaks(argument[2])
    if name in ("SUBPATTERN", "ASSERT", "ATOMIC_GROUP"):
        return _any_breaks(argument if name == "ATOMIC_GROUP" else argument[-1])
    return False


def _in_any_case(texts: _Texts) -> Callable[[bytes], bool]:
    def test(content: bytes) -> bool:
        lowered = content.lower()
        if any(text in lowered for text in texts):
            return True
        return not content.isascii() and any(folded in content for folded in _FOLDED)

    return test


def _needed(parsed: Sequence[Tuple[Any, Any]], *, ignore_case: bool) -> Optional[_Texts]:
    """Return the best texts for a parsed sequence: the longest, and the fewest of them."""
    found = [texts for texts in _choices(parsed, ignore_case=ignore_case) if len(texts) <= _MOST]
    return max(found, key=lambda texts: (min(map(len, texts)), -len(texts)), default=None)


def _choices(parsed: Sequence[Tuple[Any, Any]], *, ignore_case: bool) -> Iterator[_Texts]:
    """Yield the texts that each item of the sequence needs; all items have to match."""
    run = b""
    for code, argument in parsed:
        literal = _encode(argument, ignore_case=ignore_case) if code.name == "LITERAL" else b""
        run += literal
        if not literal:
            if run:
                yield (run,)
            run = b""
            texts = _of_item(code.name, argument, ignore_case=ignore_case)
            if texts is not None:
                yield texts
    if run:
        yield (run,)


def _of_item(name: str, argument: Any, *, ignore_case: bool) -> Optional[_Texts]:
    """Return the texts that an item other than a character needs."""
    if name == "SUBPATTERN":
        _, added, removed, inner = argument
        return None if (added | removed) & re.IGNORECASE else _needed(inner, ignore_case=ignore_case)
    if name in _REPEATS:
        least, _, inner = argument
        return _needed(inner, ignore_case=ignore_case) if least else None
    if name == "BRANCH":
        texts: _Texts = ()
        for branch in argument[1]:
            needed = _needed(branch, ignore_case=ignore_case)
            if needed is None:
                return None
            texts += needed
        return texts
    return None


def _encode(character: int, *, ignore_case: bool) -> bytes:
    """Return a character as it stands in a file; nothing where it may stand there in other ways, or not at all."""
    if ignore_case:
        return bytes([character]).lower() if character < 128 else b""
    try:
        return chr(character).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b""
