"""Having an optimizer move the scores of a converted model in the place of its weights."""

from typing import Any, TypeVar

from torch import nn
from torch.optim import Optimizer

from beyondprop.errors import UserError
from beyondprop.slots import accumulator, guard
from beyondprop.slots.accumulator import Accumulator
from beyondprop.slots.driver import Driver
from beyondprop.slots.machine import machine_of, required
from beyondprop.slots.reel import Reel
from beyondprop.slots.scores import Scores

Driven = TypeVar("Driven", bound=Optimizer)


def drive(optimizer: Driven, model: nn.Module) -> Driven:
    """Have an optimizer move the scores of a converted model in the place of its weights.

    Any optimizer over ``model.parameters()`` will do that begins without state and takes no
    closure (so not Adagrad, nor LBFGS), with its schedulers, parameter groups and
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
