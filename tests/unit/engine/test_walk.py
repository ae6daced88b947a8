"""Blocks that return several tensors: which of them teach the block is seen in every pass."""

import pytest
import torch
from torch import nn

import beyondprop as bp

WIDTH = 6
X = torch.linspace(-1, 1, 5 * WIDTH).view(5, WIDTH).sin()


class Pair(nn.Module):
    """Returns two tensors; the second is made of the first, or by weights of its own."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.own = False

    def forward(self, x):
        h = self.first(x).tanh()
        return h, self.second(x).tanh() if self.own else h * h


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.pair, self.head = Pair(), nn.Linear(2 * WIDTH, 3)

    def forward(self, x):
        return self.head(torch.cat(self.pair(x), dim=-1))


def taught(*settings):
    """Return what a model learns in the last of several passes.

    Args:
        settings: For each pass whether the second tensor has weights of its own, and which rest.
    """
    model = Model()
    bp.attach(model, bp.DirectFeedbackAlignment(), ["pair", "head"])
    for own, resting in settings:
        model.zero_grad()
        model.pair.own = own
        for name in ("first", "second"):
            model.pair.get_submodule(name).requires_grad_(name != resting)
        model(X).square().sum().backward()
    return {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("earlier", [(False, ""), (True, "first"), (True, "second")])
def test_what_teaches_a_block_follows_how_it_is_called_and_what_rests(earlier):
    torch.testing.assert_close(taught(earlier, (True, "")), taught((True, "")))


def test_what_no_longer_has_weights_of_its_own_teaches_no_more():
    found, alone = taught((True, ""), (False, "")), taught((False, ""))
    torch.testing.assert_close(found["pair.first.weight"], alone["pair.first.weight"])
