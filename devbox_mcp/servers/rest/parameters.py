"""What stands behind the question mark: each parameter is told once, for the parser and for the description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

from devbox_mcp.errors import InvalidArgument

T_co = TypeVar("T_co", covariant=True)

_MOST_FIELDS = 10_000

Query = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T_co]):
    """A parameter of a query by name, and what it is without being given."""

    name: str
    description: str
    default: T_co
    required: bool = False

    def of(self, query: Query, op: str) -> T_co:
        """Return its value. Raises InvalidArgument."""
        given = query.get(self.name)
        if given is None:
            if self.required:
                raise InvalidArgument(op, ".", f"the parameter {self.name} is missing")
            return self.default
        if len(given) > 1:
            raise InvalidArgument(op, ".", f"the parameter {self.name} is given more than once")
        return self.read(given[0], op)

    def read(self, text: str, op: str) -> T_co:
        """Return what a text means."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """Describe its values as JSON schema."""
        raise NotImplementedError

    def described(self) -> dict[str, Any]:
        """Describe it as OpenAPI has it."""
        schema = self.schema()
        if self.default not in (None, ()):
            schema["default"] = self.default
        return {
            "name": self.name,
            "in": "query",
            "required": self.required,
            "description": self.description,
            "schema": schema,
        }


class Text(Parameter[T_co]):
    """Any text. Bytes that are not UTF-8 are kept as surrogate escapes, as in paths."""

    __slots__ = ()

    def read(self, text: str, op: str) -> T_co:
        return text  # type: ignore[return-value]  # T_co is str, or str | None where it may be left out

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


class Flag(Parameter[T_co]):
    """``true`` or ``false``."""

    __slots__ = ()

    def read(self, text: str, op: str) -> T_co:
        value = {"true": True, "1": True, "false": False, "0": False}.get(text.lower())
        if value is None:
            raise InvalidArgument(op, ".", f"{self.name} is true or false")
        return value  # type: ignore[return-value]  # T_co is bool, or bool | None

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Number(Parameter[T_co]):
    """A whole number; ``low`` and ``high`` are told, and checked where the operation does not."""

    low: int | None = None
    high: int | None = None

    def read(self, text: str, op: str) -> T_co:
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 15):
            raise InvalidArgument(op, ".", f"{self.name} is not a whole number")
        value = int(text)
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            above = f"at least {self.low}" if self.high is None else f"from {self.low} to {self.high}"
            raise InvalidArgument(op, ".", f"{self.name} is {value}, but {above}")
        return value  # type: ignore[return-value]  # T_co is int, or int | None

    def schema(self) -> dict[str, Any]:
        bounds = {"minimum": self.low, "maximum": self.high}
        return {"type": "integer", **{name: bound for name, bound in bounds.items() if bound is not None}}


@dataclass(frozen=True, slots=True)
class Seconds(Parameter[float]):
    """A time span."""

    high: float = 60.0

    def read(self, text: str, op: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= self.high:
            raise InvalidArgument(op, ".", f"{self.name} is a number of seconds from 0 to {self.high:g}")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "number", "minimum": 0, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Choice(Parameter[T_co]):
    """One of several words."""

    words: tuple[str, ...] = ()

    def read(self, text: str, op: str) -> T_co:
        if text not in self.words:
            raise InvalidArgument(op, ".", f"{self.name} is one of {', '.join(self.words)}")
        return text  # type: ignore[return-value]  # T_co is a literal of the words

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.words)}


class Several(Parameter[tuple[str, ...]]):
    """A text that may be given many times."""

    __slots__ = ()

    def of(self, query: Query, op: str) -> tuple[str, ...]:
        given = query.get(self.name)
        if given is None and self.required:
            raise InvalidArgument(op, ".", f"the parameter {self.name} is missing")
        return self.default if given is None else tuple(given)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string"}}


def parse(query: bytes, known: Sequence[Parameter[Any]], op: str) -> Query:
    """Return a query's values by name. Raises InvalidArgument for a parameter that is not known, so that a typing
    error in one that makes a difference is not passed over."""
    if not query:
        return {}
    try:
        fields = parse_qsl(
            query.decode("utf-8", "surrogateescape"),
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise InvalidArgument(op, ".", f"there are more than {_MOST_FIELDS} parameters") from None
    names = {parameter.name for parameter in known}
    found: dict[str, list[str]] = {}
    for name, value in fields:
        if name not in names:
            told = ", ".join(sorted(names)) or "none"
            raise InvalidArgument(op, ".", f"there is no parameter {name[:60]!r} here", hint=f"there are: {told}")
        found.setdefault(name, []).append(value)
    return found
