"""Where a model's error is taken and its targets are found, if the user says so by name."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop._torch.modules import inside
from beyondprop.core import Block
from beyondprop.errors import UserError
from beyondprop.rules.backprop import Backprop

IGNORED = -100
"""The class that losses leave out."""

CAUSAL = ("ForCausalLM", "LMHeadModel", "DoubleHeadsModel")
"""What Hugging Face calls models that predict the next token."""

UNSHIFTED = ("Bart", "MBart", "Pegasus", "TrOCR", "XLM", "XLNet", "Marian", "Blenderbot", "PLBart")
"""Their models of this kind take labels that are shifted already."""

ITEMS = "num_items_in_batch"
"""The argument by which Hugging Face's trainer tells a model what to divide its loss by."""


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
class Given:
    """What a call of the model gives.

    Attributes:
        targets: The targets.
        share: How much of a mean over its targets the model's loss is.
    """

    targets: Tensor
    share: Tensor | float = 1.0


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

    def of(self, inputs: Sequence[Any], keywords: Mapping[str, Any]) -> Given | None:
        """Return what a call of the model gives, None where it has no targets."""
        found = keywords.get(self.name)
        if found is None and inputs:
            bound = inspect.signature(self.model.forward).bind_partial(*inputs, **keywords)
            found = bound.arguments.get(self.name)
        if found is None:
            return None
        if not isinstance(found, Tensor):
            raise UserError(f"'{self.name}' must be a tensor, not {type(found).__name__}")
        if self.shift and found.dim() < 2:
            raise UserError(
                f"'{self.name}' has no axis of tokens by which shift={self.shift} could look "
                "ahead: attach with shift=0"
            )
        if self.shift:  # (batch, tokens): what follows the last token is not known
            found = F.pad(found[:, self.shift :], (0, self.shift), value=IGNORED)
        items = keywords.get(ITEMS)
        return Given(found) if items is None else Given(found, (found != IGNORED).sum() / items)


@dataclass(frozen=True, eq=False)
class Ports:
    """Where a model's error is taken and its targets are found.

    Attributes:
        output: The module whose output carries the error; None for the model.
        labels: The targets among the arguments; None where the caller gives them.
    """

    output: Output | None = None
    labels: Labels | None = None


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
    if shift is None:
        kinds = [kind.__name__ for kind in type(model).__mro__]
        ahead = any(word in kind for kind in kinds for word in CAUSAL)
        shift = int(ahead and not any(kind.startswith(UNSHIFTED) for kind in kinds))
    if isinstance(shift, bool) or not isinstance(shift, int) or shift < 0:
        raise UserError(f"shift= takes a whole number of tokens, 0 or more, not {shift!r}")
    return Labels(model, name, shift)


def output_of(model: nn.Module, name: str | None) -> Output | None:
    """Return the module that carries the error, None for the model's own output.

    Raises:
        UserError: There is none of this name.
    """
    if name is None:
        return None
    if not isinstance(name, str):
        raise UserError(f"output= takes the name of one module, not {name!r}")
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


def is_hidden(model: nn.Module, output: Output) -> bool:
    """Whether layers with parameters lie behind the output."""
    later = map(model.get_submodule, behind(model, output))
    return any(True for module in later for _ in module.parameters())


def up_to(model: nn.Module, blocks: Sequence[Block], output: Output, named: bool) -> list[Block]:
    """Return the blocks up to the output; the last one makes it, with its exact gradient.

    Args:
        model: The model.
        blocks: Its blocks.
        output: The module whose output carries the error.
        named: Whether the user has named the blocks. Then all of them count, in whatever order the
            model defines them: a pass shows whether one runs behind the output.
    """
    later = set() if named else set(behind(model, output))
    before = [b for b in blocks if not b.modules or b.modules[0][0] not in later]
    covers = [b for b in before if any(inside(output.name, name) for name, _ in b.modules)]
    if covers:
        return [b for b in before if b is not covers[-1]] + [replace(covers[-1], rule=Backprop())]
    own = Block(output.name, Backprop(), ((output.name, output.module),), model)
    return [*before, own]


def whole_problems(blocks: Sequence[Block]) -> Iterator[str]:
    """Yield a sentence where a rule runs the model itself."""
    for block in blocks[:1]:
        if block.rule.traits.whole_model:
            yield (
                f"{type(block.rule).__name__} runs the model itself, up to its own output: leave "
                "output= out"
            )
