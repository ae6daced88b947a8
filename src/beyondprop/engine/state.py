"""The state that an attachment keeps between forward passes: learned feedback and a count."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter, is_lazy

from beyondprop._torch.eager import eager
from beyondprop._torch.processes import processes
from beyondprop._torch.versions import version
from beyondprop.core import Block, Mode
from beyondprop.engine.fixed import COUNTERS, Fixed
from beyondprop.errors import UserError

PASSES = "passes"


class Stateful(Protocol):
    """An object with a state: a block (`Taught`), a weight (`AtWeight`) or a model."""

    state: dict[str, Tensor]

    def owners(self) -> Sequence[Tensor]:
        """Return the parameters that learn in addition to the feedback."""


class LearnedState:
    """The state of an attachment in addition to the model's.

    Attributes:
        mode: Counts the taught forward passes in training mode.
        stateful: Objects that have a state or change with each pass, by name.
        alone: For each rule that does not work on several processes, the reason.
        fixed: The fixed projections, stored by their seeds.
        averaged: Whether processes stay in step nevertheless: they average all gradients
            (`DataParallel`), or each has different blocks (`Pipeline`).
        unsettled: The checks of learned feedback that has not been updated yet.
    """

    def __init__(self, mode: Mode, blocks: Sequence[Block] = ()) -> None:
        self.mode = mode
        self.fixed = Fixed(blocks)
        self.stateful: dict[str, Stateful] = {}
        self.alone = {
            type(block.rule).__name__: block.rule.traits.alone
            for block in blocks
            if block.rule.traits.alone
        }
        self.averaged = False
        self.unsettled: dict[str, OptimizerCheck] = {}

    @property
    def needed(self) -> bool:
        """Whether the beginning of a pass needs a check or a count."""
        return bool(self.stateful or self.alone)

    def hold(self, name: str, each: Stateful) -> None:
        """Register the state of a block, a weight or a model under its name."""
        self.stateful[name] = each
        if any(isinstance(tensor, nn.Parameter) for tensor in each.state.values()):
            self.unsettled[name] = OptimizerCheck()

    def check(self) -> None:
        """Check that learned feedback is updated and is in the right place.

        Raises:
            UserError: Learned feedback does not learn, learns on one of several processes, or is on
                another device than its layer.
        """
        if self.alone and not self.averaged and processes() > 1:
            rule, reason = next(iter(self.alone.items()))
            raise UserError(f"{rule} does not teach on several processes: {reason}")
        for name, each in self.stateful.items():
            _check_place(name, each)
        for name in list(self.unsettled):
            if self.unsettled[name].settled(name, self.stateful[name]):
                del self.unsettled[name]

    # Not compiled: the count would be a constant, and every pass would recompile the graph.
    @eager
    def begin_uncompiled(self, training: bool) -> None:
        """Check, and count a pass of a compiled model."""
        self.check()
        self.mode.number += training

    def parameters(self) -> list[nn.Parameter]:
        """Return the learned feedback that an optimizer must update."""
        return [
            tensor
            for each in self.stateful.values()
            for tensor in each.state.values()
            if isinstance(tensor, nn.Parameter)
        ]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state as tensors, with the seeds of fixed feedback."""
        found = {
            f"{name}.{key}": tensor.detach()
            for name, each in self.stateful.items()
            for key, tensor in each.state.items()
            if not is_lazy(tensor)
        }
        counted = {PASSES: torch.tensor(self.mode.number), **found} if self.needed else {}
        return counted | self.fixed.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load a state that `state_dict` returned.

        Raises:
            UserError: It belongs to another attachment, or was saved with other fixed feedback.
        """
        self.fixed.check(state)
        here = {f"{n}.{key}": t for n, h in self.stateful.items() for key, t in h.state.items()}
        names = {*self.fixed.state_dict(), *((PASSES, *here) if self.needed else ())}
        unmade = {name for name, tensor in here.items() if is_lazy(tensor)} | {COUNTERS}
        if not names - unmade <= set(state) <= names | {COUNTERS}:
            raise UserError(
                "this state was saved by another attachment: it holds "
                f"{sorted(state)}, but this one has {sorted(names)}; attach the same rules to the "
                "same model first"
            )
        for name, own in here.items():
            if name in state:
                _check_fits(own, state[name], name)
        self.fixed.resume(state)
        self.mode.number = int(state.get(PASSES, torch.tensor(0)))
        for name, each in self.stateful.items():
            for key, own in each.state.items():
                if f"{name}.{key}" in state:
                    each.state[key] = _taken_over(own, state[f"{name}.{key}"])

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Restore everything on exit; inside, tensors are replaced, never modified in place."""
        before = self.mode.number, [(h, dict(h.state)) for h in self.stateful.values()]
        counters = self.fixed.counters()
        # Inside, weights may change temporarily, which shows nothing about an optimizer.
        unsettled, self.unsettled = self.unsettled, {}
        try:
            yield
        finally:
            self.unsettled = unsettled
            self.mode.number = before[0]
            for projection, counter in counters:
                projection.resume(counter)
            for each, state in before[1]:
                each.state.update(state)


def _check_fits(own: Tensor, saved: Tensor, name: str) -> None:
    if not is_lazy(own) and own.numel() and own.shape != saved.shape:
        raise UserError(
            f"'{name}' was saved with shape {tuple(saved.shape)}, but here it has shape "
            f"{tuple(own.shape)}"
        )


def _taken_over(own: Tensor, saved: Tensor) -> Tensor:
    if isinstance(own, UninitializedParameter):
        own.materialize(saved.shape)
    if isinstance(own, nn.Parameter):  # an optimizer holds this very tensor
        with torch.no_grad():
            own.copy_(saved)
        return own
    return saved.to(own.device, own.dtype, copy=True)


def _check_place(name: str, each: Stateful) -> None:
    """Check that the feedback is on the device of its layer."""
    owner = next(iter(each.owners()), None)
    for tensor in each.state.values():
        kept = tensor.is_floating_point() and not is_lazy(tensor) and tensor.numel()
        if owner is not None and kept and tensor.device != owner.device:
            raise UserError(
                f"the feedback of '{name}' is on {tensor.device}, its layer on {owner.device}: "
                "move the model before you attach rules, so call remove() and attach again"
            )


class OptimizerCheck:
    """Checks that an optimizer updates learned feedback and clears its gradient, as it does for the
    weights."""

    def __init__(self) -> None:
        self._before: tuple[int, int, list[int]] | None = None

    def settled(self, name: str, each: Stateful) -> bool:
        """Inspect the feedback at the beginning of a pass; return whether it is known to learn.

        Raises:
            UserError: An optimizer updates and clears the weights, but not the feedback.
        """
        learned: Tensor = next(t for t in each.state.values() if isinstance(t, nn.Parameter))
        if is_lazy(learned):
            return False
        waits, before = learned.grad is not None, self._before
        # Each backward pass increases a gradient's version; only a new gradient has no higher one.
        now, added = version(learned), version(learned.grad) if learned.grad is not None else -1
        if before is not None and now != before[0] and added <= before[1]:
            return True
        owners = each.owners()
        if waits and owners and all(owner.grad is None for owner in owners):
            raise _orphaned(name)
        moves = [version(owner) for owner in owners]
        self._before = now, added, moves
        if before is not None and now == before[0] and waits and moves != before[2]:
            raise _orphaned(name)
        return False


def _orphaned(name: str) -> UserError:
    return UserError(
        f"the feedback of '{name}' learns too, but no optimizer clears its gradient and updates "
        "it: build the optimizer over [*model.parameters(), *handle.parameters()] and call its "
        "zero_grad()"
    )


def clears_feedback(model: nn.Module, state: LearnedState) -> "list[ClearsFeedback]":
    """Make the model's `zero_grad` clear the learned state of its rules, if they have any."""
    own = "zero_grad" in vars(model)
    return [ClearsFeedback(model, state)] if state.parameters() and not own else []


class ClearsFeedback:
    """Replaces the model's `zero_grad`, so that it clears the learned state of rules too.

    Args:
        model: The model.
        state: The state of its rules.
    """

    def __init__(self, model: nn.Module, state: LearnedState) -> None:
        self.model, self.state = model, state
        vars(model)["zero_grad"] = self

    def __call__(self, set_to_none: bool = True) -> None:
        """Clear the gradients of the model and of the learned state of its rules."""
        type(self.model).zero_grad(self.model, set_to_none)
        for parameter in self.state.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    def remove(self) -> None:
        """Restore the model's own method."""
        if vars(self.model).get("zero_grad") is self:
            del vars(self.model)["zero_grad"]
