"""What a function's code says of itself, read without running it: does its handler stream, and how.

Handler: app.tell ──► app.py ──► @stream_handler(via="function-url") ──► Declared
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["stream", "handler", "plain", "unknown"]

IMPORTS_MAX = 5
"""Modules that are followed from one to the next, to where a handler is written."""

_KINDS: dict[str, Kind] = {"stream_handler": "stream", "handler": "handler"}
"""The package's decorators."""


class Declared(NamedTuple):
    """What is known of a handler.

    Attributes:
        kind: `stream`: it has `@stream_handler`; `handler`: `@handler`; `plain`: it is a function
            without decorators; `unknown`.
        via: As it is declared, of `stream` alone; None where it is no literal.
        where: Such as `app.py:12`, or the handler's name.
        why: It is unknown: a sentence.
        doubtful: It is unknown, and its decorator has the name of ours.
    """

    kind: Kind
    via: str | None = None
    where: str = ""
    why: str = ""
    doubtful: bool = False


def read(handler: str, folder: Path | None, source: str | None) -> Declared:
    """Find out what a handler declares.

    Args:
        handler: As a function's configuration has it, `package/module.name`.
        folder: Of its code, None where it is not here.
        source: The code itself, where a template holds it; its module is `index`.
    """
    module, _, name = handler.replace("/", ".").rpartition(".")
    if source is not None:
        return _in_text(source, "index.py", name, None, 0)
    if folder is None:
        return Declared("unknown", where=handler, why="Its code is not here.")
    if not module:
        why = "It is known at deployment alone." if not handler else "It names no module."
        return Declared("unknown", where=handler or "Handler", why=why)
    return _in_module(folder, module, name, 0)


def _in_module(folder: Path, module: str, name: str, depth: int) -> Declared:
    if depth > IMPORTS_MAX:
        why = f"It is imported through more than {IMPORTS_MAX} modules, or in a circle."
        return Declared("unknown", where=name, why=why)
    path = _file_of(folder, module)
    if path is None:
        why = f"Its module {module!r} is not in {str(folder)!r}."
        return Declared("unknown", where=name, why=why)
    try:
        text = path.read_bytes()  # which says itself how it is encoded
    except OSError as error:
        return Declared("unknown", where=str(path), why=f"It cannot be read: {error}.")
    shown = str(path.relative_to(folder))
    return _in_text(text, shown, name, (folder, module, path), depth)


def _file_of(folder: Path, module: str) -> Path | None:
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    for path in (
        folder.joinpath(*parts).with_suffix(".py"),
        folder.joinpath(*parts, "__init__.py"),
    ):
        if path.is_file():
            return path
    return None


def _in_text(
    text: str | bytes, shown: str, name: str, place: tuple[Path, str, Path] | None, depth: int
) -> Declared:
    try:
        return _Module(ast.parse(text), shown, place, depth).declared(name)
    except (SyntaxError, ValueError) as error:
        return Declared("unknown", where=shown, why=f"It is no Python: {error}.")
    except (MemoryError, RecursionError):  # what the parser has for too much of it
        return Declared("unknown", where=shown, why="It is nested too deeply to be read.")


class _Module:
    """The names of one module, as they stand when it has been loaded."""

    def __init__(
        self, tree: ast.Module, shown: str, place: tuple[Path, str, Path] | None, depth: int
    ) -> None:
        self._shown = shown
        self._place = place
        self._depth = depth
        self._bound: dict[str, ast.stmt] = {}
        self._imported: dict[str, str] = {}
        self._starred: list[str] = []
        self._bind(tree.body)

    def declared(self, name: str, seen: frozenset[str] = frozenset()) -> Declared:
        """Return what a name of this module is."""
        node = self._bound.get(name)
        if node is None or name in seen:
            why = f"There is no {name!r} that can be read."
            if self._starred:
                why = f"{name!r} may come from {self._stars()}."
            return self._unknown(None, why)
        if isinstance(node, ast.ImportFrom):
            return self._elsewhere(node, name)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return self._decorated(node)
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        if isinstance(value, ast.Name):
            return self.declared(value.id, seen | {name})
        if isinstance(value, ast.Call):
            found = self._by_decorator(value.func)
            if found is not None:
                return found
        return self._unknown(node, f"What {name!r} is cannot be read from it.")

    def _bind(self, statements: list[ast.stmt]) -> None:
        for node in statements:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    self._imported[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom):
                self._bind_names(node)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self._bound[node.name] = node
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                self._bound.update(
                    {each.id: node for each in targets if isinstance(each, ast.Name)}
                )
            else:  # what stands in an `if`, a `try`, a `with` or a `match`
                for each in (*getattr(node, "handlers", []), *getattr(node, "cases", [])):
                    self._bind(each.body)
                for block in ("body", "orelse", "finalbody"):
                    self._bind(getattr(node, block, []))

    def _bind_names(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name != "*":
                self._imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                self._bound[alias.asname or alias.name] = node
            elif node.module == "lambdallm" and not node.level:
                self._imported.update({name: f"lambdallm.{name}" for name in _KINDS})
            else:
                self._starred.append("." * node.level + (node.module or ""))

    def _stars(self) -> str:
        return " or ".join(f"`from {module} import *`" for module in self._starred)

    def _decorated(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Declared:
        for decorator in node.decorator_list:
            found = self._by_decorator(decorator)
            if found is not None:
                return found
        names = [self._called(each).rpartition(".")[2] for each in node.decorator_list]
        if self._starred and not {*names}.isdisjoint(_KINDS):
            why = f"Its decorator may come from {self._stars()}."
            return self._unknown(node, why)._replace(doubtful=True)
        if node.decorator_list:
            return self._unknown(node, "Its decorators are none of lambdallm's.")
        return Declared("plain", where=self._at(node))

    def _by_decorator(self, node: ast.expr) -> Declared | None:
        """Return what a decorator declares, None if it is none of ours."""
        call = node if isinstance(node, ast.Call) else None
        top, _, last = self._called(node).rpartition(".")
        kind = _KINDS.get(last) if top == "lambdallm" or top.startswith("lambdallm.") else None
        if kind is None:
            return None
        via = _via(call) if kind == "stream" else None
        return Declared(kind, via, self._at(node))

    def _called(self, decorator: ast.expr) -> str:
        return self._full_name(decorator.func if isinstance(decorator, ast.Call) else decorator)

    def _full_name(self, node: ast.expr) -> str:
        if isinstance(node, ast.Attribute):
            return f"{self._full_name(node.value)}.{node.attr}"
        return self._imported.get(node.id, node.id) if isinstance(node, ast.Name) else ""

    def _elsewhere(self, node: ast.ImportFrom, name: str) -> Declared:
        original = next(each.name for each in node.names if name in (each.asname, each.name))
        if self._place is None:
            return self._unknown(node, f"{name!r} is imported, and its module is not here.")
        folder, module, path = self._place
        target = node.module or ""
        if node.level:
            package = module.split(".") if path.stem == "__init__" else module.split(".")[:-1]
            parts = package[: len(package) - node.level + 1]
            target = ".".join([*parts, *([target] if target else [])])
        return _in_module(folder, target, original, self._depth + 1)

    def _unknown(self, node: ast.stmt | None, why: str) -> Declared:
        return Declared("unknown", where=self._at(node) if node else self._shown, why=why)

    def _at(self, node: ast.expr | ast.stmt) -> str:
        return f"{self._shown}:{node.lineno}"


def _via(call: ast.Call | None) -> str | None:
    """Return what `via` says, its default where it is not given, None where it is no literal."""
    default = "function-url"
    if call is None:
        return default
    for keyword in call.keywords:
        if keyword.arg == "via":
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            return value if isinstance(value, str) else None
    return None if any(keyword.arg is None for keyword in call.keywords) else default
