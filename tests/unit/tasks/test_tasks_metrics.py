import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.tasks import auc


def by_pairs(outputs: Tensor, targets: Tensor) -> float:
    """The share of pairs of a positive and a negative in the right order; ties count a half."""
    wins, pairs = 0.0, 0
    for a in outputs[targets].tolist():
        for b in outputs[~targets].tolist():
            wins += 1.0 if a > b else 0.5 if a == b else 0.0
            pairs += 1
    return wins / pairs


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30).filter(
        lambda rows: len({click for _, click in rows}) == 2
    )
)
def test_auc_counts_pairs(rows: list[tuple[int, bool]]) -> None:
    outputs = torch.tensor([float(score) for score, _ in rows])
    targets = torch.tensor([click for _, click in rows])
    expected = pytest.approx(by_pairs(outputs, targets))
    assert auc(outputs, targets) == expected
    assert auc(outputs.double().requires_grad_(), targets.float()) == expected
    assert auc(outputs, targets.long()) == expected


def test_auc_of_a_constant_is_a_half() -> None:
    assert auc(torch.zeros(4), torch.tensor([True, False, False, True])) == 0.5


@pytest.mark.parametrize(
    ("outputs", "targets", "message"),
    [
        (torch.zeros(3, 1), torch.zeros(3), r"needs outputs and targets \(n,\)"),
        (torch.zeros(3), torch.zeros(2), r"needs outputs and targets \(n,\)"),
        (torch.zeros(3), torch.ones(3), "all samples are of one kind"),
    ],
)
def test_auc_refuses(outputs: Tensor, targets: Tensor, message: str) -> None:
    with pytest.raises(UserError, match=message):
        auc(outputs, targets)
