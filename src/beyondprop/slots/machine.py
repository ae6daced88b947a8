"""A converted model's slots: which weights are chosen, among what, and by which scores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..errors import UserError
from . import guard
from .kinds import Kind
from .scores import Scores
from .source import Source
from .summary import ConvertReport

ATTRIBUTE = "_slots"
CHUNK = 2**16
"""How many weights are compared with their values at a time."""


@dataclass(eq=False)
class Reel:
    """One converted tensor of weights.

    Attributes:
        name: Of the parameter in the model.
        parameter: It holds the chosen weights at all times.
        kind: What they are.
        source: Their fixed values.
        scores: What they are chosen by; made when it is first needed.
        loaded: Whether weights were loaded from a state dict, and no scores after that.
    """

    name: str
    parameter: nn.Parameter
    kind: Kind
    source: Source
    scores: Scores | None = None
    loaded: bool = False

    def held(self) -> Scores:
        """Return the scores; the initial ones where no optimizer has moved any yet."""
        if self.scores is None:
            self.scores = Scores(self.kind, self.source, self.parameter.detach())
        return self.scores

    @torch.no_grad()
    def write(self) -> None:
        """Write the weights that the scores choose."""
        self.held().write(self.parameter)

    @torch.no_grad()
    def check(self) -> None:
        """See before a step that the scores are those of the weights.

        Raises:
            UserError: The weights were loaded without them, or moved elsewhere without them.
        """
        scores, weights = self.held(), self.parameter
        if (scores.tensor.dtype, scores.tensor.device) != (weights.dtype, weights.device):
            raise UserError(
                f"'{self.name}' was moved to {weights.dtype}, {weights.device} after "
                "slots.drive(): move the model first, then make the optimizer and drive it"
            )
        if self.loaded and not self.kind.random:
            expected = torch.empty_like(weights)
            scores.write_all(expected)
            if not torch.equal(expected, weights):
                raise UserError(
                    f"'{self.name}' was loaded from a state dict without its scores, which the "
                    "optimizer's state dict holds: load that too, after the model's"
                )
        self.loaded = False

    @torch.no_grad()
    def draw(self) -> None:
        """Write the weights that a forward pass in training mode takes."""
        self.held().draw(self.parameter)

    @torch.no_grad()
    def option(self) -> Tensor:
        """Return which option each weight is, int64 of the weights' shape; of equal ones the first.

        Raises:
            UserError: Some weight is none: something else than a driven optimizer changed it.
        """
        weights = self.parameter.detach().reshape(-1)
        found = [
            self._option(places, weights) for places in self.source.places(weights).split(CHUNK)
        ]
        return torch.cat([weights.new_zeros(0, dtype=torch.int64), *found]).view(self.source.shape)

    def _option(self, places: Tensor, weights: Tensor) -> Tensor:
        options = self.kind.options(self.source.values_at(places, weights))
        same = options == weights[places]
        if not bool(same.any(0).all()):
            raise UserError(
                f"'{self.name}' holds weights that are not among its fixed values: something else "
                "than an optimizer under slots.drive() changed them"
            )
        return same.to(torch.uint8).argmax(0)


@dataclass(eq=False)
class Machine:
    """All converted weights of a model. Made by `convert`.

    Attributes:
        model: The model, changed in place and never wrapped.
        seed: With the parameters' names it decides all fixed values.
        reels: One for each converted parameter.
        report: What was converted and what was left alone; print it.
        plain: Whether biases and the affine part of normalisation were left in.
    """

    model: nn.Module
    seed: int
    reels: Sequence[Reel]
    report: ConvertReport
    plain: bool
    _hooks: list[RemovableHandle] = field(default_factory=list)

    def __post_init__(self) -> None:
        vars(self.model)[ATTRIBUTE] = self
        guard.watch(self)
        self._hooks.append(self.model.register_load_state_dict_post_hook(loaded))
        if any(reel.kind.random for reel in self.reels):
            self._hooks.append(self.model.register_forward_pre_hook(draw_or_write))
            self._hooks.append(self.model.register_state_dict_pre_hook(write_first))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        guard.watch(self)

    @torch.no_grad()
    def restart(self) -> None:
        """Take the initial scores again, as if nothing had been learned.

        An optimizer that drives the model would keep its momentum: make a new one.
        """
        for reel in self.reels:
            if reel.scores is None:  # none to keep: those made here are gone again at once
                Scores(reel.kind, reel.source, reel.parameter.detach()).write(reel.parameter)
            else:
                reel.scores.restart()
                reel.write()

    def remove(self) -> None:
        """Leave an ordinary model, with the chosen weights."""
        self.write_random()
        for hook in self._hooks:
            hook.remove()
        vars(self.model).pop(ATTRIBUTE, None)
        guard.forget(self)

    def write_random(self) -> None:
        """Have weights that were drawn for a forward pass be those with the highest scores."""
        for reel in self.reels:
            if reel.kind.random:
                reel.write()


def machine_of(model: nn.Module) -> Machine | None:
    """Return what `convert` made of a model, None of an ordinary one."""
    found: Machine | None = vars(model).get(ATTRIBUTE)
    return found


def required(model: nn.Module) -> Machine:
    """Return the model's machine.

    Raises:
        UserError: The model was not converted.
    """
    machine = machine_of(model)
    if machine is None:
        raise UserError(f"{type(model).__name__} has no slots: call slots.convert(model) first")
    return machine


def draw_or_write(model: nn.Module, _inputs: Any) -> None:
    """Before a forward pass: draw weights in training mode, else take the best ones."""
    for reel in random_reels(model):
        if model.training:
            reel.draw()
        else:
            reel.write()


def write_first(model: nn.Module, _prefix: str, _keep_vars: bool) -> None:
    """Before a state dict is taken: the best weights are saved, not drawn ones."""
    for reel in random_reels(model):
        reel.write()


def loaded(model: nn.Module, _keys: Any) -> None:
    """After a state dict was loaded: the scores are those of other weights, it may be."""
    machine = machine_of(model)
    for reel in () if machine is None else machine.reels:
        reel.loaded = reel.scores is not None


def random_reels(model: nn.Module) -> Iterator[Reel]:
    """Yield the reels that draw their weights."""
    machine = machine_of(model)
    if machine is not None:
        yield from (reel for reel in machine.reels if reel.kind.random)
