"""What the contract tests share: every rule on every module, and how one of them is taught."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.rules import LayerRule, Rule
from tests.modules import CASE, CASES, Batch, Case

Gradients = dict[str, Tensor | None]

RULES = list(bp.rules.RULES)

CHOOSY = ("ff", "scff", "softhebb", "pepita", "dtp", "dualprop", "pc", "epc")
"""Rules that take models of a certain kind alone, and refuse others when they are attached."""


@cache
def rule_of(name: str, exact: tuple[str, ...] = ()) -> Rule:
    """Return a rule; it is the same one for all tests, as fixed matrices are drawn but once."""
    rule = bp.rules.make(name)
    return replace(rule, exact=exact) if exact and isinstance(rule, LayerRule) else rule


def refusal(case: Case, name: str) -> str | None:
    """Return what a rule says that cannot teach this module, or None."""
    rule = bp.rules.RULES[name]
    if rule.traits.one_output and case.several:
        return "supports one output only"
    said = [
        message
        for kind, message in case.refused.items()
        if kind == name or (isinstance(kind, type) and isinstance(rule, kind))
    ]
    return said[0] if said else None


def attach(case: Case, model: nn.Module, rule: str) -> bp.Attachment:
    """Attach a rule as the case says."""
    given = rule_of(rule, case.exact_under(rule))
    if given.traits.whole_model:
        return bp.attach(model, given)
    if not case.backprop:
        return bp.attach(model, given, case.blocks)
    exceptions = dict.fromkeys(case.backprop, bp.Backprop())
    return bp.attach(model, {**exceptions, **dict.fromkeys(case.blocks or ["*"], given)})


@cache
def taken(case: Case, name: str) -> bool:
    """Return whether a rule takes models of this kind; `test_refusals` counts which they are."""
    if name not in CHOOSY:
        return True
    try:
        attach(case, case.fresh(), name)
    except bp.UserError:
        return False
    return True


def pairs(cases: Iterable[Case] = CASES, rules: Iterable[str] = RULES) -> pytest.MarkDecorator:
    """Parametrise a test by every module with every rule that can teach it."""
    rules = list(rules)
    found = [(c, r) for c in cases for r in rules if taken(c, r) and refusal(c, r) is None]
    names = [f"{case}-{rule}" for case, rule in found]
    return pytest.mark.parametrize(("case", "rule"), found, ids=names)


every = pairs()
few = [CASE[name] for name in ("mlp", "convnet", "residual", "transformer-layer", "rnncell")]


def attached(case: Case, rule: str) -> tuple[nn.Module, bp.Attachment]:
    """Build the module, always with the same weights, and attach a rule to it."""
    model = case.fresh()
    return model, attach(case, model, rule)


def loss_of(case: Case, outputs: object) -> Tensor:
    """Return the sum of the outputs' mean losses."""
    classes = case.classes().flatten()
    losses = [F.cross_entropy(logits.flatten(0, -2), classes) for logits in case.logits(outputs)]
    return torch.stack(losses).sum()


def taught(case: Case, model: nn.Module, batch: Batch) -> Tensor:
    """Run the forward pass, with targets where something is attached, and return the loss."""
    handle = bp.attachment_of(model)
    if handle is None:
        return loss_of(case, model(*batch.inputs, **batch.keywords))
    with handle.targets(case.classes()):
        return loss_of(case, model(*batch.inputs, **batch.keywords))


def learned(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return all that an optimizer holds: the parameters, and the feedback that learns."""
    handle = bp.attachment_of(model)
    feedback = [] if handle is None else handle.parameters()
    named = {f"feedback {i}": p for i, p in enumerate(feedback)}
    return {**dict(model.named_parameters()), **named}


def clear(model: nn.Module) -> None:
    """Do what an optimizer's `zero_grad` does."""
    for parameter in learned(model).values():
        parameter.grad = None


def found(model: nn.Module) -> Gradients:
    """Return copies of the current gradients."""
    return {n: None if p.grad is None else p.grad.clone() for n, p in learned(model).items()}


def gradients(case: Case, model: nn.Module, batch: Batch) -> Gradients:
    """Return the gradients of one pass."""
    clear(model)
    taught(case, model, batch).backward()
    return found(model)


@cache
def plain_gradients(case: Case) -> Gradients:
    """Return the true gradients for the first batch."""
    return gradients(case, case.fresh(), case.batch())


def times(gradients: Gradients, factor: float) -> Gradients:
    """Return the gradients times a number."""
    return {n: None if g is None else factor * g for n, g in gradients.items()}


def plus(a: Gradients, b: Gradients) -> Gradients:
    """Return the sum of two passes' gradients."""
    sums = {n: (a[n], b[n]) for n in a}
    return {n: y if x is None else x if y is None else x + y for n, (x, y) in sums.items()}


def assert_same(a: Gradients, b: Gradients, rtol: float = 0, atol: float = 0) -> None:
    """Check that two passes gave the same gradients, to the last bit if no tolerance is given."""
    assert a.keys() == b.keys()
    for name, one in a.items():
        other = b[name]
        assert (one is None) == (other is None), name
        if one is not None and other is not None and not torch.equal(one, other):
            torch.testing.assert_close(
                one, other, rtol=rtol, atol=atol, msg=lambda m, name=name: f"{name}: {m}"
            )


CLOSE = {"rtol": 1e-4, "atol": 1e-6}
"""Tolerance where numbers are added in another order."""
