"""Optimizers that train the scores of a converted model instead of its weights."""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from beyondprop.errors import UserError, check_type
from beyondprop.slots.accumulator import one_number_suffices
from beyondprop.slots.machine import Machine, machine_of, required
from beyondprop.slots.reel import Reel, is_driver, permit

KEY = "slots"
"""The key of a weight's scores in an optimizer's state."""

Driven = TypeVar("Driven", bound=Optimizer)


def drive(optimizer: Driven, model: nn.Module) -> Driven:
    """Make an optimizer train the scores of a converted model instead of its weights.

    Any optimizer over ``model.parameters()`` works that starts without state and takes no closure
    (which rules out Adagrad and LBFGS), with its schedulers, parameter groups and gradient scaling;
    parameters that were not converted learn as before. Its state dict holds the scores, so that a
    checkpoint of model and optimizer is complete.

    Greedy slot machines under `torch.optim.SGD` need one number for each weight instead of K
    scores, and learn the same weights (see `Accumulator`); in all other cases there is a score for
    each fixed value.

    Args:
        optimizer: A new optimizer over the model's parameters.
        model: A converted model.

    Returns:
        The same optimizer.

    Raises:
        UserError: The model was not converted, or the optimizer holds none of its weights.
    """
    machine, reels = _drivable(optimizer, model)
    for reel in reels:
        reel.prepare(one_number_suffices(reel.kind, optimizer))
    Driver(machine, reels, optimizer)
    return optimizer


def driven(optimizer: Driven, model: nn.Module) -> Driven:
    """Return an optimizer, which drives the model's slots if it has any."""
    return optimizer if machine_of(model) is None else drive(optimizer, model)


def drive_scores(optimizer: Driven, model: nn.Module) -> Driven:
    """Like `drive`, but always with a score for each fixed value: the plain form."""
    machine, reels = _drivable(optimizer, model)
    for reel in reels:
        reel.prepare(one_number=False)
    Driver(machine, reels, optimizer)
    return optimizer


def _drivable(optimizer: Optimizer, model: nn.Module) -> tuple[Machine, list[Reel]]:
    """Return a model's machine and its reels whose weights the optimizer holds."""
    check_type("the optimizer", optimizer, Optimizer, "a torch.optim.Optimizer")
    machine = required(model)
    present = {id(p) for p in machine.model.parameters()}
    gone = [reel.name for reel in machine.reels if id(reel.parameter) not in present]
    if gone:
        raise UserError(
            f"'{gone[0]}' is no longer a parameter of the model (it was replaced, or is computed "
            "from others by weight normalisation), so its slots would have no effect: undo that, "
            f"or leave it out with exclude=['{gone[0].rpartition('.')[0]}'] in slots.convert"
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    reels = [reel for reel in machine.reels if id(reel.parameter) in held]
    if not reels:
        raise UserError(
            f"the optimizer holds none of the {len(machine.reels)} converted weights: create it "
            "over model.parameters() after slots.convert(model)"
        )
    if is_driver(optimizer):
        raise UserError("the optimizer already drives a model: create one for each model")
    if any(optimizer.state.get(reel.parameter) for reel in reels):
        raise UserError(
            f"{type(optimizer).__name__} already has state for each weight, which would not fit "
            "the scores: use a new optimizer that starts without state, such as SGD or Adam"
        )
    return machine, reels


class Driver:
    """Replaces weights by their scores during an optimizer's step.

    Before a step, each parameter receives its scores as data and the scores' gradient; the
    optimizer updates them like any parameter. After the step, the weights are chosen again and
    restored.
    """

    def __init__(self, machine: Machine, reels: list[Reel], optimizer: Optimizer) -> None:
        self.machine, self.reels = machine, reels
        self.replaced: list[tuple[Reel, Tensor, Tensor]] = []  # with the weights and gradients
        self.recovery: list[RemovableHandle] = []
        for reel in reels:
            reel.checked = False
        permit(optimizer, reels)
        self.save(optimizer)
        optimizer.register_step_pre_hook(self.before_step)
        optimizer.register_step_post_hook(self.after_step)
        optimizer.register_load_state_dict_post_hook(self.after_load)

    @torch.no_grad()
    def before_step(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> None:
        """Replace weights and gradients by the scores and their gradients."""
        self._refuse(optimizer, (*arguments[1:], *keywords.values()))
        self.put_back()  # if an earlier step failed
        for reel in self.reels:
            if reel.parameter.grad is not None:
                reel.check()
        # If this step fails or is interrupted, the next use of the model restores its weights.
        model = self.machine.model
        self.recovery.append(model.register_forward_pre_hook(lambda *_: self.recover(optimizer)))
        self.recovery.append(model.register_state_dict_pre_hook(lambda *_: self.recover(optimizer)))
        for reel in self.reels:
            weight, gradient = reel.parameter, reel.parameter.grad
            optimizer.state[weight].pop(KEY, None)  # some optimizers test whether there is state
            if gradient is None:
                continue
            scores = reel.scores
            taught = scores.gradient(gradient)  # of the scores' shape
            self.replaced.append((reel, weight.data, gradient))
            weight.grad = None
            weight.data = scores.tensor
            weight.grad = taught

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer, _arguments: Any, _keywords: Any) -> None:
        """Restore the weights, and choose them again."""
        moved = [reel for reel, _, _ in self.replaced]
        self.put_back()
        while self.recovery:
            self.recovery.pop().remove()
        groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        for reel in moved:
            reel.scores.stepped(groups[id(reel.parameter)])
            reel.write()
        self.save(optimizer)

    @torch.no_grad()
    def after_load(self, optimizer: Optimizer) -> None:
        """Load the scores from the optimizer's new state, and choose the weights by them."""
        for reel in self.reels:
            state = optimizer.state[reel.parameter].get(KEY)
            if state is None or state.keys() != reel.scores.state().keys():
                raise UserError(
                    "the state dict is not one of an optimizer that drives these slots: save and "
                    "load it after slots.drive(optimizer, model)"
                )
            reel.scores.load(state)
            reel.write()
            reel.checked = True

    def save(self, optimizer: Optimizer) -> None:
        """Store the scores in the optimizer's state."""
        for reel in self.reels:
            optimizer.state[reel.parameter][KEY] = reel.scores.state()

    def recover(self, optimizer: Optimizer) -> None:
        """Clean up after a step that failed."""
        self.put_back()
        self.save(optimizer)

    def put_back(self) -> None:
        """Restore the weights and their gradients."""
        for reel, data, gradient in self.replaced:
            weight = reel.parameter
            reel.scores.tensor = weight.data
            weight.grad = None
            weight.data = data
            weight.grad = gradient
        self.replaced = []

    def _refuse(self, optimizer: Optimizer, arguments: tuple[Any, ...]) -> None:
        if any(callable(value) for value in arguments):
            raise UserError(
                "an optimizer that runs the model inside its step, through a closure, cannot drive "
                "slots: use one that does not, such as SGD or Adam"
            )
        if machine_of(self.machine.model) is not self.machine:
            raise UserError(
                f"slots.freeze() or slots.finetune() removed the slots that "
                f"{type(optimizer).__name__} drives: create a new optimizer"
            )
