"""The description as a page for people: plain HTML that needs nothing from anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --soft: #8884 }
body { font: 16px/1.55 system-ui, sans-serif; margin: 0; display: grid; grid-template-columns: 17rem 1fr }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 1.2rem; box-sizing: border-box;
  border-right: 1px solid var(--soft); font-size: .86rem }
nav a { display: block; text-decoration: none; color: inherit; padding: .1rem 0 }
nav a:hover { text-decoration: underline }
nav b { display: block; margin-top: .9rem }
nav b, h2 { text-transform: capitalize }
main { padding: 1.5rem 2.5rem 5rem; max-width: 54rem }
h1 { margin-top: 0 }
h2 { margin-top: 3rem }
section { border: 1px solid var(--soft); border-radius: .6rem; padding: 1rem 1.2rem; margin: 1rem 0 }
section h3 { margin: 0 0 .4rem; font-size: 1rem }
code, pre { font: .86em ui-monospace, monospace }
pre { background: #8882; padding: .7rem .9rem; border-radius: .4rem; overflow: auto }
.path { overflow-wrap: anywhere }
.verb { color: #fff; border-radius: .3rem; padding: .1rem .45rem; margin-right: .5rem; font-size: .8em }
.verb { background: #666 }
.get { background: #2563eb }
.post { background: #15803d }
.put, .patch { background: #b45309 }
.delete { background: #b91c1c }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
td, th { text-align: left; vertical-align: top; padding: .3rem .7rem .3rem 0; border-top: 1px solid var(--soft) }
th { white-space: nowrap }
details { margin-top: .6rem }
summary { cursor: pointer }
@media (max-width: 48rem) {
  body { display: block }
  nav { position: static; height: auto; border: 0 }
  main { padding: 1rem }
}
"""
_CODE = re.compile(r"`([^`]*)`")


def page(document: Mapping[str, Any]) -> str:
    """Return the page of an OpenAPI document."""
    title = escape(document["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title} HTTP API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<nav><strong>{title}</strong> {escape(document['info']['version'])}"
        f"{''.join(_navigation(document))}</nav><main>{''.join(_body(document))}</main></html>"
    )


def _operations(document: Mapping[str, Any], topic: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if topic in operation["tags"]:
                yield method, path, operation


def _navigation(document: Mapping[str, Any]) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<b>{escape(tag['name'])}</b>"
        for _, _, operation in _operations(document, tag["name"]):
            yield f'<a href="#{operation["operationId"]}">{escape(operation["summary"])}</a>'
    yield '<b>More</b><a href="#schemas">Shapes</a><a href="/openapi.json">OpenAPI document</a>'


def _body(document: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h1>HTTP API</h1><p>{_prose(document['info']['description'])}</p>"
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2>"
        for method, path, operation in _operations(document, tag["name"]):
            yield from _section(method, path, operation)
    yield '<h2 id="schemas">Shapes</h2>'
    for name, schema in document["components"]["schemas"].items():
        yield f'<section id="schema-{escape(name)}"><h3>{escape(name)}</h3>'
        yield f"<p>{_prose(schema.get('description', ''))}</p>{_table(_fields(schema))}</section>"


def _section(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f'<section id="{operation["operationId"]}"><h3><span class="verb {method}">{method.upper()}</span>'
    yield f'<code class="path">{escape(path)}</code></h3><p><strong>{escape(operation["summary"])}.</strong> '
    yield f"{_prose(operation['description'])}</p>"
    rows = [
        (parameter["name"], parameter["in"], _kind(parameter["schema"]), parameter["description"])
        for parameter in operation["parameters"]
        if parameter["in"] != "path"
    ]
    yield _table(rows)
    body = operation.get("requestBody")
    if body is not None:
        yield f"<p><strong>Body</strong>: {_prose(body['description'])} {_types(body['content'])}</p>"
        yield from _examples(body["content"])
    good = [(status, answer) for status, answer in operation["responses"].items() if status < "400"]
    yield _table([(status, _prose_of(answer)) for status, answer in good])
    bad = [(status, _prose_of(answer)) for status, answer in operation["responses"].items() if status >= "400"]
    yield f"<details><summary>Errors</summary>{_table(bad)}</details></section>"


def _prose_of(answer: Mapping[str, Any]) -> str:
    """Return what an answer is, with what it carries."""
    content = answer.get("content", {})
    headers = ", ".join(f"`{name}`" for name in answer.get("headers", {}))
    shapes = "" if "application/problem+json" in content else _types(content)
    return f"{answer['description']} {shapes}{f' Headers: {headers}.' if headers else ''}"


def _types(content: Mapping[str, Any]) -> str:
    return ", ".join(f"`{kind}` {_reference(media['schema'])}".strip() for kind, media in content.items())


def _reference(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2] if "$ref" in schema else ""


def _examples(content: Mapping[str, Any]) -> Iterator[str]:
    for media in content.values():
        if "example" in media:
            yield f"<pre>{escape(json.dumps(media['example'], indent=2, ensure_ascii=False))}</pre>"


def _fields(schema: Mapping[str, Any]) -> list[tuple[str, ...]]:
    required = schema.get("required", ())
    return [
        (name, "" if name in required else "optional", _kind(field), field.get("description", ""))
        for name, field in schema.get("properties", {}).items()
    ]


def _kind(schema: Mapping[str, Any]) -> str:
    """Return a schema in a few words."""
    if "$ref" in schema:
        return _reference(schema)
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(str(one) for one in schema["enum"]) if len(schema["enum"]) < 8 else "one of a list"
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    kind = schema.get("type", "anything")
    bounds = " to ".join(str(schema[name]) for name in ("minimum", "maximum") if name in schema)
    default = f", {json.dumps(schema['default'])} if not given" if schema.get("default") is not None else ""
    return f"{kind if isinstance(kind, str) else ' or '.join(kind)}{f' from {bounds}' if bounds else ''}{default}"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows as a table, the first column as their names."""
    if not rows:
        return ""
    lines = (
        f"<tr><th><code>{escape(row[0])}</code></th>{''.join(f'<td>{_prose(cell)}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )
    return f"<table>{''.join(lines)}</table>"


def _prose(text: str) -> str:
    return _CODE.sub(lambda match: f"<code>{match[1]}</code>", escape(text, quote=False)).replace("\n\n", "<br>")
