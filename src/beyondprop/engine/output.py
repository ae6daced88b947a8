"""A module within the model whose output carries the error, and targets among its arguments."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop._torch.modules import inside
from beyondprop.core import Block
from beyondprop.errors import UserError

IGNORED = -100
"""The class that losses leave out."""

CAUSAL = "ForCausalLM"
"""What Hugging Face calls the loss of a model that predicts the next token."""


@dataclass(frozen=True, eq=False)
class Output:
    """Where a model's error is taken.

    Attributes:
        name: Of the module whose output carries the error.
        module: This module.
    """

    name: str
    module: nn.Module


@dataclass(frozen=True, eq=False)
class Labels:
    """Targets among the arguments that the model is called with.

    Attributes:
        model: The model.
        name: The argument's name.
        shift: How many tokens ahead the model's loss looks.
    """

    model: nn.Module
    name: str
    shift: int

    def of(self, inputs: Sequence[Any], keywords: Mapping[str, Any]) -> Tensor | None:
        """Return the targets of a call, None where it has none."""
        found = keywords.get(self.name)
        if found is None and inputs:
            bound = inspect.signature(self.model.forward).bind_partial(*inputs, **keywords)
            found = bound.arguments.get(self.name)
        if found is None:
            return None
        if not isinstance(found, Tensor):
            raise UserError(f"'{self.name}' must be a tensor, not {type(found).__name__}")
        if not self.shift:
            return found
        # (batch, tokens): what follows the last token is not known
        return F.pad(found[:, self.shift :], (0, self.shift), value=IGNORED)


def labels_of(model: nn.Module, name: str | None, shift: int | None) -> Labels | None:
    """Return where targets are among a model's arguments, None if they are given elsewhere.

    Args:
        model: The model.
        name: The argument's name.
        shift: How many tokens ahead the model's loss looks; None asks the model, as those of
            Hugging Face say it.

    Raises:
        UserError: The model has no such argument.
    """
    if name is None:
        if shift is not None:
            raise UserError("shift= is for targets that the model is called with: name targets=")
        return None
    parameters = inspect.signature(model.forward).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if name not in parameters and not open_ended:
        raise UserError(
            f"targets='{name}' is no argument of {type(model).__name__}.forward; there are: "
            f"{', '.join(parameters)}"
        )
    asked = 1 if getattr(model, "loss_type", None) == CAUSAL else 0
    return Labels(model, name, asked if shift is None else shift)


def output_of(model: nn.Module, name: str | None) -> Output | None:
    """Return the module that carries the error, None for the model's own output.

    Raises:
        UserError: There is none of this name.
    """
    if name is None:
        return None
    modules = dict(model.named_modules(remove_duplicate=False))
    if not name or name not in modules:
        raise UserError(
            f"output='{name}' names no module; there are: {', '.join(candidates(model))}"
        )
    return Output(name, modules[name])


def candidates(model: nn.Module) -> list[str]:
    """Return the names of modules whose output may carry the error: the last ones."""
    leaves = [n for n, m in model.named_modules() if n and next(m.children(), None) is None]
    held = [n for n in leaves if any(True for _ in model.get_submodule(n).parameters())]
    return (held or leaves)[-3:]


def behind(model: nn.Module, output: Output) -> Iterator[str]:
    """Yield the names of modules that the model defines behind the output module."""
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    for name in names[names.index(output.name) + 1 :]:
        if not inside(name, output.name):
            yield name


def ends_at(blocks: Sequence[Block], output: Output) -> int | None:
    """Return the place of the block that makes the output, None if it lies in none."""
    for place, block in enumerate(blocks):
        for name, _ in block.modules:
            if inside(output.name, name) or inside(name, output.name):
                return place
    return None
