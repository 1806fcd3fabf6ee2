"""Make the sync face of the SDK from the asynchronous one: the same names, types and words, and nothing between.

python -m tools.sync_face           # write devbox_mcp/client/blocking/*.py
python -m tools.sync_face --check   # say which are not what this would write, and exit with 1
"""

from __future__ import annotations

import ast
import subprocess
import sys
from copy import copy
from pathlib import Path

CLIENT = Path(__file__).parent.parent / "devbox_mcp" / "client"
MODULES = ("reading", "changing", "transferring")

_HEAD = '''"""{about}

Made by tools/sync_face.py from client/{name}.py: change it there."""

'''
_INIT = '''
def __init__(self, files: AsyncTransferring, connection: Connection, portal: Portal) -> None:
    """``files`` is what does it all, in the event loop of ``portal``."""
    self._files = files
    self._connection = connection
    self._portal = portal
'''
#: What ``_INIT`` is written with.
_OWN = """
from devbox_mcp.client.blocking.portal import Portal
from devbox_mcp.client.transferring import AsyncTransferring
"""


def face(name: str) -> str:
    """Return the source of the sync face of a module, as ruff formats it."""
    tree = ast.parse((CLIENT / f"{name}.py").read_text())
    (source,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.startswith("Async"))
    made = _class(source)
    body: list[ast.stmt] = [made]
    has_init = any(isinstance(node, ast.FunctionDef) and node.name == "__init__" for node in made.body)
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    if has_init:
        imports += [node for node in ast.parse(_OWN).body if isinstance(node, ast.ImportFrom)]
    for base in source.bases:
        module = next(one.module for one in imports if any(alias.name == ast.unparse(base) for alias in one.names))
        assert module is not None
        module = module.replace(".client.", ".client.blocking.")
        imports.append(ast.ImportFrom(module, [ast.alias(_sync(ast.unparse(base)))], 0))
    body[:0] = _used(imports, made) + _own(tree, made, name)
    head = _HEAD.format(about=(ast.get_docstring(tree) or "").split("\n")[0], name=name)
    return _formatted(head + ast.unparse(ast.fix_missing_locations(ast.Module(body, []))) + "\n")


def _class(source: ast.ClassDef) -> ast.ClassDef:
    body: list[ast.stmt] = [ast.Expr(ast.Constant(_docstring(source)))]
    for node in source.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            body += ast.parse(_INIT).body
        elif isinstance(node, ast.AsyncFunctionDef) and not node.name.startswith("_"):
            body.append(_method(node))
    made = copy(source)
    made.name, made.body = _sync(source.name), body
    made.bases = [ast.Name(_sync(ast.unparse(base))) for base in source.bases]
    return made


def _method(source: ast.AsyncFunctionDef) -> ast.FunctionDef:
    assert source.returns is not None
    returns = ast.unparse(source.returns)
    iterates = returns.startswith("AsyncIterator[")
    if source.decorator_list:
        body: list[ast.stmt] = [ast.Expr(ast.Constant(...))]
    else:
        given = [argument.arg for argument in source.args.args[1:]]
        given += [f"{argument.arg}={argument.arg}" for argument in source.args.kwonlyargs]
        call = f"self._files.{source.name}({', '.join(given)})"
        # what is yielded may be altered by who gets it, before the next is made
        call = (
            f"iterate({call}, most=1)"
            if "list[" in returns and iterates
            else f"iterate({call})"
            if iterates
            else f"run({call})"
        )
        body = [ast.Expr(ast.Constant(_docstring(source))), *ast.parse(f"return self._portal.{call}").body]
    answer = ast.parse(returns.removeprefix("Async"), mode="eval").body
    made = ast.FunctionDef(**dict(ast.iter_fields(source)))
    made.body, made.returns = body, answer
    return made


def _docstring(node: ast.ClassDef | ast.AsyncFunctionDef) -> str:
    """Return a docstring as it stands there, its indentation too."""
    first = node.body[0]
    assert isinstance(first, ast.Expr), f"{node.name} has no docstring"
    assert isinstance(first.value, ast.Constant), f"{node.name} has no docstring"
    return str(first.value.value)


def _sync(name: str) -> str:
    return name.removeprefix("Async")


def _used(imports: list[ast.ImportFrom], made: ast.ClassDef) -> list[ast.stmt]:
    """Return the imports of the names that are used, those of iterators changed."""
    used = {node.id for node in ast.walk(made) if isinstance(node, ast.Name)}
    kept: list[ast.stmt] = [ast.ImportFrom("__future__", [ast.alias("annotations")], 0)]
    for node in imports:
        names = [ast.alias(_sync(one.name) if node.module == "collections.abc" else one.name) for one in node.names]
        names = [one for one in names if one.name in used]
        if names:
            kept.append(ast.ImportFrom(node.module, names, 0))
    return kept


def _own(tree: ast.Module, made: ast.ClassDef, name: str) -> list[ast.stmt]:
    """Return the imports of names that the asynchronous module defines itself."""
    used = {node.id for node in ast.walk(made) if isinstance(node, ast.Name)}
    defined = {
        target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
        if isinstance(target, ast.Name)
    }  # fmt: skip
    own = sorted(used & defined)
    return [ast.ImportFrom(f"devbox_mcp.client.{name}", [ast.alias(one) for one in own], 0)] if own else []


def _formatted(source: str) -> str:
    for options in (["check", "--fix", "--quiet", "--select", "I"], ["format", "--quiet"]):
        command = [
            sys.executable,
            "-m",
            "ruff",
            *options,
            "--stdin-filename",
            str(CLIENT / "blocking" / "made.py"),
            "-",
        ]
        source = subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout
    return source


def main() -> None:
    """Write them all, or compare."""
    stale = []
    for name in MODULES:
        path = CLIENT / "blocking" / f"{name}.py"
        source = face(name)
        if "--check" not in sys.argv:
            path.write_text(source)
        elif not path.exists() or path.read_text() != source:
            stale.append(path.name)
    if stale:
        sys.exit(f"{', '.join(stale)}: run python -m tools.sync_face")


if __name__ == "__main__":
    main()
