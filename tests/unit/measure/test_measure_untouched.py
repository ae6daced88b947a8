"""A measure leaves no trace."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.engine.untouched import untouched
from beyondprop.measure import (
    alignment,
    evaluate,
    isolation,
    linear_probe,
)
from beyondprop.tasks import Split, accuracy

Batch = tuple[Tensor, Tensor]


def measure_accuracy(handle: bp.Attachment, batch: Batch) -> None:
    evaluate(handle.model, Split(*batch), F.cross_entropy, accuracy, batch_size=7)


def measure_alignment(handle: bp.Attachment, batch: Batch) -> None:
    alignment(handle, *batch, F.cross_entropy)


def measure_isolation(handle: bp.Attachment, batch: Batch) -> None:
    isolation(handle, *batch)


def measure_probe(handle: bp.Attachment, batch: Batch) -> None:
    linear_probe(handle, Split(*batch), Split(*batch), batch_size=7)


MEASURES = [measure_accuracy, measure_alignment, measure_isolation, measure_probe]


def traces(model: nn.Module) -> list[Any]:
    """Everything about a model and the generators that a measure must leave alone."""
    found: list[Any] = [(name, module.training) for name, module in model.named_modules()]
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        found += [name, id(tensor), tensor.data_ptr(), tensor._version, tensor.tolist()]
        found += [tensor.requires_grad, None if tensor.grad is None else tensor.grad.tolist()]
    found += [[len(m._forward_hooks), len(m._forward_pre_hooks)] for m in model.modules()]
    numpy = np.random.get_state()  # noqa: NPY002
    return [*found, torch.get_rng_state().tolist(), random.getstate(), numpy[1].tolist(), numpy[2]]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("rule", ["backprop", "fa", "dfa", "drtp", "frozen"])
def test_measures_leave_everything_as_found(
    measure: Callable[[bp.Attachment, Batch], None], rule: str, net: nn.Sequential, batch: Batch
) -> None:
    net[1].eval()  # modes of a module and of its children may differ
    net[0].weight.grad = torch.ones_like(net[0].weight)
    handle = bp.attach(net, bp.rules.make(rule))
    before = traces(net)
    measure(handle, batch)
    assert traces(net) == before
    net.eval()
    before = traces(net)
    measure(handle, batch)
    assert traces(net) == before


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_may_stand_between_forward_and_backward(
    measure: Callable[[bp.Attachment, Batch], None], net: nn.Sequential, batch: Batch
) -> None:
    handle = bp.attach(net, bp.Backprop())
    state = torch.get_rng_state()
    F.cross_entropy(net(batch[0]), batch[1]).backward()
    expected = [parameter.grad for parameter in net.parameters()]
    net.zero_grad()
    torch.set_rng_state(state)
    net[1].reset_running_stats()
    loss = F.cross_entropy(net(batch[0]), batch[1])
    measure(handle, batch)
    loss.backward()
    for parameter, gradient in zip(net.parameters(), expected, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_a_forward_pass_would_leave_traces(net: nn.Sequential, batch: Batch) -> None:
    """That the tests above can fail."""
    before = traces(net)
    net(batch[0])
    assert traces(net) != before


def test_the_traces_are_undone_after_an_error_too(net: nn.Sequential, batch: Batch) -> None:
    def disturb() -> None:
        net.eval()
        net.train()
        net(batch[0])
        random.random()
        np.random.rand()  # noqa: NPY002
        raise ZeroDivisionError

    before = traces(net)
    with pytest.raises(ZeroDivisionError), untouched(net):
        disturb()
    assert traces(net) == before


def test_a_buffer_shared_by_two_modules_stays_shared() -> None:
    class Counting(nn.Module):
        def __init__(self, count: Tensor) -> None:
            super().__init__()
            self.register_buffer("count", count)

        def forward(self, x: Tensor) -> Tensor:
            self.count += 1
            return x * self.count

    count = torch.zeros(())
    model = nn.Sequential(Counting(count), Counting(count))
    with untouched(model):
        assert model(torch.ones(())).item() == 2  # 1 · 2: the second sees what the first counted
    assert model[0].count is count
    assert model[1].count is count
    assert count == 0
