"""Encoders of one kind of input: what pads has no part, and every rule can follow them."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.models.encoders import Frames, Words, pictures, vectors


@pytest.mark.parametrize(
    ("encoder", "inputs"),
    [
        (vectors(3, 8), torch.randn(5, 3)),
        (pictures(2, 12, 8), torch.randn(5, 2, 12, 12)),
        (Frames(3, 8), torch.randn(5, 7, 3)),
        (Words(9, 8), torch.randint(1, 9, (5, 6))),
    ],
    ids=["vectors", "pictures", "frames", "words"],
)
def test_a_vector_for_each_input(encoder: nn.Module, inputs: Tensor) -> None:
    found = encoder(inputs)
    assert found.shape == (5, 8)
    one_by_one = torch.cat([encoder(inputs[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(found, one_by_one)


def test_frames_behind_the_end_have_no_part() -> None:
    encoder, x = Frames(3, 8), torch.randn(2, 6, 3)
    alone = torch.cat([encoder(x[:1, :4]), encoder(x[1:])])
    x[0, 4:] = 1e3
    torch.testing.assert_close(encoder(x, torch.tensor([4, 6])), alone)


def test_words_are_a_bag_and_padding_is_none() -> None:
    encoder = Words(9, 8)
    short, padded = torch.tensor([[3, 5, 5]]), torch.tensor([[0, 5, 3, 0, 5, 0]])
    torch.testing.assert_close(encoder(short), encoder(padded))
    expected = encoder.last(encoder.table.weight[[3, 5, 5]].mean(0)).relu()
    torch.testing.assert_close(encoder(short)[0], expected)
    encoder(padded).sum().backward()
    assert encoder.table.weight.grad is not None
    assert not encoder.table.weight.grad[0].any()


def test_a_text_without_words_is_finite() -> None:
    encoder = Words(9, 8)
    found = encoder(torch.zeros(1, 4, dtype=torch.int64))
    assert torch.equal(found[0], encoder.last.bias.relu())
    found.sum().backward()
    assert encoder.last.weight.grad is not None
    assert encoder.last.weight.grad.isfinite().all()


@pytest.mark.parametrize("rule", ["fg", "fa", "dfa"])
@pytest.mark.parametrize(
    ("encoder", "inputs"),
    [
        (pictures(1, 8, 6), torch.randn(4, 1, 8, 8)),
        (Frames(3, 6), torch.randn(4, 7, 3)),
        (Words(9, 6), torch.randint(0, 9, (4, 5))),
    ],
    ids=["pictures", "frames", "words"],
)
def test_rules_teach_them(encoder: nn.Module, inputs: Tensor, rule: str) -> None:
    model = nn.Sequential(deepcopy(encoder), nn.Linear(6, 3))
    bp.attach(model, bp.rules.make(rule), ["0", "1"])
    torch.nn.functional.cross_entropy(model(inputs), torch.arange(4) % 3).backward()
    for weight in model.parameters():
        assert weight.grad is not None
        assert weight.grad.isfinite().all()
