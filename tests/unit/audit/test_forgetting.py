"""What the audit says of forgetting."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from rich.progress import Progress

from beyondprop import rules
from beyondprop.audit import Audited
from beyondprop.audit.forgetting import Forgetting, stream_of
from beyondprop.continual import Matrix
from beyondprop.continual.learning import floor
from beyondprop.pieces.training import Recipe
from beyondprop.tasks import Split, find

QUIET = Progress(disable=True)
TASK = find("digits-mlp")


def audited(**changes: Any) -> Audited:
    data = TASK.load(None).mapped(lambda part: part.some(torch.arange(min(300, len(part)))))
    recipe = Recipe(epochs=3, batch_size=16, learning_rate=5e-3, rule=rules.make("dfa"))
    made = Audited("dfa", TASK, data, 1, TASK.model, recipe)
    return replace(made, **changes)


def test_classes_are_forgotten_and_floor_and_ceiling_stand_beside() -> None:
    found = Forgetting(epochs=4).ask(audited(), QUIET)
    assert found["stream"] == "split scikit-learn digits, class-incremental"
    assert len(found["rows"]) == 5
    assert found["floor"] == pytest.approx(found["rows"][-1][-1] / 5)
    assert found["floor"] <= found["average"] < found["ceiling"]
    assert found["forgetting"] > 0.5
    assert "between" in found["verdict"]
    assert Forgetting(epochs=4).ask(audited(), QUIET) == found


def test_with_two_classes_the_numbers_are_shuffled() -> None:
    whole = audited().data

    def two(part: Any) -> Split:
        x, y = part.batch(slice(0, len(part)))
        return Split(x, y % 2)

    data = replace(whole.mapped(two), classes=("even", "odd"))
    stream = stream_of(data, 3)
    assert [each.name for each in stream.experiences] == ["order 1", "order 2", "order 3"]
    matrix = Matrix.of([0.5, 0.4, 0.3], [[0.9, 0.5, 0.5], [0.6, 0.9, 0.5], [0.6, 0.6, 0.8]])
    assert floor(stream, matrix) == pytest.approx((0.5 + 0.4 + 0.8) / 3)
    found = Forgetting(epochs=1, orders=2).ask(audited(data=data), QUIET)
    assert len(found["rows"]) == 2
