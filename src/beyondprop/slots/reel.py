"""One converted tensor of weights: its fixed values, its scores, and its chosen weights.

Ordinary optimizers would move the tensor away from its values, so their steps raise an error.
"""

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from beyondprop.errors import UserError
from beyondprop.slots.accumulator import Accumulator
from beyondprop.slots.kinds import Kind, Reels
from beyondprop.slots.scores import FullScores, WeightScores
from beyondprop.slots.source import Source

CHUNK = 2**17
"""How many values are compared with weights at a time, so that they stay in the CPU cache."""


@dataclass(eq=False)
class Reel:
    """One converted tensor of weights.

    Attributes:
        name: The parameter's name in the model.
        parameter: The parameter, which always holds the chosen weights.
        kind: The kind of the weights.
        source: Their fixed values.
        checked: Whether the weights are known to match the scores.
    """

    name: str
    parameter: nn.Parameter
    kind: Kind
    source: Source
    checked: bool = False
    _scores: WeightScores | None = field(default=None, init=False)

    @property
    def scores(self) -> WeightScores:
        """The scores that choose the weights; the initial scores before any optimizer step."""
        if self._scores is None:
            self._scores = FullScores(self.kind, self.source, self.parameter.detach())
        return self._scores

    def prepare(self, one_number: bool) -> None:
        """Prepare the scores for a new optimizer; they keep what was learned.

        Args:
            one_number: Whether one number for each weight suffices.
        """
        like, scores = self.parameter.detach(), self._scores
        if isinstance(scores, Accumulator) and not one_number:
            full = FullScores(self.kind, self.source, like)
            full.tensor = scores.all_scores()
            self._scores = full
        elif scores is not None:
            scores.forget_momentum()
        elif one_number:
            self._scores = Accumulator(self.source, like)
        else:
            self._scores = FullScores(self.kind, self.source, like)

    @torch.no_grad()
    def restart(self) -> None:
        """Return to the initial scores, and to the weights that they choose."""
        if self._scores is not None:
            self._scores.restart()
            self.write()
        elif isinstance(self.kind, Reels):  # an accumulator chooses the same in less memory
            Accumulator(self.source, self.parameter.detach()).write(self.parameter)
        else:
            FullScores(self.kind, self.source, self.parameter.detach()).write(self.parameter)

    @torch.no_grad()
    def write(self) -> None:
        """Write the weights that the scores choose."""
        self.scores.write(self.parameter)

    @torch.no_grad()
    def draw(self) -> None:
        """Write the weights for a forward pass in training mode."""
        self.scores.draw(self.parameter)

    @torch.no_grad()
    def check(self) -> None:
        """Check before a step that the weights match the scores.

        Raises:
            UserError: The weights were changed or moved, but not the scores.
        """
        scores, weights = self.scores, self.parameter
        if (scores.tensor.dtype, scores.tensor.device) != (weights.dtype, weights.device):
            raise UserError(
                f"'{self.name}' was moved to {weights.dtype}, {weights.device} after "
                "slots.drive(): move the model first, then create the optimizer and drive it"
            )
        if not self.checked and not self.kind.random:
            expected = torch.empty_like(weights)
            scores.write_all(expected)
            if not torch.equal(expected, weights):
                raise UserError(
                    f"'{self.name}' does not match its scores: after the model's state dict, also "
                    "load the optimizer's, which holds them; on several processes, use the same "
                    "seed for all; in a bank, call restart() before a task"
                )
        self.checked = True

    @torch.no_grad()
    def option(self) -> Tensor:
        """Return the option of each weight, int64 of the weights' shape; in a tie, the first.

        Raises:
            UserError: A weight is not an option, as something other than a driven optimizer changed
                it.
        """
        weights = self.parameter.detach().reshape(-1)  # (n,)
        step = max(1, CHUNK // self.kind.count)
        found = [
            self._option(places, weights) for places in self.source.places(weights).split(step)
        ]
        return torch.cat([weights.new_zeros(0, dtype=torch.int64), *found]).view(self.source.shape)

    def _option(self, places: Tensor, weights: Tensor) -> Tensor:
        options = self.kind.options(self.source.values_at(places, weights))  # (count, places)
        same = options == weights[places]  # (count, places)
        if not bool(same.any(0).all()):
            raise UserError(
                f"'{self.name}' holds weights that are not among its fixed values: something other "
                "than an optimizer under slots.drive() changed them"
            )
        return same.to(torch.uint8).argmax(0)  # (places,)


_guarded: WeakKeyDictionary[Reel, None] = WeakKeyDictionary()
_driven: WeakKeyDictionary[Optimizer, set[int]] = WeakKeyDictionary()
_hooks: list[Any] = []


def guard(reel: Reel) -> None:
    """Make steps of optimizers raise if they hold the weights but do not drive them."""
    _guarded[reel] = None
    if not _hooks:
        _hooks.append(register_optimizer_step_pre_hook(refuse_undriven))


def release(reel: Reel) -> None:
    """Allow any optimizer to update the weights."""
    _guarded.pop(reel, None)


def permit(optimizer: Optimizer, reels: list[Reel]) -> None:
    """Allow steps of an optimizer that drives these weights."""
    _driven[optimizer] = {id(reel.parameter) for reel in reels}


def is_driver(optimizer: Optimizer) -> bool:
    """Return whether an optimizer drives any weights."""
    return optimizer in _driven


def refuse_undriven(optimizer: Optimizer, *_: Any) -> None:
    """Raise a `UserError` if an optimizer would update chosen weights directly."""
    if not _guarded:
        return
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    held -= _driven.get(optimizer, set())
    for reel in _guarded:
        if id(reel.parameter) in held:
            raise UserError(
                f"{type(optimizer).__name__} would change '{reel.name}' to other values: "
                "call slots.drive(optimizer, model) once before training, with one optimizer "
                "for each model, or slots.finetune(model) to train the weights themselves"
            )
