"""What stands between an optimizer and a converted model: scores in the place of weights."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from beyondprop.errors import UserError
from beyondprop.slots.machine import Machine, machine_of
from beyondprop.slots.reel import Reel

KEY = "slots"
"""Where an optimizer's state keeps the scores of a weight."""


class Driver:
    """Puts scores in the place of weights for the length of an optimizer's step.

    Before a step each weight's data are its scores, and its gradient theirs; the optimizer moves
    them as it would any parameter. Behind it the weights are back, newly chosen.
    """

    def __init__(self, machine: Machine, reels: list[Reel], optimizer: Optimizer) -> None:
        self.machine, self.reels = machine, reels
        self.ids = {id(reel.parameter) for reel in reels}
        self.aside: list[tuple[Reel, Tensor, Tensor]] = []
        self.watch: list[RemovableHandle] = []
        for reel in reels:
            reel.checked = False
        self.keep(optimizer)
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
        model = self.machine.model
        if machine_of(model) is not self.machine:
            raise UserError(
                f"the slots that {type(optimizer).__name__} drives were ended by slots.freeze() or "
                "slots.finetune(): make a new optimizer"
            )
        self.put_back()  # where an earlier step failed
        for reel in self.reels:
            if reel.parameter.grad is not None:
                reel.check()
        # Should this step fail, or be broken off, whoever looks at the model next ends it.
        self.watch.append(model.register_forward_pre_hook(lambda *_: self.back(optimizer)))
        self.watch.append(model.register_state_dict_pre_hook(lambda *_: self.back(optimizer)))
        for reel in self.reels:
            weight, gradient = reel.parameter, reel.parameter.grad
            optimizer.state[weight].pop(KEY, None)  # some look whether there is any state yet
            if gradient is None:
                continue
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
        self.put_back()
        while self.watch:
            self.watch.pop().remove()
        groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        for reel in moved:
            reel.held().stepped(groups[id(reel.parameter)])
            reel.write()
        self.keep(optimizer)

    def keep(self, optimizer: Optimizer) -> None:
        """Have the optimizer's state hold the scores."""
        for reel in self.reels:
            optimizer.state[reel.parameter][KEY] = reel.held().state()

    def back(self, optimizer: Optimizer) -> None:
        """End a step that failed."""
        self.put_back()
        self.keep(optimizer)

    def put_back(self) -> None:
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
            reel.checked = True
