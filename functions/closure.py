"""Which files a function can reach: from its `main.py` over imports; those inside of functions count where these are called.

What stands at a module's top level is executed with it, and so are its classes, as a whole. A function at top level counts from
when some code that counts names it: `wiring.bucket`, `from … import bucket`, or `bucket` in its own module. What is called
in no such way (a name made at run time) is not found; `tests/integration/functions` runs every archive.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

OURS = frozenset({"shared", "functions"})

_HARMLESS = frozenset({"cache", "contextmanager", "asynccontextmanager", "lru_cache"})
"""Decorators that call a function no earlier than whoever names it."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef


_Relevant = ast.Import | ast.ImportFrom | ast.Attribute | ast.Name


@dataclass
class _Module:
    """One file: what its functions name, what the rest of it names, and what its imports bind."""

    functions: dict[str, list[_Relevant]] = field(default_factory=dict)
    rest: list[_Relevant] = field(default_factory=list)
    names: dict[str, tuple[str, str]] = field(default_factory=dict)
    """name -> module and name there; an empty name there is the module itself"""


def needed(root: Path, entry: str) -> set[str]:
    """The files below `root` that the file `entry` can reach, itself included, with the packages in which they lie."""
    return _Walk(root, entry).files()


class _Walk:
    def __init__(self, root: Path, entry: str) -> None:
        self._root, self._entry = root, entry
        main = _parsed((root / entry).read_bytes())
        self._modules: dict[str, _Module] = {"main": main}
        self._files = {entry}
        self._seen: set[tuple[str, str]] = set()
        self._waiting = [("main", ""), *(("main", name) for name in main.functions)]

    def files(self) -> set[str]:
        while self._waiting:
            module, name = self._waiting.pop()
            if (module, name) not in self._seen:
                self._seen.add((module, name))
                found = self._modules[module]
                for node in found.functions[name] if name else found.rest:
                    self._follow(module, found, node)
        return self._files

    def _follow(self, module: str, found: _Module, node: _Relevant) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target, name in _bound(node).values():
                self._use(target, name)
        elif isinstance(node, ast.Name):
            if node.id in found.functions:
                self._waiting.append((module, node.id))
        elif isinstance(node.value, ast.Name) and node.value.id in found.names:
            target, name = found.names[node.value.id]
            is_module = not name or self._file(f"{target}.{name}") is not None
            self._use(*((f"{target}.{name}".rstrip("."), node.attr) if is_module else (target, name)))

    def _use(self, module: str, name: str) -> None:
        """Something names `name` of `module`, or imports the module where `name` is empty."""
        if not self._open(module):
            return
        found = self._modules[module]
        if name in found.functions:
            self._waiting.append((module, name))
        elif name in found.names and found.names[name] != (module, name):
            self._use(*found.names[name])
        elif name:
            self._open(f"{module}.{name}")

    def _open(self, module: str) -> bool:
        """Read a module and the packages above it; whether there is such a module of ours."""
        file = self._file(module)
        if module.partition(".")[0] not in OURS or file is None:
            return False
        if module not in self._modules:
            above = module.rpartition(".")[0]
            if above:
                self._open(above)
            self._modules[module] = _parsed(file.read_bytes())
            self._files.add(file.relative_to(self._root).as_posix())
            self._waiting.append((module, ""))
        return True

    def _file(self, module: str) -> Path | None:
        path = self._root / module.replace(".", "/")
        return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def _parsed(content: bytes) -> _Module:
    """What a file says; the same for all functions."""
    tree, found = ast.parse(content), _Module()
    for node in tree.body:
        if isinstance(node, _Function) and all(_name(one) in _HARMLESS for one in node.decorator_list):
            found.functions[node.name] = list(_relevant(node))
        elif not _is_for_types(node):
            found.rest += _relevant(node)
    # A package that looks its names up when they are asked for tells only the type checker where they are.
    is_lazy = "__getattr__" in found.functions
    for inner in ast.walk(tree) if is_lazy else (part for parts in (found.rest, *found.functions.values()) for part in parts):
        if isinstance(inner, ast.Import | ast.ImportFrom):
            found.names |= _bound(inner)
    return found


def _relevant(node: ast.AST) -> Iterator[_Relevant]:
    """What a node and all inside it import and name, but for what only a type checker sees."""
    if isinstance(node, _Relevant):
        yield node
    for child in ast.iter_child_nodes(node):
        if not _is_for_types(child):
            yield from _relevant(child)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _bound(node: ast.Import | ast.ImportFrom) -> dict[str, tuple[str, str]]:
    """What an import binds: name -> module, name there."""
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name: (alias.name, "") for alias in node.names}
    return {alias.asname or alias.name: (str(node.module), alias.name) for alias in node.names}


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""
