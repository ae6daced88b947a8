"""Copies of an attached model, in memory and by way of a file, teach as it does and by themselves.

Feedback that learns goes along: a copy goes on where the original stood.
"""

import copy
import io
import pickle

import pytest
import torch

import beyondprop as bp
from tests.contract.teaching import (
    RULES,
    assert_same,
    attach,
    attached,
    every,
    few,
    gradients,
    learned,
    pairs,
    taught,
)

MEMORY = [rule for rule in RULES if rule in ("brsf", "wm", "kp", "dkp", "ebd", "fg", "lfg", "dtp")]
"""The rules that carry something from one pass to the next."""


def pickled(case, model):
    """Return a copy by way of pickle, or the word that PyTorch cannot make one."""
    if case.pickles:
        return pickle.loads(pickle.dumps(model))
    with pytest.raises(RuntimeError, match="parametrized modules is only supported through state"):
        pickle.dumps(model)
    return None


@every
def test_deepcopy_and_pickle_are_independent_and_equal(case, rule):
    model, handle = attached(case, rule)
    twins = [copy.deepcopy(model), pickled(case, model)]
    expected = gradients(case, model, case.batch())
    kept = {n: t.clone() for n, t in handle.state_dict().items()}
    for twin in twins:
        if twin is not None:
            assert bp.attachment_of(twin) is not handle
            assert bp.attachment_of(twin).model is twin
            assert_same(gradients(case, twin, case.batch()), expected)
    bp.attachment_of(twins[0]).remove()
    assert bp.attachment_of(model) is handle
    torch.testing.assert_close(handle.state_dict(), kept, rtol=0, atol=0)


@every
def test_state_dicts_hold_all(case, rule):
    model, handle = attached(case, rule)
    saved = copy.deepcopy({"model": model.state_dict(), "feedback": handle.state_dict()})
    torch.default_generator.manual_seed(99)
    other = case.build().train(case.training)
    twin = attach(case, other, rule)
    other.load_state_dict(saved["model"])
    twin.load_state_dict(saved["feedback"])
    assert_same(gradients(case, other, case.batch()), gradients(case, model, case.batch()))


def through_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def train(case, model, optimizer, steps):
    for step in steps:
        optimizer.zero_grad()
        taught(case, model, case.batch(step)).backward()
        optimizer.step()


def optimizer_of(model, learning_rate=0.05):
    return torch.optim.SGD(learned(model).values(), learning_rate, 0.9, weight_decay=0.01)


@pairs(few, MEMORY)
def test_learned_feedback_goes_on_in_copies_as_in_the_original(case, rule):
    model, handle = attached(case, rule)
    optimizer = optimizer_of(model)
    before = {n: t.clone() for n, t in handle.state_dict().items()}
    train(case, model, optimizer, range(2))
    counted = {"passes"} if rule not in ("brsf", "fg") else set()  # the others learn more
    assert moved(before, handle.state_dict()) > counted

    saved = through_file({"model": model.state_dict(), "feedback": handle.state_dict()})
    loaded = case.build().train(case.training)
    twins = [copy.deepcopy(model), pickled(case, model), loaded]
    attach(case, loaded, rule).load_state_dict(saved["feedback"])
    loaded.load_state_dict(saved["model"])
    optimizers = [optimizer_of(twin) for twin in twins]
    for other in optimizers:
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))

    train(case, model, optimizer, range(2, 5))
    assert moved(saved["feedback"], handle.state_dict()) >= {"passes"}
    for twin, other in zip(twins, optimizers, strict=True):
        train(case, twin, other, range(2, 5))
        for mine, its in (
            (model.state_dict(), twin.state_dict()),
            (handle.state_dict(), bp.attachment_of(twin).state_dict()),
        ):
            torch.testing.assert_close(dict(its), dict(mine), rtol=0, atol=0)


def moved(before, after):
    """Return what is other than it was, or new."""
    return {n for n in after if n not in before or not torch.equal(before[n], after[n])}
