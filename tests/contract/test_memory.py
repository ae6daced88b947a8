"""What a step holds: signals and ends keep no activation longer than backprop does."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import beyondprop as bp
from beyondprop.measure import Step, peak_memory, rule_step

DEPTH, WIDTH, BATCH = 8, 512, 512


def network() -> nn.Sequential:
    hidden = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU()) for _ in range(DEPTH)]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, 10))


def step(name: str | None) -> Step:
    x, y = torch.randn(BATCH, WIDTH), torch.randint(10, (BATCH,))
    rule = bp.rules.make(name) if name else None
    return rule_step(network, rule, x, y, F.cross_entropy, torch.optim.SGD, 0.1)


@pytest.mark.parametrize("rule", ["dfa", "drtp"])
def test_activations_are_freed_as_the_backward_pass_goes(rule):
    """Each block has 1 MiB of activations and as much of weights.

    Kept to the end of the backward pass, they would come on top of all gradients.
    """
    plain = peak_memory(partial(step, None)).tensor_bytes
    assert peak_memory(partial(step, rule)).tensor_bytes < 1.1 * plain
