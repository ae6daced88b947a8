"""A converted model's slots: which weights are chosen, among what, and by which scores."""

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
    """Which weights were converted, what was taken out, and what was left alone and why.

    Attributes:
        model: Name of the model's class.
        kind: What the weights are now.
        reels: The converted parameters.
        removed: Names of parameters that were taken out: biases, and what norms scale by.
        left: Sentences about what learns as before, or not at all.
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
        notes = [f"taken out: {', '.join(self.removed)}"] if self.removed else []
        title = f"{self.model}: {len(self.reels)} weights are now {self.kind}"
        return "\n".join([title, *lines, *notes, *self.left])


@dataclass(eq=False)
class Machine:
    """All converted weights of a model. Made by `convert`.

    Attributes:
        model: The model, changed in place and never wrapped.
        seed: With the parameters' names it decides all fixed values.
        reels: One for each converted parameter.
        report: What was converted and what was left alone; print it.
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
        for reel in self.reels:
            release(reel)

    def write_random(self) -> None:
        """Replace weights that were drawn for a forward pass by those with the highest scores."""
        for reel in self.reels:
            if reel.kind.random:
                reel.write()


@dataclass(frozen=True)
class AfterLoading:
    """The hook of a layer that loads a state dict: its scores may be those of other weights."""

    reel: Reel

    def __call__(self, _layer: nn.Module, _keys: Any) -> None:
        """Let the weights be compared with their scores before the next step."""
        self.reel.checked = False


def machine_of(model: nn.Module) -> Machine | None:
    """Return what `convert` made of a model, None of an ordinary one."""
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
    """Leave an ordinary model with the chosen weights, which learn no more; return it.

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
    """Leave an ordinary model whose weights begin at the chosen values and learn; return it.

    Biases that were taken out stay out.

    Raises:
        UserError: The model was not converted.
    """
    required(model).remove()
    return model


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
