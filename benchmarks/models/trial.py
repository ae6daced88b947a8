"""The effect of one step of a rule on a model: the share of its hidden weights, or a refusal."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

import beyondprop as bp
from benchmarks.models.case import Batch, Case
from beyondprop import slots
from beyondprop.core import Rule
from beyondprop.layers import NORMS, is_no_matrix
from beyondprop.rules.local.objectives import CrossEntropy

ENOUGH = 0.9
"""The share of hidden weights below which a rule counts as refused."""

Gradients = dict[str, Tensor]


@dataclass(frozen=True)
class Trial:
    """The result of a rule on a model.

    Attributes:
        share: The share of the hidden weights with a gradient in backprop that the rule teaches.
        refused: Why the rule is refused, empty if it isn't.
    """

    share: float
    refused: str = ""

    @property
    def taught(self) -> bool:
        """Whether the pair counts as taught."""
        return self.share >= ENOUGH


def trial(case: Case, rule: str) -> Trial:
    """Return the result of a rule on a model."""
    weights = hidden_weights(case)
    try:
        found = TEACH[rule](case)
    except bp.UserError as error:
        return Trial(0.0, str(error))
    taught = [name for name in weights if name in found]
    whole = sum(weights.values())
    return Trial(sum(weights[name] for name in taught) / whole)


def hidden_weights(case: Case) -> dict[str, int]:
    """Return the sizes of the hidden weights that have a gradient in one step of backprop.

    Biases, norms and embeddings do not count, nor do the modules that make the output.
    """
    part = case.taught(case.model())
    aside = [
        id(parameter)
        for module in part.modules()
        if isinstance(module, (*NORMS, nn.Embedding))
        for parameter in module.parameters(recurse=False)
    ]
    weights = {
        name: parameter.numel()
        for name, parameter in part.named_parameters()
        if not (case.is_head(name) or id(parameter) in aside or is_no_matrix(parameter))
    }
    reached = backprop(case)
    return {name: size for name, size in weights.items() if bool(reached[name].any())}


def backprop(case: Case) -> Gradients:
    """Return the exact gradients."""
    model = case.model()
    case.loss_of(model, case.batch()).backward()
    return gradients(case.taught(model))


def by_blocks(rule: Callable[[Case], Rule], case: Case) -> set[str]:
    """Return the names of the weights that a rule of blocks teaches in the backward pass."""
    model, batch = case.model(), case.batch()
    handle = case.attach(model, rule(case))
    with targets(handle, batch):
        loss = case.loss_of(model, batch)
    loss.backward()
    return other(gradients(case.taught(model)), backprop(case))


def by_layers(kind: type[bp.FeedbackAlignment | bp.SignSymmetry], case: Case) -> set[str]:
    """Return the names of the weights that a rule of layers teaches."""
    model = case.model()
    bp.attach(model, kind(exact=case.exact))
    case.loss_of(model, case.batch()).backward()
    return other(gradients(case.taught(model)), backprop(case))


def at_once(case: Case) -> set[str]:
    """Return the names of the weights that a local loss teaches during the forward pass."""
    model, batch = case.model(), case.batch()
    part = case.taught(model)
    handle = case.attach(model, local_loss(case))
    with targets(handle, batch):
        case.loss_of(model, batch)  # creates the heads
        before = {name: p.detach().clone() for name, p in part.named_parameters()}
        parameters = [*model.parameters(), *handle.parameters()]
        handle.follow(bp.Immediate(torch.optim.SGD(parameters, lr=1.0)))
        case.loss_of(model, batch)
    moved = {name: before[name] - p.detach() for name, p in part.named_parameters()}
    return other(moved, backprop(case))


def by_slots(case: Case) -> set[str]:
    """Return the names of the weights that learn by a choice among fixed values."""
    model = case.model()
    machine = slots.convert(model, slots=4, exclude=case.exact, seed=0)
    optimizer = slots.drive(torch.optim.SGD(model.parameters(), lr=0.1), model)
    case.loss_of(model, case.batch()).backward()
    optimizer.step()
    chosen = {id(reel.parameter) for reel in machine.reels}
    return {
        name
        for name, parameter in case.taught(model).named_parameters()
        if id(parameter) in chosen and parameter.grad is not None and bool(parameter.grad.any())
    }


TEACH: Mapping[str, Callable[[Case], set[str]]] = {
    "dfa": partial(by_blocks, lambda _case: bp.DirectFeedbackAlignment()),
    "fa": partial(by_layers, bp.FeedbackAlignment),
    "usf": partial(by_layers, bp.SignSymmetry),
    "dgl": at_once,
    "slots": by_slots,
}
"""Functions that find the weights that a rule teaches, by its short name."""


def local_loss(case: Case) -> bp.LocalLoss:
    """Return the local loss for a model."""
    return bp.LocalLoss(CrossEntropy(), classes=case.classes)


def targets(handle: bp.Attachment, batch: Batch) -> AbstractContextManager[object]:
    """Return the context for calling a model whose targets are not an argument."""
    return nullcontext() if batch.targets is None else handle.targets(batch.targets)


def gradients(model: nn.Module) -> Gradients:
    """Return the gradients by name; zeros if there is none."""
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in model.named_parameters()
    }


def other(found: Gradients, exact: Gradients) -> set[str]:
    """Return the names of the weights whose gradient exists and differs from backprop's."""
    return {
        name
        for name, gradient in found.items()
        if bool(gradient.any())
        and bool(gradient.isfinite().all())
        and (gradient - exact[name]).norm() > 1e-3 * exact[name].norm()
    }
