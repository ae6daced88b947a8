"""One converted tensor of weights: its fixed values, its scores, and what it holds by them.

Ordinary optimizers would move such a tensor off its values; here their steps are refused.
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
"""How many values are compared with weights at a time, to keep them in the cache."""


@dataclass(eq=False)
class Reel:
    """One converted tensor of weights.

    Attributes:
        name: Of the parameter in the model.
        parameter: It holds the chosen weights at all times.
        kind: What they are.
        source: Their fixed values.
        checked: Whether the weights are known to be what the scores choose.
    """

    name: str
    parameter: nn.Parameter
    kind: Kind
    source: Source
    checked: bool = False
    _scores: WeightScores | None = field(default=None, init=False)

    @property
    def scores(self) -> WeightScores:
        """What the weights are chosen by; the initial scores where no optimizer moved any yet."""
        if self._scores is None:
            self._scores = FullScores(self.kind, self.source, self.parameter.detach())
        return self._scores

    def prepare(self, one_number: bool) -> None:
        """Make the scores ready for a new optimizer; what was learned is preserved.

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
        elif isinstance(self.kind, Reels):  # one number a weight chooses the same in less memory
            Accumulator(self.source, self.parameter.detach()).write(self.parameter)
        else:
            FullScores(self.kind, self.source, self.parameter.detach()).write(self.parameter)

    @torch.no_grad()
    def write(self) -> None:
        """Write the weights that the scores choose."""
        self.scores.write(self.parameter)

    @torch.no_grad()
    def draw(self) -> None:
        """Write the weights that a forward pass in training mode takes."""
        self.scores.draw(self.parameter)

    @torch.no_grad()
    def check(self) -> None:
        """Check before a step that the weights are what the scores choose.

        Raises:
            UserError: The weights were changed or moved without them.
        """
        scores, weights = self.scores, self.parameter
        if (scores.tensor.dtype, scores.tensor.device) != (weights.dtype, weights.device):
            raise UserError(
                f"'{self.name}' was moved to {weights.dtype}, {weights.device} after "
                "slots.drive(): move the model first, then make the optimizer and drive it"
            )
        if not self.checked and not self.kind.random:
            expected = torch.empty_like(weights)
            scores.write_all(expected)
            if not torch.equal(expected, weights):
                raise UserError(
                    f"'{self.name}' is not what its scores choose: load the optimizer's state dict "
                    "too, which holds them, after the model's; on several processes give all the "
                    "same seed; in a bank call restart() before a task"
                )
        self.checked = True

    @torch.no_grad()
    def option(self) -> Tensor:
        """Return which option each weight is, int64 of the weights' shape; of equal ones the first.

        Raises:
            UserError: Some weight is none: something else than a driven optimizer changed it.
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
                f"'{self.name}' holds weights that are not among its fixed values: something else "
                "than an optimizer under slots.drive() changed them"
            )
        return same.to(torch.uint8).argmax(0)  # (places,)


_guarded: WeakKeyDictionary[Reel, None] = WeakKeyDictionary()
_driven: WeakKeyDictionary[Optimizer, set[int]] = WeakKeyDictionary()
_hooks: list[Any] = []


def guard(reel: Reel) -> None:
    """Refuse from now on the steps of optimizers that hold the weights and do not drive them."""
    _guarded[reel] = None
    if not _hooks:
        _hooks.append(register_optimizer_step_pre_hook(refuse_undriven))


def release(reel: Reel) -> None:
    """Let any optimizer move the weights."""
    _guarded.pop(reel, None)


def permit(optimizer: Optimizer, reels: list[Reel]) -> None:
    """Let an optimizer step that drives these weights."""
    _driven[optimizer] = {id(reel.parameter) for reel in reels}


def is_driver(optimizer: Optimizer) -> bool:
    """Return whether an optimizer drives any weights."""
    return optimizer in _driven


def refuse_undriven(optimizer: Optimizer, *_: Any) -> None:
    """Raise a `UserError` where an optimizer would move chosen weights as if they were free."""
    if not _guarded:
        return
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    held -= _driven.get(optimizer, set())
    for reel in _guarded:
        if id(reel.parameter) in held:
            raise UserError(
                f"{type(optimizer).__name__} would move '{reel.name}' off its fixed values: "
                "call slots.drive(optimizer, model) once before training, with one optimizer "
                "for each model, or slots.finetune(model) to train the weights themselves"
            )
