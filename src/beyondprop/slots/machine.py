"""A converted model's slots: which weights are chosen, among what, and by which scores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from beyondprop.errors import UserError
from beyondprop.slots import guard
from beyondprop.slots.reel import Loaded, Reel
from beyondprop.slots.summary import ConvertReport

ATTRIBUTE = "_slots"


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
        for reel in self.reels:
            layer = self.model.get_submodule(reel.name.rpartition(".")[0])
            self._hooks.append(layer.register_load_state_dict_post_hook(Loaded(reel)))
        if any(reel.kind.random for reel in self.reels):
            self._hooks.append(self.model.register_forward_pre_hook(draw_or_write))
            self._hooks.append(self.model.register_state_dict_pre_hook(write_first))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        guard.watch(self)

    def restart(self) -> None:
        """Take the initial scores again, as if nothing had been learned.

        An optimizer that drives the model would keep its momentum: make a new one.
        """
        for reel in self.reels:
            reel.restart()

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


def random_reels(model: nn.Module) -> Iterator[Reel]:
    """Yield the reels that draw their weights."""
    machine = machine_of(model)
    if machine is not None:
        yield from (reel for reel in machine.reels if reel.kind.random)
