"""Having an optimizer move the scores of a converted model in the place of its weights."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from ..errors import UserError
from . import accumulator, guard
from .accumulator import Accumulator
from .machine import Machine, Reel, machine_of, required
from .scores import Scores

Driven = TypeVar("Driven", bound=Optimizer)
KEY = "slots"
"""Where an optimizer's state keeps the scores of a weight."""


def drive(optimizer: Driven, model: nn.Module) -> Driven:
    """Have an optimizer move the scores of a converted model in the place of its weights.

    Any optimizer over ``model.parameters()`` will do, with its schedulers, parameter groups and
    gradient scaling; parameters that were not converted learn as ever. Its state dict holds the
    scores, so that a checkpoint of model and optimizer is whole.

    Greedy slot machines under `torch.optim.SGD` keep one number for each weight instead of K
    scores, and learn the same weights (see `Accumulator`); all else keeps a score for each fixed
    value.

    Args:
        optimizer: Over the model's parameters, newly made.
        model: A converted one.

    Returns:
        The same optimizer.

    Raises:
        UserError: The model was not converted, or the optimizer holds none of its weights.
    """
    return _drive(optimizer, model, accumulator.fits)


def driven(optimizer: Driven, model: nn.Module) -> Driven:
    """Return an optimizer, driving the model's slots where it has any."""
    return optimizer if machine_of(model) is None else drive(optimizer, model)


def drive_scores(optimizer: Driven, model: nn.Module) -> Driven:
    """Like `drive`, with a score for each fixed value whatever the optimizer: the plain form."""
    return _drive(optimizer, model, lambda *_: False)


def _drive(optimizer: Driven, model: nn.Module, fits: Any) -> Driven:
    machine = required(model)
    held = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    reels = [reel for reel in machine.reels if id(reel.parameter) in held]
    if not reels:
        raise UserError(
            f"the optimizer holds none of the {len(machine.reels)} converted weights: make it over "
            "model.parameters() after slots.convert(model)"
        )
    if guard.driver_of(optimizer) is not None:
        raise UserError("the optimizer drives a model already: make one for each model")
    if any(optimizer.state.get(reel.parameter) for reel in reels):
        raise UserError(
            f"{type(optimizer).__name__} has numbers for each weight already, which would not fit "
            "the scores: take an optimizer that begins with none, such as SGD or Adam, newly made"
        )
    for reel in reels:
        _give_scores(reel, fits(reel.kind, optimizer))
    driver = Driver(machine, reels, optimizer)
    guard.allow(optimizer, driver)
    return optimizer


def _give_scores(reel: Reel, linear: bool) -> None:
    """Have a weight keep one number for its scores or all of them; learned scores stay learned."""
    like = reel.parameter.detach()
    if isinstance(reel.scores, Accumulator) and not linear:
        learned = reel.scores.all_scores()
        reel.scores = Scores(reel.kind, reel.source, like)
        reel.scores.tensor = learned
    elif isinstance(reel.scores, Accumulator):
        reel.scores.rest()
    elif reel.scores is None:
        form = Accumulator if linear else Scores
        reel.scores = form(reel.kind, reel.source, like)


class Driver:
    """Puts scores in the place of weights for the length of an optimizer's step.

    Before a step each weight's data are its scores, and its gradient theirs; the optimizer moves
    them as it would any parameter. Behind it the weights are back, newly chosen.
    """

    def __init__(self, machine: Machine, reels: list[Reel], optimizer: Optimizer) -> None:
        self.machine, self.reels = machine, reels
        self.aside: list[tuple[Reel, Tensor, Tensor]] = []
        self.watch: list[RemovableHandle] = []
        for reel in reels:
            optimizer.state[reel.parameter][KEY] = reel.held().state()
        optimizer.register_step_pre_hook(self.before)
        optimizer.register_step_post_hook(self.after)
        optimizer.register_load_state_dict_post_hook(self.loaded)

    @torch.no_grad()
    def before(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> None:
        """Put the scores and their gradients in place."""
        if any(callable(value) for value in (*arguments[1:], *keywords.values())):
            raise UserError(
                "an optimizer that runs the model inside its step, by a closure, cannot drive "
                "slots: take one that does not, such as SGD or Adam"
            )
        self.back()  # where an earlier step failed
        model = self.machine.model  # should this one fail, or be broken off, the next look ends it
        self.watch.append(model.register_forward_pre_hook(lambda *_: self.back()))
        self.watch.append(model.register_state_dict_pre_hook(lambda *_: self.back()))
        for reel in self.reels:
            weight, gradient = reel.parameter, reel.parameter.grad
            optimizer.state[weight].pop(KEY, None)  # some look whether there is any state yet
            if gradient is None:
                continue
            reel.check()
            scores = reel.held()
            taught = scores.gradient(gradient)
            self.aside.append((reel, weight.data, gradient))
            weight.grad = None
            weight.data = scores.tensor
            weight.grad = taught

    @torch.no_grad()
    def after(self, optimizer: Optimizer, _arguments: Any, _keywords: Any) -> None:
        """Put the weights back and choose them anew."""
        moved = [reel for reel, _, _ in self.aside]
        self.back()
        while self.watch:
            self.watch.pop().remove()
        groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        for reel in moved:
            reel.held().stepped(groups[id(reel.parameter)])
            reel.write()
        for reel in self.reels:
            optimizer.state[reel.parameter][KEY] = reel.held().state()

    def back(self) -> None:
        """Put the weights and their gradients back."""
        for reel, data, gradient in self.aside:
            weight = reel.parameter
            reel.held().tensor = weight.data
            weight.grad = None
            weight.data = data
            weight.grad = gradient
        self.aside = []

    @torch.no_grad()
    def loaded(self, optimizer: Optimizer) -> None:
        """Take the scores from a state dict that was loaded, and choose the weights by them."""
        for reel in self.reels:
            state = optimizer.state[reel.parameter].get(KEY)
            if state is None or state.keys() != reel.held().state().keys():
                raise UserError(
                    "the state dict is not one of an optimizer that drives these slots: save and "
                    "load it after slots.drive(optimizer, model)"
                )
            reel.held().load(state)
            reel.write()
            reel.loaded = False
