"""What tells what decides a student from what prints alike."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.errors import UserError
from beyondprop.neighbourhoods import (
    CANDIDATES,
    DISTANCES,
    DRAWS,
    Call,
    Candidate,
    Distance,
    Recipe,
)
from beyondprop.pieces.contents import digest_of_model
from beyondprop.pieces.described import digest_of, digest_of_code
from tests.unit.neighbourhoods.test_distil import RECIPE, distilled


class Scaled(Distance):
    """No dataclass."""

    name = "scaled"

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return it."""
        return (student - teacher).square().mean() * self.scale


class Widened(Candidate):
    """No dataclass either."""

    name = "widened"

    def __init__(self, width: int) -> None:
        self.width = width

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return it."""
        del piece
        torch.manual_seed(0)
        sizes = (call.inputs[0].shape[-1], self.width, call.outputs[0].shape[-1])
        return nn.Sequential(nn.Linear(*sizes[:2]), nn.Linear(*sizes[1:]))


def momentum(share: float) -> Callable[[Iterable[nn.Parameter], float], Any]:
    return lambda parameters, rate: torch.optim.SGD(parameters, rate, momentum=share)


ALIKE: list[tuple[Any, Any]] = [
    (lambda p, rate: torch.optim.SGD(p, rate), lambda p, rate: torch.optim.Adam(p, rate)),
    (lambda p, rate: torch.optim.SGD(p, rate), lambda p, rate: torch.optim.SGD(p, 2 * rate)),
    (momentum(0.5), momentum(0.9)),
    (partial(torch.optim.SGD, momentum=0.5), partial(torch.optim.SGD, momentum=0.9)),
    (Scaled(1.0), Scaled(2.0)),
    (Widened(3), Widened(4)),
    (torch.zeros(3), torch.ones(3)),
    ({"a": [1, 2.0]}, {"a": [1, 2]}),
    (torch.optim.SGD, torch.optim.Adam),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_what_differs_is_told(one: Any, other: Any) -> None:
    assert digest_of(one, "it") == digest_of(one, "it")
    assert digest_of(one, "it") != digest_of(other, "it")


def versions(body: str) -> type:
    """Return a class as a file of the user's would define it."""
    found: dict[str, Any] = {"__name__": "mine"}
    exec(f"class Mine:\n  x = 1\n  {body}", found)
    return found["Mine"]


def test_another_version_of_a_class_is_told() -> None:
    one = versions("def build(self): return self.x")
    other = versions("def build(self): return self.x + 1")
    assert digest_of(one(), "it") != digest_of(other(), "it")
    assert digest_of(one(), "it") == digest_of(versions("def build(self): return self.x")(), "it")


def test_the_digest_is_the_same_in_another_process() -> None:
    code = (
        "from tests.unit.pieces.test_described import *;"
        "print(digest_of([Scaled(1.0), Widened(3), momentum(0.5), RECIPE, {'a', 'b'}], 'it'))"
    )
    found = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert len({each.stdout for each in found}) == 1


def test_all_that_is_registered_has_a_description() -> None:
    for registry in (CANDIDATES, DISTANCES, DRAWS):
        for name in registry:
            assert digest_of(registry.make(name), name)
    for name in bp.rules.RULES:
        assert digest_of(Recipe(rule=bp.rules.make(name)), name)


@dataclass(frozen=True)
class Locked(Distance):
    """Holds what cannot be described."""

    lock: Any = field(default_factory=threading.Lock)

    def between(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return zero."""
        return (student - teacher).sum() * 0


def test_what_cannot_be_described_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the recipe holds a lock, which has no digest"):
        distilled(tmp_path / "none", recipe=replace(RECIPE, distance=Locked()))
    assert not (tmp_path / "none").exists()


def test_a_student_of_another_optimizer_or_candidate_is_not_taken(tmp_path: Path) -> None:
    def error(momentum_: float, width: int) -> float:
        recipe = replace(RECIPE, epochs=1, optimizer=momentum(momentum_))
        found = distilled(tmp_path, recipe=recipe, candidates={"own": Widened(width)})
        return found.students["0"]["own"].error

    first = error(0.5, 3)
    assert error(0.9, 3) != first
    assert error(0.5, 3) == first
    assert error(0.5, 4) != first


def test_the_code_of_a_model_s_classes_tells_it_from_others() -> None:
    def made(scale: int) -> nn.Module:
        space: dict[str, Any] = {"nn": nn, "__name__": "own"}
        forward = f"def forward(self, x): return super().forward(x) * {scale}"
        exec(f"class Own(nn.Linear):\n    {forward}", space)
        torch.manual_seed(0)
        return nn.Sequential(space["Own"](2, 2), nn.ReLU())

    assert digest_of_model(made(1)) == digest_of_model(made(2))
    assert digest_of_code(made(1)) == digest_of_code(made(1)) != digest_of_code(made(2))
