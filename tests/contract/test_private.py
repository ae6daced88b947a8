"""PyTorch's private names are used in `_torch/` alone, where each use says its reason."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "beyondprop"
PLACE = PACKAGE / "_torch"
MODULES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text("utf-8")) for path in MODULES}
ASKED = {"getattr", "hasattr", "setattr", "delattr"}

OTHERS = {"_fields"}
"""Private in spelling, public by the documentation of Python."""


def is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.endswith("__")


def constants(nodes: Sequence[ast.expr]) -> Iterator[str]:
    """Yield the strings among expressions."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def defined(tree: ast.AST) -> Iterator[str]:
    """Yield the private names that a module gives its own functions, classes and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                yield node.attr
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            yield from constants([node.slice])  # vars(model)["_name"] = ...


OWN = {name for tree in TREES.values() for name in defined(tree)} | {"_torch"}


def used(tree: ast.AST) -> Iterator[str]:
    """Yield the private names that a module reads of anything but the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ASKED and len(node.args) > 1:
                yield from constants(node.args[1:2])
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module or "").split(".")
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (part for alias in node.names for part in alias.name.split("."))


def foreign(path: Path) -> set[str]:
    return {name for name in used(TREES[path]) if is_private(name)} - OWN - OTHERS


OUTSIDE = [path for path in MODULES if PLACE not in path.parents]


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_private_name_of_pytorch(path: Path) -> None:
    assert not foreign(path), "put it into _torch/, with its reason"


def test_what_is_looked_for_is_found() -> None:
    found = set().union(*(foreign(path) for path in MODULES if PLACE in path.parents))
    assert {"_version", "_forward_hooks", "_orig_mod", "_compiled_call_impl"} <= found
