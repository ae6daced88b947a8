"""What a step of a rule costs its search."""

from __future__ import annotations

import pytest
import torch
from experiment_tasks import BLOBS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from beyondprop._torch.operations import Operations
from beyondprop.experiment import CompareSpec
from beyondprop.experiment.plan import plan_compare
from beyondprop.experiment.step_cost import step_costs

TRAIN = BLOBS.load(None).train


def test_a_rule_that_computes_many_times_as_much_costs_as_much() -> None:
    plan = plan_compare(CompareSpec(rules=("backprop", "pc", "epc")), BLOBS, "blobs")
    costs = step_costs(plan, BLOBS, TRAIN, [*plan.names])
    assert costs["backprop"] == 1
    assert costs["pc"] > 3
    assert costs["epc"] > 3


@pytest.mark.parametrize("inference", [False, True])
def test_operations_are_those_that_pytorch_counts(inference: bool) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(2), nn.MultiheadAttention(36, 4, batch_first=True)
    )
    x = torch.randn(2, 3, 8, 8)

    def step() -> None:
        with torch.inference_mode(inference):
            h = model[:3](x)
            out, _ = model[3](h, h, h)
        if not inference:
            out.sum().backward()

    with FlopCounterMode(display=False) as expected:
        step()
    with Operations() as found:
        step()
    assert found.total == expected.get_total_flops() > 0
