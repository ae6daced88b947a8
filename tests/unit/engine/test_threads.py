"""Several threads and tasks: each has its own targets, and one of them attaches."""

import asyncio
import contextlib
import copy
import sys
import threading
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import beyondprop as bp
from beyondprop.core import SignalRule, Traits

THREADS = 4
BATCHES = [(torch.randn(6, 8), (torch.arange(6) + i) % 4) for i in range(THREADS)]

RULES = ("backprop", "fa", "dfa", "drtp", "dgl", "predsim", "infopro", "lfg", "fg", "pepita", "pc")
"""One or more of each kind."""


@pytest.fixture
def eager_switches():
    """Have threads take turns so often that what they share is seen."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))


def gradients(handle, parameters, x, y):
    with handle.targets(y):
        loss = F.cross_entropy(handle.model(x), y)
    return torch.autograd.grad(loss, parameters, allow_unused=True)


def in_threads(works):
    """Run functions at once, each in a thread of its own; return what they returned or raised."""
    meet, found = threading.Barrier(len(works)), [None] * len(works)

    def run(place):
        meet.wait(10)
        try:
            found[place] = works[place]()
        except Exception as error:
            found[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


@pytest.mark.usefixtures("eager_switches")
@pytest.mark.parametrize("rule", RULES)
def test_threads_are_taught_by_their_own_targets(rule):
    handle = bp.attach(mlp(), bp.rules.make(rule))
    handle.model.eval()  # a pass in training mode is counted, and a rule may draw again in each
    parameters = list(handle.model.parameters())
    alone = [gradients(handle, parameters, *batch) for batch in BATCHES]
    works = [
        lambda batch=batch: [gradients(handle, parameters, *batch) for _ in range(4)]
        for batch in BATCHES
    ]
    for expected, found in zip(alone, in_threads(works), strict=True):
        assert isinstance(found, list), found
        for each in found:
            for got, right in zip(each, expected, strict=True):
                assert (got is None) == (right is None)
                if got is not None:
                    torch.testing.assert_close(got, right)


def test_targets_of_one_thread_are_not_those_of_another():
    handle = bp.attach(mlp(), bp.DirectRandomTargetProjection())
    x, y = BATCHES[0]
    with handle.targets(y):
        (found,) = in_threads([lambda: handle.model(x)])
    assert isinstance(found, bp.UserError)
    assert "needs targets" in str(found)


def test_tasks_that_wait_inside_the_context_keep_their_targets():
    handle = bp.attach(mlp(), bp.DirectRandomTargetProjection())
    parameters = list(handle.model.parameters())
    alone = [gradients(handle, parameters, *batch) for batch in BATCHES]

    async def learn(x, y):
        with handle.targets(y):
            await asyncio.sleep(0)  # the next task enters its own context
            outputs = await asyncio.to_thread(handle.model, x)
        return torch.autograd.grad(F.cross_entropy(outputs, y), parameters)

    async def all_at_once():
        return await asyncio.gather(*(learn(*batch) for batch in BATCHES))

    for found, expected in zip(asyncio.run(all_at_once()), alone, strict=True):
        torch.testing.assert_close(list(found), list(expected))


def test_contexts_may_be_left_in_any_order():
    handle, other = (bp.attach(mlp(), bp.DirectRandomTargetProjection()) for _ in range(2))
    (x, y), (_, z) = BATCHES[:2]
    first, second = handle.targets(y), other.targets(z)
    with contextlib.ExitStack() as stack:
        first.__enter__()
        stack.enter_context(second)
        first.__exit__(None, None, None)
        other.model(x)
        with pytest.raises(bp.UserError, match="needs targets"):
            handle.model(x)
    with pytest.raises(bp.UserError, match="needs targets"):
        other.model(x)


@dataclass(frozen=True)
class Waiting(SignalRule):
    """A rule that two threads find right at the same time."""

    name: ClassVar[str] = "waiting"
    traits: ClassVar[Traits] = Traits(frozenset(), ends_graph=True, exact_at_output=True)
    meet: ClassVar[threading.Barrier] = threading.Barrier(2)

    def problems(self, block):
        if block.name == "0":
            self.meet.wait(10)
        return super().problems(block)

    def signal(self, at):
        return torch.zeros(at.shape)


def test_one_of_two_threads_attaches():
    model = mlp()
    found = in_threads([lambda: bp.attach(model, Waiting())] * 2)
    (handle,) = (each for each in found if isinstance(each, bp.Attachment))
    (refused,) = (each for each in found if isinstance(each, Exception))
    assert isinstance(refused, bp.AttachError)
    assert "has rules attached already" in str(refused)
    handle.remove()
    assert not model._forward_hooks
    assert not model[1]._forward_hooks


def test_a_copy_takes_turns_of_its_own():
    handle = bp.attach(mlp(), bp.rules.make("fg"))
    twin = bp.attachment_of(copy.deepcopy(handle.model))
    x, y = BATCHES[0]
    assert gradients(twin, list(twin.model.parameters()), x, y)[0].any()
