"""Rules, measures and projections do not ask for PyTorch's default dtype, but for the tensors'."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F

import beyondprop as bp
from beyondprop.projections import PROJECTIONS
from tests.contract.teaching import RULES, Gradients, found, refusal, taken
from tests.contract.test_measures import (
    QUICK,
    case_of,
    in_this_process,  # noqa: F401
    subject_of,
    used,
)
from tests.modules import CASE, Case

DTYPES = [torch.float32, torch.float64]


@contextmanager
def default(dtype: torch.dtype) -> Iterator[None]:
    """Make a dtype PyTorch's default for a while."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def taught_under(dtype: torch.dtype, name: str, case: Case, of: torch.dtype) -> Gradients:
    """Return what a rule's second pass teaches a model of one dtype, another being the default."""
    model, (inputs,) = case.fresh().to(of), case.batch().inputs
    with default(dtype):
        handle = bp.attach(model, bp.rules.make(name), case.blocks)
        for _ in range(2):
            model.zero_grad()
            with handle.targets(case.classes()):
                loss = F.cross_entropy(model(inputs.to(of)), case.classes())
            loss.backward()
    return found(model)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("of", DTYPES)
@pytest.mark.parametrize("images", [False, True])
def test_a_rule_teaches_the_same(name: str, of: torch.dtype, images: bool) -> None:
    case = CASE["convnet"] if images else case_of(name)
    if refusal(case, name) or not taken(case, name):
        pytest.skip("the rule does not take this network")
    expected, got = (taught_under(dtype, name, case, of) for dtype in DTYPES)
    assert expected.keys() == got.keys()
    for key, gradient in expected.items():
        assert (gradient is None) == (got[key] is None)
        assert gradient is None or (gradient.dtype == of and torch.equal(gradient, got[key])), key


@pytest.mark.parametrize("name", list(PROJECTIONS))
@pytest.mark.parametrize("of", DTYPES)
@pytest.mark.parametrize("inputs", [7, 1500])
def test_a_projection_carries_the_same(name: str, of: torch.dtype, inputs: int) -> None:
    x = torch.randn(3, inputs, dtype=of)
    results = []
    for dtype in DTYPES:
        with default(dtype):
            made = PROJECTIONS.make(name)
            results.append((made.project(x, 20, 5), made.matrix(inputs, 20, 5, x)))
    for one, other in zip(*results, strict=True):
        assert one.dtype == of
        assert torch.equal(one, other)


@pytest.mark.parametrize("rule", RULES)
def test_measures_run_on_a_model_of_the_default_dtype(rule: str) -> None:
    with default(torch.float64):
        for measure in QUICK.values():
            subject = subject_of(rule)
            used(subject)
            measure.run(subject)
