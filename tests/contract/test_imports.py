"""The order of the layers: a module imports only from what lies below it, and nothing in a circle.

Read from the source, so that imports inside functions and under `TYPE_CHECKING` count as well.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "beyondprop"

LAYERS = (
    ("lazy", "errors", "files"),
    ("_torch",),
    ("random",),
    ("kernels",),
    ("text", "registry"),
    ("shapes", "matching", "core"),
    ("projections", "optics"),
    ("models",),
    ("layers",),
    ("rules",),
    ("engine",),
    ("slots", "schedules"),
    ("jobs",),
    ("pieces",),
    ("neighbourhoods", "modalities"),
    ("engine.fast",),
    ("tasks", "measure"),
    ("continual", "audit"),
    ("experiment",),
    ("report",),
    ("cli",),
    ("__init__", "__main__"),
)
"""Ground first; within a line from left to right."""

PLACE = {name: i for i, name in enumerate(name for line in LAYERS for name in line)}
ROOT = {"__init__", "__main__", "lazy", "errors", "files", "shapes", "matching", "core"}

EXCEPTIONS: set[tuple[str, str]] = set()
"""Imports against the order that are still to be mended: importing layer, imported layer."""


def name_of(path: Path) -> str:
    """Return a module's name without the package's."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
KNOWN = {f"beyondprop.{name}" for name in MODULES}


def imported(path: Path) -> set[str]:
    """Return the modules of the package that a module imports, wherever in it."""
    found = set()
    stub = path.with_suffix(".pyi")  # what a package imports when it is asked for
    source = path.read_text() + (stub.read_text() if stub.exists() else "")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively: write the whole name"
            base = node.module or ""
            names = {f"{base}.{alias.name}" for alias in node.names}
            # A module asked of its package is that module alone.
            found |= names if names <= KNOWN else names | {base}
    own = {name.removeprefix("beyondprop.") for name in found if name.startswith("beyondprop.")}
    return {name for name in own if name in MODULES}


IMPORTS = {name: imported(path) - {name} for name, path in MODULES.items()}


def layer(name: str) -> str:
    """Return the layer that a module belongs to."""
    inside = [place for place in PLACE if name == place or name.startswith(f"{place}.")]
    assert inside, f"'{name}' belongs to no layer: add its folder to LAYERS"
    return max(inside, key=len)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_from_layers_below(name):
    here = layer(name)
    above = {
        other
        for other in IMPORTS[name]
        if PLACE[layer(other)] > PLACE[here] and (here, layer(other)) not in EXCEPTIONS
    }
    assert not above, f"{name} ({here}) imports from above it: {sorted(above)}"


def test_no_exception_is_left_over():
    used = {(layer(name), layer(other)) for name in MODULES for other in IMPORTS[name]}
    assert used >= EXCEPTIONS


def test_there_is_no_circle():
    left = {name: set(others) for name, others in IMPORTS.items()}
    while left:
        free = [name for name, others in left.items() if not others & left.keys()]
        assert free, f"these import one another: {sorted(left)}"
        for name in free:
            del left[name]


def test_the_root_holds_the_ground_alone():
    assert {path.stem for path in PACKAGE.glob("*.py")} == ROOT


def test_what_is_checked_is_the_package():
    assert len(MODULES) > 150
    assert "engine.detach" in IMPORTS["engine.attachment"]
    assert "core" in IMPORTS["rules.backprop"]
