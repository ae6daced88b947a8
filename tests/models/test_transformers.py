"""Transformers of Hugging Face under more rules, with lengths that change, and set free again."""

import pytest
import torch

import beyondprop as bp
from benchmarks.models.case import Case
from benchmarks.models.trial import backprop, gradients
from benchmarks.models.zoo import MODELS

pytest.importorskip("transformers")
LABELLED = [c for c in MODELS.values() if c.package == "transformers" and c.targets == "labels"]
pytestmark = [
    pytest.mark.foreign,
    pytest.mark.parametrize("case", LABELLED, ids=lambda case: case.name),
]


def test_what_learns_under_backprop_learns_by_targets_alone_too(case: Case) -> None:
    model = case.model()
    handle = case.attach(model, bp.DirectRandomTargetProjection())
    case.loss_of(model, case.batch()).backward()
    found, exact = gradients(model), backprop(case)
    assert [n for n, g in found.items() if g.any()] == [n for n, g in exact.items() if g.any()]
    hidden = [n for block in handle.blocks[:-1] for n, p in block.parameters() if p.dim() == 2]
    same = [n for n in hidden if torch.allclose(found[n], exact[n], rtol=1e-3, atol=1e-8)]
    assert hidden
    assert not same


def test_without_rules_it_is_the_plain_model_again(case: Case) -> None:
    model, batch = case.model(), case.batch()
    handle = case.attach(model, bp.DirectFeedbackAlignment())
    case.loss_of(model, batch).backward()
    handle.remove()
    model.zero_grad()
    case.loss_of(model, batch).backward()
    torch.testing.assert_close(gradients(model), backprop(case), rtol=0, atol=0)


def test_lengths_may_change(case: Case) -> None:
    model, batch = case.model(), case.batch()
    case.attach(model, bp.DirectFeedbackAlignment())
    for rows in (4, 2, 3):
        cut = {name: value[:rows] for name, value in batch.inputs.items()}
        cut = {n: v[:, : rows + 2].contiguous() if v.dim() == 2 else v for n, v in cut.items()}
        model(**cut).loss.backward()
