"""Scores in addition to a task's own: of classes, of labels, of numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from beyondprop.experiment.modal_scores import named_scores

CLASSES = {"accuracy", "weighted_f1"}
NUMBERS = {"mean_absolute_error", "correlation"}


def test_classes_may_be_a_column() -> None:
    torch.manual_seed(0)
    outputs, targets = torch.randn(20, 3), torch.randint(3, (20,))
    found = named_scores(outputs, targets)
    assert set(found) == CLASSES
    assert found["accuracy"] == (outputs.argmax(1) == targets).double().mean()
    assert named_scores(outputs, targets[:, None]) == found


@pytest.mark.parametrize("columns", [1, 3])
def test_labels_are_those_of_scikit_learn(columns: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    torch.manual_seed(0)
    outputs, targets = torch.randn(30, columns), torch.rand(30, columns) < 0.4
    found = named_scores(outputs, targets)
    said, asked = (
        ((outputs > 0).squeeze(1), targets.squeeze(1))
        if columns == 1
        else (
            outputs > 0,
            targets,
        )
    )
    expected = metrics.f1_score(asked, said, average="weighted", zero_division=0.0)
    assert found["weighted_f1"] == pytest.approx(expected)
    assert found["accuracy"] == pytest.approx(((outputs > 0) == targets).double().mean().item())
    if columns == 1:
        assert named_scores(outputs[:, 0], targets[:, 0]) == found
        assert named_scores(outputs, targets[:, 0]) == found


def test_labels_that_nobody_has_have_no_f1() -> None:
    found = named_scores(torch.ones(4, 2), torch.zeros(4, 2, dtype=torch.bool))
    assert found == {"accuracy": 0.0, "weighted_f1": None}


@pytest.mark.parametrize("columns", [1, 2])
def test_numbers_may_have_columns(columns: int) -> None:
    torch.manual_seed(0)
    outputs = torch.randn(25, columns)
    targets = outputs * 0.5 + torch.randn(25, columns)
    found = named_scores(outputs, targets)
    assert set(found) == NUMBERS
    each = [
        torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(outputs.T, targets.T, strict=True)
    ]
    assert found["correlation"] == pytest.approx(sum(map(float, each)) / columns, abs=1e-5)
    error = (outputs - targets).abs().mean().item()
    assert found["mean_absolute_error"] == pytest.approx(error)
    if columns == 1:
        assert named_scores(outputs[:, 0], targets) == found
        assert named_scores(outputs[:, 0], targets[:, 0]) == found


@pytest.mark.parametrize(
    ("outputs", "targets"),
    [
        (torch.full((5,), 0.1), torch.arange(5.0)),
        (torch.arange(5.0), torch.full((5, 1), 0.3)),
        (torch.stack([torch.arange(5.0), torch.ones(5)], 1), torch.randn(5, 2)),
        (torch.tensor([1.0]), torch.tensor([2.0])),
        (torch.tensor([1.0, torch.inf]), torch.tensor([2.0, 3.0])),
    ],
)
def test_what_never_changes_has_no_correlation(outputs: Tensor, targets: Tensor) -> None:
    assert named_scores(outputs, targets)["correlation"] is None


def test_other_forms_have_no_further_scores() -> None:
    assert named_scores(torch.randn(4, 3), torch.randint(3, (4, 3))) == {}
    assert named_scores(torch.randn(4, 3, 2), torch.randn(4, 3, 2)) == {}
    assert named_scores(torch.randn(4), torch.randint(2, (4,))) == {}
    assert named_scores(torch.randn(4, 3), torch.randn(4)) == {}
