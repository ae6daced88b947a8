"""Registries: names, arguments, what is refused, and the way back from settings."""

import itertools
from abc import ABC
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from beyondprop.errors import UserError
from beyondprop.registry import Registry

NUMBER = itertools.count()  # an imported module stays imported

MINE = """
from dataclasses import dataclass
from test_registry_open import Circle, Shape

@dataclass(frozen=True)
class Mine(Shape):
    name = "mine"
    width: float
    pen: "Unknown" = None

THICK = Circle(width=9)

def made(width: float = 1):
    return Circle(width=width)

def wrong():
    return 3
"""


class Shape(ABC):
    """What is drawn."""

    name: ClassVar[str]


class Pen:
    """What draws."""


@dataclass(frozen=True)
class Ink(Pen):
    """A pen with ink.

    More about it.
    """

    seed: int = 0
    colours: tuple[str, ...] = ("black",)
    like: Pen | None = None


class Pencil(Pen):
    """No dataclass."""

    def __init__(self, hard: bool = True) -> None:
        self.hard = hard


@dataclass(frozen=True)
class Size:
    """Nested figures."""

    height: float = 1.0


@dataclass(frozen=True)
class Circle(Shape):
    """A circle."""

    name: ClassVar[str] = "circle"
    width: float = 1.0
    count: int = 1
    filled: bool = False
    ends: tuple[float, float] = (0.0, 1.0)
    kind: Literal["open", "closed"] = "open"
    title: str | None = None
    size: Size = field(default_factory=Size)
    pen: Pen = field(default_factory=Ink)


def anything(**figures: Any) -> Circle:
    """Take whatever it is given."""
    return Circle(**figures)


def failing() -> Circle:
    """Fail."""
    raise ValueError("no\npaper")


PENS: Registry[Pen] = Registry("pen", Pen, {"ink": Ink, "pencil": Pencil})
SHAPES: Registry[Shape] = Registry(
    "shape",
    Shape,
    {"circle": Circle(), "thin": Circle(width=0.1), "anything": anything, "failing": failing},
    key="shape",
    parts=(PENS,),
)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a fresh module in the current directory."""
    name = f"shapes_{next(NUMBER)}"
    (tmp_path / f"{name}.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return name


def test_it_is_a_mapping_of_things() -> None:
    assert list(SHAPES) == ["circle", "thin", "anything", "failing"]
    assert len(SHAPES) == 4
    assert SHAPES["thin"] == Circle(width=0.1)
    assert "square" not in SHAPES
    assert SHAPES.get("square") is None


@pytest.mark.parametrize(
    ("spec", "made"),
    [
        ("circle", Circle()),
        ({"circle": {}}, Circle()),
        ({"circle": None}, Circle()),
        ({"shape": "circle"}, Circle()),
        ({"shape": "circle", "width": 3}, Circle(width=3.0)),
        ({"circle": {"width": 3, "count": 2.0}}, Circle(width=3.0, count=2)),
        ({"thin": {"count": 2}}, Circle(width=0.1, count=2)),
        ({"anything": {"width": 4.0}}, Circle(width=4.0)),
        ({"circle": {"ends": [1, 2], "kind": "closed", "title": "t"}},
         Circle(ends=(1.0, 2.0), kind="closed", title="t")),
        ({"circle": {"title": None, "filled": True}}, Circle(filled=True)),
        ({"circle": {"size": {"height": 3}}}, Circle(size=Size(3.0))),
        ({"circle": {"pen": "ink"}}, Circle()),
        ({"circle": {"pen": {"ink": {"seed": 3}}}}, Circle(pen=Ink(3))),
        ({"circle": {"pen": {"name": "ink", "seed": 3}}}, Circle(pen=Ink(3))),
        ({"circle": {"pen": Ink(4)}}, Circle(pen=Ink(4))),
        ({"circle": {"pen": {"ink": {"like": {"ink": {"colours": ["red"]}}}}}},
         Circle(pen=Ink(like=Ink(colours=("red",))))),
    ],
)  # fmt: skip
def test_a_spec_is_a_name_or_a_name_with_arguments(spec: Any, made: Shape) -> None:
    assert SHAPES.make(spec) == made


def test_a_thing_is_made_of_itself() -> None:
    shape = Circle()
    assert SHAPES.make(shape) is shape


def test_a_class_that_is_no_dataclass() -> None:
    made = SHAPES.make({"circle": {"pen": {"pencil": {"hard": False}}}})
    assert not made.pen.hard  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("circel", r"unknown shape 'circel'; did you mean 'circle'\? There are circle, thin, "),
        ("xyz", "unknown shape 'xyz'; .* and your own as my.module:attribute$"),
        (3, "a shape is written as its name, or .*{shape: NAME, ARGUMENT: VALUE, .*not as 3"),
        ({"a": 1, "b": 2}, "a shape is written as its name"),
        ({"circle": 3}, "a shape is written as its name"),
        ({1: {}}, "a shape is written as its name"),
        ({"circle": {"widht": 3}}, "shape 'circle' takes width, .*not widht; did you mean 'width'"),
        ({"failing": {"a": 1}}, "shape 'failing' takes no arguments, not a$"),
        ({"circle": {"width": "3"}}, "width of shape 'circle' must be a number, not '3'"),
        ({"circle": {"width": True}}, "width of shape 'circle' must be a number, not True"),
        ({"circle": {"count": 1.5}}, "count of shape 'circle' must be a whole number, not 1.5"),
        ({"circle": {"filled": 1}}, "filled of shape 'circle' must be true or false, not 1"),
        ({"circle": {"ends": [1]}}, "ends of shape 'circle' must be a list of a number, not"),
        ({"circle": {"ends": 1}}, "ends of shape 'circle' must be a list of a number, not 1"),
        ({"circle": {"kind": "shut"}}, "kind of shape 'circle' must be 'open' or 'closed', not"),
        ({"circle": {"title": 3}}, "title of shape 'circle' must be text or null, not 3"),
        ({"circle": {"size": 3}}, "size of shape 'circle' must be a Size, not 3"),
        ({"circle": {"size": {"hight": 3}}}, "Size takes height, not hight; did you mean"),
        (
            {"circle": {"pen": "inc"}},
            r"unknown pen 'inc'; did you mean 'ink'\? There are ink, pencil",
        ),
        ({"circle": {"pen": {"ink": {"seed": "x"}}}}, "seed of pen 'ink' must be a whole number"),
        ({"circle": {"pen": "json:loads"}}, "pen 'json:loads' failed: TypeError"),
        (
            "failing",
            r"failing' failed: ValueError: no paper \(test_registry_open.py, line 94\)$",
        ),
        ({"anything": {"widht": 1}}, "building shape 'anything' failed: TypeError: .*'widht'"),
        ("json:JSONDecoder", "json:JSONDecoder is a class, but not a Shape"),
        ("math:pi", "math:pi is of type float, not a Shape"),
    ],
)
def test_a_mistake_is_one_sentence(spec: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as raised:
        SHAPES.make(spec)
    assert "\n" not in str(raised.value)


def test_ones_own(module: str) -> None:
    assert SHAPES.make(f"{module}:THICK") == Circle(width=9)
    assert SHAPES.make({f"{module}:THICK": {"count": 2}}) == Circle(width=9, count=2)
    assert SHAPES.make({"shape": f"{module}:made", "width": 5}) == Circle(width=5.0)
    mine = SHAPES.make({f"{module}:Mine": {"width": 2, "pen": "as it is"}})
    assert (mine.name, mine.width, mine.pen) == ("mine", 2, "as it is")  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"'shapes_\d+:Mine' needs width; it takes width, pen$"):
        SHAPES.make(f"{module}:Mine")
    with pytest.raises(UserError, match=r"shapes_\d+:wrong is of type int, not a Shape"):
        SHAPES.make(f"{module}:wrong")


def seeds(made: Shape) -> list[int]:
    """The seeds of a circle's pen, and of the pen that it is like."""
    found, pen = [], made.pen  # type: ignore[attr-defined]
    while pen is not None:
        found, pen = [*found, pen.seed], pen.like
    return found


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("circle", [7]),
        ({"circle": {"pen": "ink"}}, [7]),
        ({"circle": {"pen": {"ink": {"seed": 3}}}}, [3]),
        ({"circle": {"pen": {"ink": {"seed": 0}}}}, [0]),
        ({"circle": {"pen": {"ink": {"like": "ink"}}}}, [7, 7]),
        ({"circle": {"pen": {"ink": {"like": {"ink": {"seed": 0}}}}}}, [7, 0]),
        ({"circle": {"pen": Ink()}}, [0]),
        ({"anything": {"pen": Ink(like=Ink(5))}}, [0, 5]),
    ],
)
def test_defaults_go_to_all_that_nobody_has_set(spec: Any, found: list[int]) -> None:
    assert seeds(SHAPES.make(spec, {Pen: {"seed": 7}})) == found


def test_a_functions_thing_keeps_what_it_set(module: str) -> None:
    assert seeds(SHAPES.make(f"{module}:made", {Pen: {"seed": 7}})) == [7]
    own = Registry[Shape]("shape", Shape, {"own": Circle(pen=Ink(5))})
    assert seeds(own.make("own", {Pen: {"seed": 7}})) == [5]


def test_parts_with_defaults_are_never_shared() -> None:
    defaults = {Pen: {"seed": 0}}
    one, other = SHAPES.make("circle", defaults), SHAPES.make("circle", defaults)
    assert one == other
    assert one.pen is not other.pen  # type: ignore[attr-defined]


def test_added_things() -> None:
    shapes: Registry[Shape] = Registry("shape", Shape, {})
    shapes.add("circle", Circle, PENS)
    assert shapes.make({"circle": {"pen": {"ink": {"seed": 1}}}}) == Circle(pen=Ink(1))
    with pytest.raises(ValueError, match="the name 'circle' is already that of another shape"):
        shapes.add("circle", Circle())


def test_descriptions(module: str) -> None:
    assert SHAPES.describe("thin") == "A circle."
    assert SHAPES.describe("anything") == "Take whatever it is given."
    assert PENS.describe("ink") == "A pen with ink."
    assert SHAPES.describe(f"{module}:THICK") == "A circle."
    assert PENS.arguments("ink") == ["seed", "colours", "like"]
    assert PENS.arguments("pencil") == ["hard"]
    assert SHAPES.arguments(f"{module}:Mine") == ["width", "pen"]
