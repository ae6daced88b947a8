"""A converted model's slots: its converted weights, their fixed values and their scores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from beyondprop.errors import UserError, check_type
from beyondprop.slots.kinds import Kind
from beyondprop.slots.reel import Reel, guard, release

ATTRIBUTE = "_slots"


@dataclass(frozen=True)
class ConvertReport:
    """Which parameters were converted, removed or left unchanged, and why.

    Attributes:
        model: The name of the model's class.
        kind: The kind of the converted weights.
        reels: The converted parameters.
        removed: Names of removed parameters: biases, and affine parameters of norms.
        left: Sentences about parameters that learn as before, or not at all.
    """

    model: str
    kind: Kind
    reels: Sequence[Reel] = field(repr=False)
    removed: Sequence[str]
    left: Sequence[str]

    def __str__(self) -> str:
        cells = [("weight", "shape", "values within", "bits")]
        for reel in self.reels:
            shape, width = "×".join(map(str, reel.source.shape)), f"±{reel.source.deviation:.4g}"
            cells.append((reel.name, shape, width, str(self.kind.bits)))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}"
            for a, b, c, d in cells
        ]
        notes = [f"removed: {', '.join(self.removed)}"] if self.removed else []
        title = f"{self.model}: {len(self.reels)} weights are now {self.kind}"
        return "\n".join([title, *lines, *notes, *self.left])


@dataclass(eq=False)
class Machine:
    """All converted weights of a model, created by `convert`.

    Attributes:
        model: The model, changed in place and never wrapped.
        seed: Determines all fixed values, together with the parameters' names.
        reels: One reel for each converted parameter.
        report: Which parameters were converted and which were not; print it.
        biases: Whether biases and the affine part of normalisation were kept.
    """

    model: nn.Module
    seed: int
    reels: Sequence[Reel]
    report: ConvertReport
    biases: bool
    _hooks: list[RemovableHandle] = field(default_factory=list)

    def __post_init__(self) -> None:
        vars(self.model)[ATTRIBUTE] = self
        for reel in self.reels:
            guard(reel)
            layer = self.model.get_submodule(reel.name.rpartition(".")[0])
            self._hooks.append(layer.register_load_state_dict_post_hook(AfterLoading(reel)))
        if any(reel.kind.random for reel in self.reels):
            self._hooks.append(self.model.register_forward_pre_hook(draw_or_write))
            self._hooks.append(self.model.register_state_dict_pre_hook(write_first))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        for reel in self.reels:
            guard(reel)

    def restart(self) -> None:
        """Return to the initial scores, as if nothing had been learned.

        An optimizer that drives the model would keep its momentum: create a new one.
        """
        for reel in self.reels:
            reel.restart()

    def remove(self) -> None:
        """Turn the model back into an ordinary one, with the chosen weights."""
        self.write_random()
        for hook in self._hooks:
            hook.remove()
        vars(self.model).pop(ATTRIBUTE, None)
        for reel in self.reels:
            release(reel)

    def write_random(self) -> None:
        """Replace weights that were drawn for a forward pass by those with the highest scores."""
        for reel in self.reels:
            if reel.kind.random:
                reel.write()


@dataclass(frozen=True)
class AfterLoading:
    """The hook of a layer that loads a state dict, after which weights may not match scores."""

    reel: Reel

    def __call__(self, _layer: nn.Module, _keys: Any) -> None:
        """Make the next step compare the weights with their scores."""
        self.reel.checked = False


def machine_of(model: nn.Module) -> Machine | None:
    """Return a converted model's machine, or None for an ordinary model."""
    found: Machine | None = vars(model).get(ATTRIBUTE)
    return found


def required(model: nn.Module) -> Machine:
    """Return the model's machine.

    Raises:
        UserError: The model was not converted.
    """
    check_type("the model", model, nn.Module, "a torch.nn.Module")
    machine = machine_of(model)
    if machine is None:
        raise UserError(f"{type(model).__name__} has no slots: call slots.convert(model) first")
    return machine


def freeze(model: nn.Module) -> nn.Module:
    """Turn the model into an ordinary one with the chosen weights, frozen; return it.

    Raises:
        UserError: The model was not converted.
    """
    machine = required(model)
    for reel in machine.reels:
        reel.parameter.requires_grad_(False)
        reel.parameter.grad = None  # an optimizer that holds it would use it once more
    machine.remove()
    return model


def finetune(model: nn.Module) -> nn.Module:
    """Turn the model into an ordinary one that learns from the chosen weights on; return it.

    Removed biases are not restored.

    Raises:
        UserError: The model was not converted.
    """
    required(model).remove()
    return model


def draw_or_write(model: nn.Module, _inputs: Any) -> None:
    """Before a forward pass, draw weights in training mode, otherwise write the best ones."""
    for reel in random_reels(model):
        if model.training:
            reel.draw()
        else:
            reel.write()


def write_first(model: nn.Module, _prefix: str, _keep_vars: bool) -> None:
    """Before a state dict is created, write the best weights instead of drawn ones."""
    for reel in random_reels(model):
        reel.write()


def random_reels(model: nn.Module) -> Iterator[Reel]:
    """Yield the reels that draw their weights."""
    machine = machine_of(model)
    if machine is not None:
        yield from (reel for reel in machine.reels if reel.kind.random)
