"""Models as people write them: gradients of each rule, compared with a slow computation by hand."""

import importlib.util

import pytest
import torch

import beyondprop as bp
from benchmarks.models.case import Case
from benchmarks.models.trial import (
    ENOUGH,
    TEACH,
    backprop,
    by_blocks,
    gradients,
    hidden_weights,
    local_loss,
    targets,
    trial,
)
from benchmarks.models.zoo import MODELS
from tests.models.by_hand import by_hand

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated"),  # PyTorch Geometric
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True"),  # nn.Transformer
]


def marks(package: str | None) -> list[pytest.MarkDecorator]:
    if package is None:
        return []
    missing = importlib.util.find_spec(package) is None
    return [pytest.mark.foreign, pytest.mark.skipif(missing, reason=f"needs {package}")]


cases = pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name, marks=marks(case.package)) for name, case in MODELS.items()],
)


ELSEWHERE = {
    ("CLIP, its images", "dgl"): "needs targets",
    ("CLIP, its texts", "dgl"): "needs targets",
    ("vit-pytorch", "dgl"): "comes before several blocks that learn during",
    ("x-transformers", "dgl"): "comes before several blocks that learn during",
    ("T5", "dgl"): "comes before several blocks that learn during",
}
"""The pairs that are refused, with words of the reason."""


@cases
def test_direct_feedback_is_what_is_computed_by_hand(case: Case) -> None:
    rule, model, batch = bp.DirectFeedbackAlignment(), case.model(), case.batch()
    with targets(case.attach(model, rule), batch):
        loss = case.loss_of(model, batch)
    loss.backward()
    found = gradients(case.taught(model))
    torch.testing.assert_close(found, by_hand(case, rule), rtol=1e-4, atol=1e-6)


@cases
def test_backprop_is_exact_to_the_bit(case: Case) -> None:
    model = case.model()
    case.attach(model, bp.Backprop())
    case.loss_of(model, case.batch()).backward()
    torch.testing.assert_close(gradients(case.taught(model)), backprop(case), rtol=0, atol=0)


@pytest.mark.parametrize("rule", TEACH)
@cases
def test_a_rule_teaches_hidden_weights_or_says_why_not(case: Case, rule: str) -> None:
    found = trial(case, rule)
    reason = ELSEWHERE.get((case.name, rule))
    if reason is None:
        assert not found.refused
        assert found.share >= ENOUGH
    else:
        assert reason in found.refused


@pytest.mark.foreign
@pytest.mark.parametrize("name", ["T5", "vit-pytorch", "x-transformers"])
def test_without_the_schedule_what_lies_before_several_blocks_does_no_harm(name: str) -> None:
    if importlib.util.find_spec(MODELS[name].package) is None:
        pytest.skip(f"needs {MODELS[name].package}")
    assert set(hidden_weights(MODELS[name])) - {"cls_token", "pos_embedding"} <= by_blocks(
        local_loss, MODELS[name]
    )


def test_at_most_one_pair_in_ten_is_refused() -> None:
    assert len(ELSEWHERE) <= len(MODELS) * len(TEACH) / 10
